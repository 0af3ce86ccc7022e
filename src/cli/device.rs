//! `replant device`.

use super::{Exit, Failure, Global};

/// The arguments of `replant device`.
#[derive(Debug, clap::Args)]
pub struct DeviceArgs {}

/// Runs the verb.
pub fn run(_args: &DeviceArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant device` is not built yet"))
}
