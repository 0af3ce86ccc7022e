//! `replant source`.

mod live;
mod target;
mod volumes;

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Subcommand;

use super::image::parse_format;
use super::{Exit, Failure, Global};
use crate::image::look;
use crate::inventory::{holders, probe_disk};
use crate::plan::{DiskFormat, DiskIndex};

/// The arguments of `replant source`.
#[derive(Debug, clap::Args)]
pub struct SourceArgs {
    #[command(subcommand)]
    verb: SourceVerb,
}

#[derive(Debug, Subcommand)]
enum SourceVerb {
    /// Prove that a source disk is still the one that was planned with
    Check(CheckArgs),
    /// Prove that nobody has the source's disks open: no process, no VM, no mount; or that a machine answers no more
    Offline(OfflineArgs),
    /// Capture a disk of a running Linux over ssh, without a restart
    Capture(Box<live::CaptureArgs>),
    /// Say which volumes of a running Linux a capture would read from snapshots, and what that takes; changes nothing
    Look(volumes::LookArgs),
    /// Remove snapshots that a capture has left on a machine
    Release(volumes::ReleaseArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// The machine's name
    #[arg(long)]
    machine: String,
    /// The disk: disk0, disk1, ...
    #[arg(long)]
    disk: String,
    /// Its file or block device
    #[arg(long, value_name = "FILE")]
    path: Utf8PathBuf,
    /// Its format
    #[arg(long, value_parser = parse_format)]
    format: DiskFormat,
    /// The identity that was planned with
    #[arg(long, value_name = "LINE")]
    identity: String,
}

#[derive(Debug, clap::Args)]
struct OfflineArgs {
    /// The machine's name
    #[arg(long)]
    machine: String,
    /// The disks
    #[arg(long = "path", value_name = "FILE", required_unless_present = "host")]
    paths: Vec<Utf8PathBuf>,
    /// The machine that had them, if it was read over ssh
    #[arg(long, value_name = "HOST", conflicts_with = "paths")]
    host: Option<String>,
    /// Its port
    #[arg(long, default_value_t = 22)]
    port: u16,
}

/// Runs the verb.
pub fn run(args: &SourceArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.verb {
        SourceVerb::Check(args) => check(args, global),
        SourceVerb::Offline(args) => offline(args, global),
        SourceVerb::Capture(args) => live::run(args, global),
        SourceVerb::Look(args) => volumes::look(args, global),
        SourceVerb::Release(args) => volumes::release(args, global),
    }
}

fn check(args: &CheckArgs, global: &Global) -> Result<Exit, Failure> {
    let index = args.disk.strip_prefix("disk").and_then(|number| number.parse().ok());
    let index = index.ok_or_else(|| Failure::with(Exit::Usage, format!("`{}` is not disk0, disk1, ...", args.disk)))?;
    let facts = probe_disk(&args.path, DiskIndex(index), Some(args.format))?;
    if facts.identity != args.identity {
        return Err(Failure::with(
            Exit::Error,
            format!(
                "{}/{} ({}) has changed since it was planned\n  planned: {}\n  now:     {}\nplan again to take it as it is now",
                args.machine, args.disk, args.path, args.identity, facts.identity
            ),
        ));
    }
    if global.json {
        println!("{}", serde_json::json!({ "machine": args.machine, "disk": args.disk, "identity": facts.identity }));
    } else {
        println!("{}/{} is unchanged", args.machine, args.disk);
    }
    Ok(Exit::Done)
}

fn offline(args: &OfflineArgs, global: &Global) -> Result<Exit, Failure> {
    if let Some(host) = &args.host {
        return silent(args, host, global);
    }
    let mut held = Vec::new();
    for path in &args.paths {
        // Of a disk of several files, nobody may have any of them open. What cannot be looked into stands for itself.
        let files = look(path.as_std_path(), None).map_or_else(|_| vec![path.into()], |disk| disk.files);
        for file in files {
            let shown = file.display().to_string();
            let found = holders(&file)
                .map_err(|error| Failure::with(Exit::Error, format!("{shown} cannot be looked at: {error}")))?;
            held.extend(found.into_iter().map(|holder| format!("{shown}: {holder}")));
        }
    }
    if !held.is_empty() {
        return Err(Failure::with(
            Exit::Error,
            format!(
                "the source of {} is in use; it and its copy must never be on the network at the same time\n  {}\nshut the source down, then run this again",
                args.machine,
                held.join("\n  ")
            ),
        ));
    }
    if global.json {
        println!("{}", serde_json::json!({ "machine": args.machine, "offline": true, "paths": args.paths }));
    } else {
        println!("the source of {} is off: nobody has its {} disk(s) open", args.machine, args.paths.len());
    }
    Ok(Exit::Done)
}

/// A machine that still takes connections is on; one that does not has given no sign of being so, which is as much as can
/// be known from here.
fn silent(args: &OfflineArgs, host: &str, global: &Global) -> Result<Exit, Failure> {
    let port = args.port;
    let addresses = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let answers = addresses.iter().any(|address| TcpStream::connect_timeout(address, Duration::from_secs(5)).is_ok());
    if answers {
        return Err(Failure::with(
            Exit::Error,
            format!(
                "the source of {} still answers at {host}:{port}; it and its copy must never be on the network at the same time\nshut the source down, then run this again",
                args.machine
            ),
        ));
    }
    if global.json {
        println!("{}", serde_json::json!({ "machine": args.machine, "offline": true, "host": host }));
    } else {
        println!("the source of {} answers no more at {host}:{port}", args.machine);
    }
    Ok(Exit::Done)
}
