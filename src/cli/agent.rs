//! `replant agent`.

use super::{Exit, Failure, Global};

/// The arguments of `replant agent`.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {}

/// Runs the verb.
pub fn run(_args: &AgentArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant agent` is not built yet"))
}
