//! `replant image verify`.

use serde_json::json;

use super::Outcome;
use super::reporter::Reporter;
use super::store_args::{StoreArgs, disks_named, parse_id, parse_rate};
use crate::cli::{Exit, Global};
use crate::image::{Depth, DiskName, ImageError, ImageId, PlainDigest, Store, digest_image, verify};
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
    /// With --deep: also print the plain BLAKE3 of each logical disk, which is what `b3sum` prints for the deployed disk
    #[arg(long, requires = "deep")]
    b3sum: bool,
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
    let sums = match args.b3sum && report.faults.is_empty() {
        true => plain_digests(args, &store, &disks, &reporter)?,
        false => Vec::new(),
    };
    if global.json {
        let faults: Vec<_> = report
            .faults
            .iter()
            .map(|fault| json!({ "machine": fault.disk.machine(), "disk": fault.disk.disk(), "image": fault.image, "message": fault.message }))
            .collect();
        anstream::println!(
            "{}",
            json!({ "images": report.images, "chunks": report.chunks, "faults": faults, "b3sums": sums_value(&sums) })
        );
    } else {
        for fault in &report.faults {
            anstream::println!("{} image {}: {}", fault.disk, fault.image, fault.message);
        }
        for (disk, image, sum) in &sums {
            anstream::println!("{sum}  {disk} image {image}");
        }
        let how = if args.deep { "read and compared" } else { "present" };
        match report.faults.len() {
            0 => anstream::println!("{} image(s) are whole, {} chunks {how}", report.images, report.chunks),
            count => anstream::println!("{count} fault(s) in {} image(s)", report.images),
        }
    }
    Ok(if report.faults.is_empty() { Exit::Done } else { Exit::Error })
}

/// Every verified image with the plain digest of its disk.
type Sums = Vec<(DiskName, ImageId, PlainDigest)>;

fn plain_digests(
    args: &VerifyArgs,
    store: &Store,
    disks: &[DiskName],
    reporter: &Reporter,
) -> Result<Sums, ImageError> {
    let mut sums = Vec::new();
    for disk in disks {
        for id in store.image_ids(disk)?.into_iter().filter(|id| args.image.is_none_or(|only| only == *id)) {
            let sum = reporter.watch(args.limit, |control| digest_image(store, disk, id, control))?;
            sums.push((disk.clone(), id, sum));
        }
    }
    Ok(sums)
}

fn sums_value(sums: &Sums) -> Vec<serde_json::Value> {
    let value = |(disk, image, sum): &(DiskName, ImageId, PlainDigest)| json!({ "machine": disk.machine(), "disk": disk.disk(), "image": image, "b3sum": sum.to_string() });
    sums.iter().map(value).collect()
}
