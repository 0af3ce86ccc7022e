//! `replant schema`.

use super::{Exit, Failure, Global};

/// The arguments of `replant schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {}

/// Runs the verb.
pub fn run(_args: &SchemaArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant schema` is not built yet"))
}
