//! `replant status`.

use super::{Exit, Failure, Global};

/// The arguments of `replant status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {}

/// Runs the verb.
pub fn run(_args: &StatusArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant status` is not built yet"))
}
