//! `replant image digest`.

use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use super::capture::ReadArg;
use super::reporter::Reporter;
use super::store_args::{parse_format, parse_rate};
use crate::cli::{Exit, Global};
use crate::image::{DEFAULT_CHUNK_SIZE, ImageFormat, ReadPlan, digest_source};
use crate::units::{ByteCount, ByteRate};

/// The arguments of `replant image digest`.
#[derive(Debug, clap::Args)]
pub struct DigestArgs {
    /// The disk file or block device; it is opened for reading only
    disk: PathBuf,
    /// Its format
    #[arg(long, value_parser = parse_format, default_value = "raw")]
    format: ImageFormat,
    /// The chunk size of the store to compare with
    #[arg(long, value_name = "SIZE", value_parser = ByteCount::parse, default_value_t = ByteCount(DEFAULT_CHUNK_SIZE.into()))]
    chunk_size: ByteCount,
    /// What counts: every byte, or only blocks in use and zeros elsewhere, as in an image
    #[arg(long, value_enum, default_value_t = ReadArg::Whole)]
    read: ReadArg,
    /// Read at most so much, such as 200MBps
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit: Option<ByteRate>,
}

/// Runs `replant image digest`.
pub fn run(args: &DigestArgs, global: &Global) -> Outcome {
    let chunk_size = u32::try_from(args.chunk_size.0).unwrap_or(u32::MAX).max(512);
    let plan = ReadPlan { mode: args.read.mode(), ..ReadPlan::default() };
    let reporter = Reporter::new(format!("hashing {}", args.disk.display()))?;
    let (tree, plain) =
        reporter.watch(args.limit, |control| digest_source(&args.disk, args.format, plan, chunk_size, control))?;
    if global.json {
        anstream::println!("{}", json!({ "digest": tree.to_string(), "b3sum": plain.to_string() }));
    } else {
        anstream::println!("{tree}\nb3sum:{plain}");
    }
    Ok(Exit::Done)
}
