//! `replant guest`.

use super::{Exit, Failure, Global};

/// The arguments of `replant guest`.
#[derive(Debug, clap::Args)]
pub struct GuestArgs {}

/// Runs the verb.
pub fn run(_args: &GuestArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant guest` is not built yet"))
}
