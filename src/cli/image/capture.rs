//! `replant image capture | check | discard`.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use super::reporter::Reporter;
use super::store_args::{CreateArgs, DiskArgs, StoreArgs, parse_format, parse_rate};
use crate::cli::{Exit, Global};
use crate::image::{
    CaptureRequest, CaptureState, Compression, ImageFormat, capture, capture_state, discard as drop_unfinished,
};
use crate::units::{ByteCount, ByteRate};

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
    /// Read at most so much, such as 200MBps
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit: Option<ByteRate>,
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
    };
    let reporter = Reporter::new(format!("capturing {disk}"))?;
    let report = reporter.watch(args.limit, |control| capture(&store, &request, control))?;
    reporter.output("image", report.id);
    reporter.output("digest", report.digest);
    reporter.output("bytes_read", report.read);
    reporter.output("bytes_stored", report.stored);
    if global.json {
        let report = json!({
            "machine": disk.machine(), "disk": disk.disk(), "image": report.id, "digest": report.digest.to_string(),
            "size": report.size, "bytes_read": report.read, "bytes_stored": report.stored,
            "bytes_resumed": report.resumed, "present": report.present,
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
    }
    Ok(Exit::Done)
}

/// The arguments of `replant image check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    disk: DiskArgs,
    /// The source's identity line
    #[arg(long, value_name = "LINE")]
    identity: String,
}

/// Runs `replant image check`.
pub fn check(args: &CheckArgs) -> Outcome {
    if !args.store.exists() {
        return Ok(Exit::Absent);
    }
    Ok(match capture_state(&args.store.open()?, &args.disk.name()?, &args.identity)? {
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
