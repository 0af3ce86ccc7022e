//! `replant image ls | show`.

use std::collections::HashSet;

use serde_json::json;

use super::Outcome;
use super::capture::region_lines;
use super::store_args::{StoreArgs, disks_named, parse_id};
use crate::cli::{Exit, Global};
use crate::image::{ImageError, ImageId, Manifest, Store, all_sets};
use crate::units::ByteCount;

/// The arguments of `replant image ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Only these: MACHINE or MACHINE/DISK
    name: Option<String>,
}

/// Runs `replant image ls`.
pub fn ls(args: &LsArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let disks = match &args.name {
        Some(name) => disks_named(&store, name)?,
        None => store.disks()?,
    };
    let sealed: HashSet<ImageId> =
        all_sets(&store)?.into_iter().flat_map(|set| set.disks).map(|member| member.image).collect();
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for disk in disks {
        for id in store.image_ids(&disk)? {
            let manifest = store.manifest(&disk, id)?;
            let used = used(&manifest);
            values.push(json!({
                "machine": disk.machine(), "disk": disk.disk(), "image": id, "size": manifest.size, "used": used,
                "stored": manifest.stored_bytes, "captured": manifest.captured, "sealed": sealed.contains(&id),
            }));
            rows.push([
                disk.to_string(),
                id.to_string(),
                ByteCount(manifest.size).to_string(),
                ByteCount(used).to_string(),
                ByteCount(manifest.stored_bytes).to_string(),
                seconds(&manifest.captured),
                if sealed.contains(&id) { "yes" } else { "no" }.to_owned(),
            ]);
        }
    }
    if global.json {
        anstream::println!("{}", serde_json::Value::from(values));
    } else if rows.is_empty() {
        anstream::println!("no images");
    } else {
        print_table(["DISK", "IMAGE", "SIZE", "USED", "ADDED", "CAPTURED", "SEALED"], &rows);
    }
    Ok(Exit::Done)
}

/// Bytes in chunks that are not zero; the last one may be short, so at most the disk's size.
fn used(manifest: &Manifest) -> u64 {
    (manifest.data_chunks * u64::from(manifest.chunk_size)).min(manifest.size)
}

/// A time stamp without its fraction.
fn seconds(stamp: &str) -> String {
    match stamp.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => stamp.to_owned(),
    }
}

fn print_table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) {
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(heads[column].len()))
        .collect();
    let line = |cells: [&str; N]| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        anstream::println!("{}", cells.join("  ").trim_end());
    };
    line(heads);
    rows.iter().for_each(|row| line(std::array::from_fn(|column| row[column].as_str())));
}

/// The arguments of `replant image show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Whose disk: MACHINE/DISK
    name: String,
    /// This image instead of the newest
    #[arg(value_parser = parse_id)]
    image: Option<ImageId>,
}

/// Runs `replant image show`.
pub fn show(args: &ShowArgs, global: &Global) -> Outcome {
    let store = args.store.open()?;
    let mut values = Vec::new();
    for disk in disks_named(&store, &args.name)? {
        let manifest = match args.image {
            Some(id) => store.manifest(&disk, id)?,
            None => store.newest(&disk)?,
        };
        match global.json {
            true => values.push(value(&store, &manifest)?),
            false => print(&store, &manifest)?,
        }
    }
    if global.json {
        anstream::println!("{}", serde_json::Value::from(values));
    }
    Ok(Exit::Done)
}

fn digest(store: &Store, manifest: &Manifest) -> Result<String, ImageError> {
    let unreadable =
        || ImageError::Refused { what: format!("the digest of image {} does not authenticate", manifest.id) };
    Ok(store.digest(manifest).ok_or_else(unreadable)?.to_string())
}

fn value(store: &Store, manifest: &Manifest) -> Result<serde_json::Value, ImageError> {
    Ok(json!({
        "machine": manifest.machine, "disk": manifest.disk, "image": manifest.id, "size": manifest.size,
        "chunk_size": manifest.chunk_size, "data_chunks": manifest.data_chunks, "zero_chunks": manifest.zero_chunks,
        "stored": manifest.stored_bytes, "captured": manifest.captured, "tool": manifest.tool,
        "source": manifest.source, "reading": manifest.reading, "digest": digest(store, manifest)?,
    }))
}

fn print(store: &Store, manifest: &Manifest) -> Result<(), ImageError> {
    let used = ByteCount(used(manifest));
    let row = |name: &str, value: &dyn std::fmt::Display| anstream::println!("{name:<10} {value}");
    row("disk", &format_args!("{}/{}", manifest.machine, manifest.disk));
    row("image", &manifest.id);
    row("size", &format_args!("{} ({} bytes)", ByteCount(manifest.size), manifest.size));
    row(
        "used",
        &format_args!("{used} in {} chunks of {}", manifest.data_chunks, ByteCount(manifest.chunk_size.into())),
    );
    row("added", &format_args!("{} to the store, when it was captured", ByteCount(manifest.stored_bytes)));
    row("digest", &digest(store, manifest)?);
    row("captured", &format_args!("{} by {}", manifest.captured, manifest.tool));
    row("source", &format_args!("{} ({})", manifest.source.path.display(), manifest.source.format));
    row("identity", &manifest.source.identity);
    let mut name = "read";
    for line in region_lines(&manifest.reading) {
        row(name, &line);
        name = "";
    }
    for warning in manifest.reading.warnings() {
        row("warning", &warning);
    }
    Ok(())
}
