//! `replant source look` and `replant source release`: which volumes of a running machine would be read from snapshots,
//! and the removal of those that were left.

use super::target::{SnapshotArgs, TargetArgs};
use crate::cli::{Exit, Failure, Global};
use crate::image::DiskName;
use crate::live::{Choice, SshError, Volumes, drop_left};
use crate::plan::SnapshotUse;

/// The arguments of `replant source look`.
#[derive(Debug, clap::Args)]
pub struct LookArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The disk there
    #[arg(long, value_name = "PATH")]
    device: String,
    #[command(flatten)]
    snapshots: SnapshotArgs,
}

/// The arguments of `replant source release`.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The machine's name in the store
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// The disk's name in the store, such as disk0
    #[arg(long, value_name = "NAME")]
    disk: String,
}

/// What an unreachable machine makes of a verb.
fn failed(error: SshError) -> Failure {
    let exit = if matches!(error, SshError::Failed { refused: false, .. }) { Exit::TryAgain } else { Exit::Error };
    Failure::with(exit, error)
}

/// Runs `look`; changes nothing there.
pub fn look(args: &LookArgs, global: &Global) -> Result<Exit, Failure> {
    let target = args.target.target();
    let found = Volumes::look(&target, &args.device).map_err(failed)?;
    let SnapshotArgs { snapshot, snapshot_size } = args.snapshots;
    let choice = Choice::new(&found, snapshot, snapshot_size.map(|size| size.0));
    let lines = choice.lines();
    if global.json {
        let volumes = choice.snapshotted().map(|volume| format!("{}/{}", volume.group, volume.name));
        let value = serde_json::json!({
            "device": args.device, "snapshots": volumes.collect::<Vec<_>>(), "free": choice.free,
            "lines": lines, "no_lvm": found.no_lvm,
        });
        anstream::println!("{value}");
    } else {
        anstream::println!("{} of {target}:", args.device);
        lines.iter().for_each(|line| anstream::println!("  {line}"));
        if lines.is_empty() {
            let why = found.no_lvm.as_deref().unwrap_or("no file system on it is mounted, and it has no LVM volume");
            anstream::println!("  read as it is: {why}");
        }
    }
    let lacking = choice.lacking(&found);
    if snapshot == SnapshotUse::Required && !lacking.is_empty() {
        let why = lacking.join("; ");
        return Err(Failure::with(
            Exit::Error,
            format!("not everything on {} of {target} can be read from a snapshot: {why}", args.device),
        ));
    }
    Ok(Exit::Done)
}

/// Runs `release`. A machine that cannot be reached is no reason to fail: it may be off for good.
pub fn release(args: &ReleaseArgs, global: &Global) -> Result<Exit, Failure> {
    let (target, disk) = (args.target.target(), DiskName::new(&args.machine, &args.disk)?);
    let names = match drop_left(&target, &disk) {
        Ok(names) => names,
        Err(error @ SshError::Failed { refused: false, .. }) => {
            anstream::eprintln!("warning: nobody knows whether snapshots named replant_* are left there: {error}");
            return Ok(Exit::Done);
        }
        Err(error) => return Err(failed(error)),
    };
    if global.json {
        anstream::println!("{}", serde_json::json!({ "machine": args.machine, "disk": args.disk, "removed": names }));
    } else {
        match names.is_empty() {
            true => anstream::println!("no snapshot of {disk} is left on {target}"),
            false => anstream::println!("removed on {target}: {}", names.join(", ")),
        }
    }
    Ok(Exit::Done)
}
