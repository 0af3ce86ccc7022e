//! `replant render`.

use super::{Exit, Failure, Global};

/// The arguments of `replant render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {}

/// Runs the verb.
pub fn run(_args: &RenderArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant render` is not built yet"))
}
