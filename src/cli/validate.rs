//! `replant validate`.

use super::{Exit, Failure, Global};

/// The arguments of `replant validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {}

/// Runs the verb.
pub fn run(_args: &ValidateArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant validate` is not built yet"))
}
