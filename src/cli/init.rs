//! `replant init`.

use super::{Exit, Failure, Global};

/// The arguments of `replant init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {}

/// Runs the verb.
pub fn run(_args: &InitArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant init` is not built yet"))
}
