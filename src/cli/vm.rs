//! `replant vm`.

use super::{Exit, Failure, Global};

/// The arguments of `replant vm`.
#[derive(Debug, clap::Args)]
pub struct VmArgs {}

/// Runs the verb.
pub fn run(_args: &VmArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant vm` is not built yet"))
}
