//! `replant image`.

use super::{Exit, Failure, Global};

/// The arguments of `replant image`.
#[derive(Debug, clap::Args)]
pub struct ImageArgs {}

/// Runs the verb.
pub fn run(_args: &ImageArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant image` is not built yet"))
}
