//! `replant image verify`.

use serde_json::json;

use super::Outcome;
use super::reporter::Reporter;
use super::store_args::{StoreArgs, disks_named, parse_id, parse_rate};
use crate::cli::{Exit, Global};
use crate::image::{Depth, ImageId, verify};
use crate::units::ByteRate;

/// The arguments of `replant image verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Only these: MACHINE or MACHINE/DISK
    name: Option<String>,
    /// Only this image
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    image: Option<ImageId>,
    /// Read, authenticate and compare every chunk
    #[arg(long)]
    deep: bool,
    /// Read at most so much, such as 200MBps
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit: Option<ByteRate>,
}

/// Runs `replant image verify`.
pub fn run(args: &VerifyArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let disks = match &args.name {
        Some(name) => disks_named(&store, name)?,
        None => store.disks()?,
    };
    let depth = match args.deep {
        true => Depth::Deep,
        false => Depth::Present,
    };
    let reporter = Reporter::new("verifying".into())?;
    let report = reporter.watch(args.limit, |control| verify(&store, &disks, args.image, depth, control))?;
    if global.json {
        let faults: Vec<_> = report
            .faults
            .iter()
            .map(|fault| json!({ "machine": fault.disk.machine(), "disk": fault.disk.disk(), "image": fault.image, "message": fault.message }))
            .collect();
        anstream::println!("{}", json!({ "images": report.images, "chunks": report.chunks, "faults": faults }));
    } else {
        for fault in &report.faults {
            anstream::println!("{} image {}: {}", fault.disk, fault.image, fault.message);
        }
        let how = if args.deep { "read and compared" } else { "present" };
        match report.faults.len() {
            0 => anstream::println!("{} image(s) are whole, {} chunks {how}", report.images, report.chunks),
            count => anstream::println!("{count} fault(s) in {} image(s)", report.images),
        }
    }
    Ok(if report.faults.is_empty() { Exit::Done } else { Exit::Error })
}
