//! `replant graph`.

use super::{Exit, Failure, Global};

/// The arguments of `replant graph`.
#[derive(Debug, clap::Args)]
pub struct GraphArgs {}

/// Runs the verb.
pub fn run(_args: &GraphArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant graph` is not built yet"))
}
