//! `replant image deploy | export`.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use super::limits::LimitArgs;
use super::reporter::Reporter;
use super::store_args::{DiskArgs, StoreArgs, disks_named, parse_format, parse_id};
use crate::cli::{Exit, Global};
use crate::image::{
    DeployRequest, DeployState, ImageError, ImageFormat, ImageId, Subformat, deploy, deploy_state, export as write_out,
    undo,
};
use crate::units::ByteCount;

/// The arguments of `replant image deploy`.
#[derive(Debug, clap::Args)]
pub struct DeployArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    disk: DiskArgs,
    /// The existing disk file or block device to write
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    /// The target's format: raw, qcow2, vmdk, vhd or vhdx
    #[arg(long, value_parser = parse_format)]
    format: ImageFormat,
    /// This image instead of that of the newest sealed set
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    image: Option<ImageId>,
    /// Read everything back and compare
    #[arg(long)]
    read_back: bool,
    #[command(flatten)]
    limits: LimitArgs,
    /// Only tell: exit 0 deployed, 10 absent, 11 partly
    #[arg(long, conflicts_with = "undo")]
    check: bool,
    /// Make the target an empty disk again
    #[arg(long)]
    undo: bool,
}

/// Runs `replant image deploy`.
pub fn run(args: &DeployArgs, global: &Global) -> Outcome {
    let disk = args.disk.name()?;
    if args.undo {
        undo(&disk, &args.to, args.format)?;
        if !global.json {
            anstream::println!("{} is empty again", args.to.display());
        }
        return Ok(Exit::Done);
    }
    if args.check && !args.store.exists() {
        return Ok(Exit::Absent);
    }
    let store = args.store.open()?;
    let request = DeployRequest {
        disk: disk.clone(),
        image: args.image,
        target: args.to.clone(),
        format: args.format,
        read_back: args.read_back,
    };
    if args.check {
        return Ok(match deploy_state(&store, &request)? {
            DeployState::Complete => Exit::Done,
            DeployState::Partial => Exit::Partial,
            DeployState::Absent => Exit::Absent,
        });
    }
    let reporter = Reporter::new(format!("deploying {disk}"))?;
    let report =
        reporter.watch_within(args.limits.limits(disk.machine())?, |control| deploy(&store, &request, control))?;
    reporter.output("image", report.id);
    reporter.output("digest", report.digest);
    reporter.output("bytes_written", report.written);
    if global.json {
        let report = json!({
            "machine": disk.machine(), "disk": disk.disk(), "image": report.id, "digest": report.digest.to_string(),
            "size": report.size, "bytes_written": report.written, "present": report.present,
        });
        anstream::println!("{report}");
    } else if report.present {
        anstream::println!("{} holds image {} of {disk} already", args.to.display(), report.id);
    } else {
        anstream::println!(
            "deployed image {} of {disk} to {}: {} of {} written\n{}",
            report.id,
            args.to.display(),
            ByteCount(report.written),
            ByteCount(report.size),
            report.digest
        );
    }
    Ok(Exit::Done)
}

/// The arguments of `replant image export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Whose disk: MACHINE/DISK
    name: String,
    /// The new disk file
    to: PathBuf,
    /// Its format: raw, qcow2, vmdk, vhd or vhdx
    #[arg(long, value_parser = parse_format, default_value = "qcow2")]
    format: ImageFormat,
    /// Its form: fixed (vhd, vhdx), or stream (vmdk: compressed, as appliances carry it)
    #[arg(long, value_enum, default_value_t = FormArg::Default)]
    form: FormArg,
    /// This image instead of that of the newest sealed set
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    image: Option<ImageId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum FormArg {
    Default,
    Fixed,
    Stream,
}

impl FormArg {
    fn subformat(self) -> Subformat {
        match self {
            Self::Default => Subformat::Default,
            Self::Fixed => Subformat::Fixed,
            Self::Stream => Subformat::Stream,
        }
    }
}

/// Runs `replant image export`.
pub fn export(args: &ExportArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let disks = disks_named(&store, &args.name)?;
    let [disk] = &disks[..] else {
        return Err(ImageError::Refused {
            what: format!("{} has {} disks: write MACHINE/DISK", args.name, disks.len()),
        });
    };
    let form = (args.format, args.form.subformat());
    let reporter = Reporter::new(format!("exporting {disk}"))?;
    let digest = reporter.watch(None, |control| write_out(&store, disk, args.image, &args.to, form, control))?;
    if global.json {
        anstream::println!(
            "{}",
            json!({ "path": args.to, "format": args.format.name(), "digest": digest.to_string() })
        );
    } else {
        anstream::println!("exported {disk} to {}\n{digest}", args.to.display());
    }
    Ok(Exit::Done)
}
