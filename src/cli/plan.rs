//! `replant plan`.

use super::{Exit, Failure, Global};

/// The arguments of `replant plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {}

/// Runs the verb.
pub fn run(_args: &PlanArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant plan` is not built yet"))
}
