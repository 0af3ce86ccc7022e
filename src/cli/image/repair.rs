//! `replant image scrub | repair`.

use serde_json::json;

use super::Outcome;
use super::reporter::Reporter;
use super::store_args::{StoreArgs, parse_rate, parse_size};
use crate::cli::{Exit, Global};
use crate::image::{Loss, Lost, repair as repair_store, scrub as scrub_store};
use crate::units::{ByteCount, ByteRate};

/// The arguments of `replant image scrub`.
#[derive(Debug, clap::Args)]
pub struct ScrubArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Read at most so much in a second, such as 100MBps
    #[arg(long, visible_alias = "limit", value_name = "RATE", value_parser = parse_rate)]
    rate: Option<ByteRate>,
    /// Stop after so many bytes; the next run goes on there
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_bytes: Option<ByteCount>,
}

/// The arguments of `replant image repair`.
#[derive(Debug, clap::Args)]
pub struct RepairArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Read at most so much in a second, such as 100MBps
    #[arg(long, visible_alias = "limit", value_name = "RATE", value_parser = parse_rate)]
    rate: Option<ByteRate>,
}

fn as_json(losses: &[Loss]) -> serde_json::Value {
    let one = |loss: &Loss| {
        let (ranges, why) = match &loss.what {
            Lost::Ranges(ranges) => {
                (Some(ranges.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>()), None)
            }
            Lost::All(why) => (None, Some(why)),
        };
        json!({ "machine": loss.disk.machine(), "disk": loss.disk.disk(), "image": loss.image,
                "bytes": loss.bytes(), "ranges": ranges, "message": why })
    };
    losses.iter().map(one).collect()
}

fn exit(losses: &[Loss]) -> Exit {
    if losses.is_empty() { Exit::Done } else { Exit::Error }
}

/// Runs `replant image scrub`.
pub fn scrub(args: &ScrubArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let reporter = Reporter::new("scrubbing".into())?;
    let most = args.max_bytes.map(|bytes| bytes.0);
    let report = reporter.watch(args.rate, |control| scrub_store(&store, most, control))?;
    if global.json {
        anstream::println!(
            "{}",
            json!({ "chunks": report.chunks, "bytes": report.bytes, "passed": report.passed, "total": report.total,
                    "complete": report.complete, "losses": as_json(&report.losses) })
        );
        return Ok(exit(&report.losses));
    }
    for loss in &report.losses {
        anstream::println!("{loss}");
    }
    let (chunks, bytes) = (report.chunks, ByteCount(report.bytes));
    match report.complete {
        true => anstream::println!("{chunks} chunks in {bytes} were read and proven; the whole store is gone through"),
        false => anstream::println!(
            "{chunks} chunks in {bytes} were read and proven, {} of {} of this pass; run it again to go on",
            ByteCount(report.passed),
            ByteCount(report.total)
        ),
    }
    if !report.losses.is_empty() {
        anstream::println!("way out: `replant image repair`, then capture the disks above again");
    }
    Ok(exit(&report.losses))
}

/// Runs `replant image repair`.
pub fn repair(args: &RepairArgs, global: &Global) -> Outcome {
    run(&args.store, args.rate, global)
}

/// Also `replant image check --repair`.
pub fn run(store: &StoreArgs, rate: Option<ByteRate>, global: &Global) -> Outcome {
    let store = store.open()?;
    let reporter = Reporter::new("repairing".into())?;
    let report = reporter.watch(rate, |control| repair_store(&store, control))?;
    if global.json {
        let repairs: Vec<_> = report
            .repairs
            .iter()
            .map(|done| {
                json!({ "pack": done.pack.to_string(), "damaged": done.damaged, "garbage": done.garbage, "cut": done.cut,
                        "indexed": done.indexed, "header": done.header })
            })
            .collect();
        let missing: Vec<_> = report.missing.iter().map(ToString::to_string).collect();
        anstream::println!(
            "{}",
            json!({ "packs": report.packs, "chunks": report.chunks, "repairs": repairs, "missing": missing,
                    "losses": as_json(&report.losses) })
        );
        return Ok(exit(&report.losses));
    }
    for done in &report.repairs {
        let mut words = Vec::new();
        if done.indexed {
            words.push("its index was made again".to_owned());
        }
        if done.header {
            words.push("its header was written again".to_owned());
        }
        if done.damaged > 0 {
            words.push(format!("{} damaged chunk(s) left the index", done.damaged));
        }
        if done.garbage > 0 {
            words.push(format!("{} bytes among the chunks hold none", done.garbage));
        }
        if done.cut > 0 {
            words.push(format!("{} unreadable bytes were cut from its end", done.cut));
        }
        anstream::println!("pack {}: {}", done.pack, words.join(", "));
    }
    for pack in &report.missing {
        anstream::println!("pack {pack}: missing");
    }
    for loss in &report.losses {
        anstream::println!("{loss}");
    }
    anstream::println!("{} chunks in {} pack(s) are sound", report.chunks, report.packs);
    match report.losses.len() {
        0 => anstream::println!("every image is whole"),
        count => anstream::println!("{count} image(s) lost bytes; capture their sources again and they are whole"),
    }
    Ok(exit(&report.losses))
}
