//! `replant apply`.

use super::{Exit, Failure, Global};

/// The arguments of `replant apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {}

/// Runs the verb.
pub fn run(_args: &ApplyArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant apply` is not built yet"))
}
