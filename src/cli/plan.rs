//! `replant plan`.

use super::{Exit, Failure, Global};

/// The arguments of `replant plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {}

/// Runs the verb.
pub fn run(_args: &PlanArgs, _global: &Global) -> Result<Exit, Failure> {
    Err(Failure::with(Exit::Error, "`replant plan` is not built yet"))
}

/// Shows the preview for people.
pub fn show(prepared: &super::prepare::Prepared) {
    for group in &prepared.preview.groups {
        anstream::println!("{}", group.scope);
        for line in &group.lines {
            anstream::println!("  {} {:?} {}", line.address, line.action, line.what);
        }
    }
}
