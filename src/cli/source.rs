//! `replant source`.

use super::{Exit, Failure, Global};

/// The arguments of `replant source`.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {}

/// Runs the verb.
pub fn run(_args: &SourceArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant source` is not built yet"))
}
