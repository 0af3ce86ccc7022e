//! `replant inventory`.

mod collect;
mod disk;
mod files;
mod import;
mod performance;
mod show;

use clap::Subcommand;

pub use files::{replace, save};
pub use import::report;

use super::{Exit, Failure, Global};
use crate::inventory::import::Observer;

/// The arguments of `replant inventory`.
#[derive(Debug, clap::Args)]
pub struct InventoryArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make documents from files of other tools: .vmx, .ovf, virsh dumpxml, RVTools (.xlsx, .csv), script output, what
    /// `inspect --json` and `device show --json` print
    Import(import::ImportArgs),
    /// Look at the disks of a machine that is off: sizes, partitions, used bytes, how to capture them, a Windows on them
    Disk(disk::DiskArgs),
    /// Look at running Linux machines over ssh; nothing is installed there
    Ssh(collect::SshArgs),
    /// Print the script that looks at a machine, to be run there by somebody
    Script(collect::ScriptArgs),
    /// Add what was measured to documents: sysstat, performance monitor, Prometheus, vSphere, plain tables
    Performance(performance::PerformanceArgs),
    /// Print a document
    Show(show::ShowArgs),
    /// Print what changed between two documents
    Diff(show::DiffArgs),
}

/// Runs the verb.
pub fn run(args: &InventoryArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.what {
        What::Import(args) => import::run(args, global),
        What::Disk(args) => disk::run(args, global),
        What::Ssh(args) => collect::ssh(args, global),
        What::Script(args) => collect::script(args),
        What::Performance(args) => performance::run(args, global),
        What::Show(args) => show::show(args, global),
        What::Diff(args) => show::diff(args, global),
    }
}

/// This program as an observer.
/// Who observes here.
pub fn observer(name: Option<String>) -> Observer {
    Observer { by: format!("replant {}", env!("CARGO_PKG_VERSION")), name }
}
