//! `replant source capture`: a disk of a running machine, over ssh.

use std::sync::Arc;
use std::time::Duration;

use super::target::{SnapshotArgs, TargetArgs, parse_size};
use crate::cli::image::{CreateArgs, LimitArgs, OnReadErrorArg, Reporter, StoreArgs};
use crate::cli::{Exit, Failure, Global};
use crate::image::{Compression, DiskName, ImageError};
use crate::live::{LiveError, LiveReport, LiveRequest, SshError, capture_live};
use crate::units::{ByteCount, parse_duration};

/// The arguments of `replant source capture`.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    create: CreateArgs,
    /// The machine's name in the store
    #[arg(long, value_name = "NAME")]
    machine: String,
    /// The disk's name in the store, such as disk0
    #[arg(long, value_name = "NAME")]
    disk: String,
    #[command(flatten)]
    target: TargetArgs,
    /// The disk there: a block device or a file
    #[arg(long, value_name = "PATH")]
    device: String,
    /// The size that it must have
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: ByteCount,
    /// What the image's source is recorded as
    #[arg(long, value_name = "LINE")]
    identity: String,
    /// How chunks are compressed: zstd or none
    #[arg(long, value_parser = parse_compression, default_value = "zstd")]
    compression: Compression,
    /// Freeze its file systems while it is read, so long at most
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    freeze: Option<Duration>,
    #[command(flatten)]
    snapshots: SnapshotArgs,
    /// An image of a disk that was written meanwhile will do; it is marked
    #[arg(long)]
    accept_inconsistent: bool,
    /// What happens to bytes that the medium does not give: the capture fails, or they become zeros and are reported
    #[arg(long, value_enum, default_value_t = OnReadErrorArg::Fail, value_name = "POLICY")]
    on_read_error: OnReadErrorArg,
    #[command(flatten)]
    limits: LimitArgs,
}

fn parse_compression(text: &str) -> Result<Compression, String> {
    match text {
        "zstd" => Ok(Compression::Zstd),
        "none" => Ok(Compression::None),
        _ => Err("write zstd or none".to_owned()),
    }
}

/// Runs the verb.
pub fn run(args: &CaptureArgs, global: &Global) -> Result<Exit, Failure> {
    let name = DiskName::new(&args.machine, &args.disk)?;
    let store = Arc::new(args.store.open_or_create(&args.create)?);
    let request = LiveRequest {
        disk: name.clone(),
        target: args.target.target(),
        device: args.device.clone(),
        size: args.size.0,
        identity: args.identity.clone(),
        compression: args.compression,
        freeze: args.freeze,
        snapshot: args.snapshots.snapshot,
        snapshot_room: args.snapshots.snapshot_size.map(|size| size.0),
        accept: args.accept_inconsistent,
        on_read_error: args.on_read_error.policy(),
    };
    let reporter = Reporter::new(format!("capturing {name} over ssh"))?;
    let mut failed = None;
    // The reporter knows errors of images only; what the connection says goes around it.
    let outcome = reporter.watch_within(args.limits.limits(name.machine())?, |control| {
        match capture_live(store, &request, control) {
            Ok(report) => Ok(Some(report)),
            Err(LiveError::Image(error)) => Err(error),
            Err(error) => {
                failed = Some(error);
                Ok(None)
            }
        }
    });
    let report = match (outcome, failed) {
        (Ok(Some(report)), _) => report,
        (Err(error @ ImageError::Stopped { .. }), _) => return Err(Failure::with(Exit::TryAgain, error)),
        (Err(error), _) => return Err(error.into()),
        (
            Ok(None),
            Some(
                error @ (LiveError::Ssh(SshError::Failed { refused: false, .. })
                | LiveError::Lost { .. }
                | LiveError::Remapped { .. }),
            ),
        ) => {
            return Err(Failure::with(Exit::TryAgain, error));
        }
        (Ok(None), failed) => {
            let unsaid = || "the capture has ended without a result".into();
            return Err(Failure::with(
                Exit::Error,
                failed.map_or_else(unsaid, Box::<dyn std::error::Error + Send + Sync>::from),
            ));
        }
    };
    told(args, &name, &report, &reporter, global)
}

fn told(
    args: &CaptureArgs,
    name: &DiskName,
    report: &LiveReport,
    reporter: &Reporter,
    global: &Global,
) -> Result<Exit, Failure> {
    let LiveReport { image, sent, live, took, left } = report;
    let rate = sent.read as f64 / took.as_secs_f64().max(0.001);
    reporter.output("image", image.id);
    reporter.output("digest", image.digest);
    reporter.output("bytes_read", sent.read);
    reporter.output("bytes_stored", image.stored);
    reporter.output("consistent", live.consistent);
    reporter.output("bytes_unreadable", image.unreadable);
    if image.unreadable > 0 {
        let lost = ByteCount(image.unreadable);
        reporter.warn(&format!("{name}: {lost} could not be read and are zeros; `replant image show` names them"));
    }
    if let Some(left) = left {
        reporter.warn(left);
    }
    if !live.consistent {
        reporter.warn(&format!("{name}: NOT CONSISTENT: {}", live.how));
    }
    if global.json {
        anstream::println!(
            "{}",
            serde_json::json!({
                "machine": name.machine(), "disk": name.disk(), "image": image.id, "digest": image.digest.to_string(),
                "size": image.size, "bytes_read": sent.read, "bytes_stored": image.stored, "bytes_resumed": image.resumed,
                "bytes_new": sent.sent, "bytes_known": sent.known, "bytes_unreadable": image.unreadable,
                "seconds": took.as_secs_f64(),
                "consistent": live.consistent, "how": live.how,
            })
        );
    } else {
        anstream::println!(
            "captured {name} as image {} over ssh: {} read in {:.0} s ({}/s), {} stored\n{}\n{}: {}",
            image.id,
            ByteCount(sent.read),
            took.as_secs_f64(),
            ByteCount(rate as u64),
            ByteCount(image.stored),
            image.digest,
            if live.consistent { "consistent" } else { "NOT CONSISTENT" },
            live.how
        );
    }
    if live.consistent || args.accept_inconsistent {
        return Ok(Exit::Done);
    }
    Err(Failure::with(
        Exit::Usage,
        format!(
            "{name} was written while it was read, so the image is not one state of it. Ways out: capture it in the agent \
             (`source: {{ agent: ... }}` besides `ssh`), which moves only what differs from what is stored now; freeze its \
             file systems (`freeze: 10m`); read LVM volumes from snapshots (`replant source look` says which); stop what writes; or take it as it is (`inconsistent: accept`)"
        ),
    ))
}
