//! `replant image capture | check | discard`.

use std::ops::Range;
use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use super::limits::LimitArgs;
use super::reporter::Reporter;
use super::store_args::{CreateArgs, DiskArgs, StoreArgs, parse_format};
use crate::cli::{Exit, Global};
use crate::image::used::Region;
use crate::image::{
    CaptureRequest, CaptureState, Compression, DiskName, ImageError, ImageFormat, OnReadError, ReadMode, ReadPlan,
    Reading, capture, capture_state, discard as drop_unfinished,
};
use crate::units::ByteCount;

/// The arguments of `replant image capture`.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    create: CreateArgs,
    #[command(flatten)]
    disk: DiskArgs,
    /// The disk file or block device; it is opened for reading only
    #[arg(long, value_name = "PATH")]
    source: PathBuf,
    /// The source's format: raw, qcow2, vmdk, ova, vhd or vhdx
    #[arg(long, value_parser = parse_format)]
    format: ImageFormat,
    /// What the source must be, as it was when planned
    #[arg(long, value_name = "LINE")]
    identity: Option<String>,
    /// How chunks are compressed
    #[arg(long, value_enum, default_value_t = CompressionArg::Zstd)]
    compression: CompressionArg,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    read: ReadArgs,
}

/// How a source is read, or must have been read.
#[derive(Debug, clap::Args)]
pub struct ReadArgs {
    /// What is read: blocks that file systems use, or everything
    #[arg(long, value_enum, default_value_t = ReadArg::Used)]
    read: ReadArg,
    /// What happens to bytes that the medium does not give: the capture fails, or they become zeros and are reported
    #[arg(long, value_enum, default_value_t = OnReadErrorArg::Fail, value_name = "POLICY")]
    on_read_error: OnReadErrorArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ReadArg {
    Used,
    Whole,
}

impl ReadArg {
    pub(super) fn mode(self) -> ReadMode {
        match self {
            Self::Used => ReadMode::Used,
            Self::Whole => ReadMode::Whole,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnReadErrorArg {
    Fail,
    ZeroAndReport,
}

impl OnReadErrorArg {
    /// As the engine has it.
    pub fn policy(self) -> OnReadError {
        match self {
            Self::Fail => OnReadError::Fail,
            Self::ZeroAndReport => OnReadError::ZeroAndReport,
        }
    }
}

impl ReadArgs {
    pub(super) fn plan(&self) -> ReadPlan {
        ReadPlan { mode: self.read.mode(), on_error: self.on_read_error.policy() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CompressionArg {
    Zstd,
    None,
}

/// Runs `replant image capture`.
pub fn run(args: &CaptureArgs, global: &Global) -> Outcome {
    let disk = args.disk.name()?;
    let store = args.store.open_or_create(&args.create)?;
    let request = CaptureRequest {
        disk: disk.clone(),
        source: args.source.clone(),
        format: args.format,
        identity: args.identity.clone(),
        compression: match args.compression {
            CompressionArg::Zstd => Compression::Zstd,
            CompressionArg::None => Compression::None,
        },
        read: args.read.plan(),
    };
    let reporter = Reporter::new(format!("capturing {disk}"))?;
    let report =
        reporter.watch_within(args.limits.limits(disk.machine())?, |control| capture(&store, &request, control))?;
    reporter.output("image", report.id);
    reporter.output("digest", report.digest);
    reporter.output("bytes_read", report.read);
    reporter.output("bytes_stored", report.stored);
    reporter.output("reading", serde_json::to_string(&report.reading).expect("a plain record becomes JSON"));
    for warning in report.reading.warnings() {
        reporter.warn(&format!("{disk}: {warning}"));
    }
    if global.json {
        let report = json!({
            "machine": disk.machine(), "disk": disk.disk(), "image": report.id, "digest": report.digest.to_string(),
            "size": report.size, "bytes_read": report.read, "bytes_stored": report.stored,
            "bytes_resumed": report.resumed, "present": report.present, "reading": report.reading,
        });
        anstream::println!("{report}");
    } else if report.present {
        anstream::println!("{disk} is captured already: image {}", report.id);
    } else {
        let resumed = match report.resumed {
            0 => String::new(),
            bytes => format!(", the first {} were done before", ByteCount(bytes)),
        };
        anstream::println!(
            "captured {disk} as image {}: {} of {} read, {} stored{resumed}\n{}",
            report.id,
            ByteCount(report.read),
            ByteCount(report.size),
            ByteCount(report.stored),
            report.digest
        );
        for line in region_lines(&report.reading) {
            anstream::println!("  {line}");
        }
    }
    Ok(Exit::Done)
}

/// A line for each part of the disk: where it lies, what it is, how much of it is in use.
pub(super) fn region_lines(reading: &Reading) -> Vec<String> {
    let line = |region: &Region| {
        let Range { start, end } = region.range;
        format!(
            "{} at {}: {}; {} of it",
            ByteCount(end - start),
            ByteCount(start),
            region.content,
            ByteCount(region.used)
        )
    };
    match reading.mode {
        ReadMode::Whole => vec!["everything was read, in use or not".to_owned()],
        ReadMode::Used => reading.regions.iter().map(line).collect(),
    }
}

/// The arguments of `replant image check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The machine's name
    #[arg(long, value_name = "NAME", required_unless_present = "repair")]
    machine: Option<String>,
    /// The disk's name, such as disk0
    #[arg(long, value_name = "NAME", required_unless_present = "repair")]
    disk: Option<String>,
    /// The source's identity line
    #[arg(long, value_name = "LINE", required_unless_present = "repair")]
    identity: Option<String>,
    /// Repair the whole store instead, as `replant image repair` does
    #[arg(long, conflicts_with_all = ["machine", "disk", "identity"])]
    repair: bool,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs `replant image check`.
pub fn check(args: &CheckArgs, global: &Global) -> Outcome {
    if args.repair {
        return super::repair::run(&args.store, None, global);
    }
    let (Some(machine), Some(disk), Some(identity)) = (&args.machine, &args.disk, &args.identity) else {
        return Err(ImageError::Refused { what: "name --machine, --disk and --identity".into() });
    };
    let disk = DiskName::new(machine, disk)?;
    if !args.store.exists() {
        return Ok(Exit::Absent);
    }
    Ok(match capture_state(&args.store.open()?, &disk, identity, args.read.plan())? {
        CaptureState::Complete(_) => Exit::Done,
        CaptureState::Partial => Exit::Partial,
        CaptureState::Absent => Exit::Absent,
    })
}

/// The arguments of `replant image discard`.
#[derive(Debug, clap::Args)]
pub struct DiscardArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    disk: DiskArgs,
}

/// Runs `replant image discard`.
pub fn discard(args: &DiscardArgs, global: &Global) -> Outcome {
    let disk = args.disk.name()?;
    let dropped = match args.store.exists() {
        true => drop_unfinished(&args.store.open()?, &disk)?,
        false => 0,
    };
    if global.json {
        anstream::println!("{}", json!({ "dropped": dropped }));
    } else {
        anstream::println!("{dropped} unfinished capture(s) of {disk} dropped");
    }
    Ok(Exit::Done)
}
