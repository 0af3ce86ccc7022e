//! `replant schema`.

use super::{Exit, Failure, Global};
use crate::plan;

/// The arguments of `replant schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {}

/// Runs the verb.
pub fn run(_args: &SchemaArgs, _global: &Global) -> Result<Exit, Failure> {
    anstream::println!("{}", serde_json::to_string_pretty(&plan::json_schema())?);
    Ok(Exit::Done)
}
