//! `replant rollback`.

use super::{Exit, Failure, Global};

/// The arguments of `replant rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {}

/// Runs the verb.
pub fn run(_args: &RollbackArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant rollback` is not built yet"))
}
