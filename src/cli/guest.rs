//! `replant guest`.

mod deploy;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Subcommand;

use zeroize::Zeroizing;

use super::{Exit, Failure, Global};
use crate::agent::{BootError, ConversionResult, GuestKey, GuestStep, convert_guest, windows_initramfs};
use crate::controller::{CONTROLLER_SOCKET, Report};
use crate::progress::EventClient;
use crate::sequence::{self, Node};
use crate::units::parse_duration;

/// The arguments of `replant guest`.
#[derive(Debug, clap::Args)]
pub struct GuestArgs {
    #[command(subcommand)]
    verb: GuestVerb,
}

#[derive(Debug, Subcommand)]
enum GuestVerb {
    /// Boot a VM into the agent and convert the operating system on its disks
    Convert(ConvertArgs),
    /// Boot a VM into the agent and put images on its disks, through the controller
    Deploy(deploy::DeployArgs),
}

#[derive(Debug, clap::Args)]
struct ConvertArgs {
    /// The machine's name
    #[arg(long)]
    machine: String,
    /// The VM's folder
    #[arg(long, value_name = "DIR")]
    vm_folder: PathBuf,
    /// The folder of the agent's kernel and initramfs, as `replant agent build` makes it
    #[arg(long, value_name = "DIR")]
    agent: PathBuf,
    /// The XML task sequence
    #[arg(long, value_name = "FILE")]
    sequence: PathBuf,
    /// The XML file with the provider's tables for Windows; needed if the guest is one
    #[arg(long, value_name = "FILE", requires = "patches")]
    windows: Option<PathBuf>,
    /// The patch cache, with drivers for Windows
    #[arg(long, value_name = "DIR", requires = "windows")]
    patches: Option<PathBuf>,
    /// Longest time of the whole conversion
    #[arg(long, default_value = "30m", value_parser = parse_duration)]
    timeout: Duration,
    /// The key of a LUKS container: `UUID=env:NAME`, `UUID=file:PATH` or `UUID=command:CMD`; `any` for every container
    #[arg(long, value_name = "UUID=REF")]
    luks_key: Vec<String>,
    /// Only look: 0 if this sequence has converted the disks, 10 if not
    #[arg(long, conflicts_with = "undo")]
    check: bool,
    /// Forget that the disks were converted; restoring them again is what takes the conversion back
    #[arg(long)]
    undo: bool,
}

/// Written into the VM's folder when the conversion has succeeded; holds the digest of the sequence.
const MARKER: &str = "converted.json";

/// Runs the verb.
pub fn run(args: &GuestArgs, global: &Global) -> Result<Exit, Failure> {
    let args = match &args.verb {
        GuestVerb::Convert(args) => args,
        GuestVerb::Deploy(args) => return deploy::run(args, global),
    };
    let marker = args.vm_folder.join(MARKER);
    if args.undo {
        return match fs::remove_file(&marker) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(Exit::Done),
        };
    }
    let sequence = read_sequence(&args.sequence)?;
    let digest = format!("blake3:{}", blake3::hash(sequence.as_bytes()).to_hex());
    if is_converted(&marker, &digest) {
        return Ok(Exit::Done);
    }
    if args.check {
        return Ok(Exit::Absent);
    }
    convert(args, global, without(&sequence, "disks")?, &digest, &marker)
}

fn read_sequence(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::with(Exit::Error, format!("{} cannot be read: {error}", path.display())))
}

/// A sequence as it is written, without one of its groups: of `deploy-vm.xml`, the disks and the guest are two boots, so
/// that a conversion can be tried again without the disks.
fn without(text: &str, group: &str) -> Result<String, Failure> {
    let mut sequence = sequence::parse(text)?;
    let before = sequence.nodes.len();
    sequence.nodes.retain(|node| !matches!(node, Node::Group(found) if found.id == group));
    Ok(if sequence.nodes.len() == before { text.to_owned() } else { sequence::write(&sequence) })
}

/// Reads the keys that references such as `UUID=file:PATH` name.
pub(super) fn guest_keys(references: &[String]) -> Result<Vec<GuestKey>, Failure> {
    let mut keys = Vec::new();
    for text in references {
        let usage = || {
            let message = format!("`--luks-key {text}` is not UUID=env:NAME, UUID=file:PATH or UUID=command:CMD");
            Failure::with(Exit::Usage, message)
        };
        let (uuid, reference) = text.split_once('=').ok_or_else(usage)?;
        if uuid.is_empty() || !uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(usage());
        }
        let (kind, value) = reference.split_once(':').ok_or_else(usage)?;
        let unreadable = |error: std::io::Error| {
            Failure::with(
                Exit::Error,
                format!("the key `{reference}` of LUKS container {uuid} cannot be read: {error}"),
            )
        };
        let key = match kind {
            "env" => match std::env::var_os(value) {
                Some(key) => std::os::unix::ffi::OsStringExt::into_vec(key),
                None => return Err(unreadable(std::io::Error::other("no such environment variable"))),
            },
            "file" => fs::read(value).map_err(unreadable)?,
            "command" => {
                let output = std::process::Command::new("sh").args(["-c", value]).output().map_err(unreadable)?;
                if !output.status.success() {
                    return Err(unreadable(std::io::Error::other(format!("the command ended with {}", output.status))));
                }
                output.stdout
            }
            _ => return Err(usage()),
        };
        keys.push(GuestKey { uuid: uuid.to_ascii_lowercase(), key: Zeroizing::new(key) });
    }
    Ok(keys)
}

fn is_converted(marker: &Path, digest: &str) -> bool {
    let recorded = fs::read(marker).ok().and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    recorded.is_some_and(|recorded| recorded.get("sequence").and_then(|value| value.as_str()) == Some(digest))
}

fn convert(
    args: &ConvertArgs,
    global: &Global,
    sequence: String,
    digest: &str,
    marker: &Path,
) -> Result<Exit, Failure> {
    let interrupted = interrupted()?;
    let initramfs = match (&args.windows, &args.patches) {
        (Some(windows), Some(patches)) => windows_initramfs(&args.vm_folder, &args.agent, windows, patches)?,
        _ => None,
    };
    let step = GuestStep {
        machine: args.machine.clone(),
        vm: args.vm_folder.clone(),
        agent: args.agent.clone(),
        initramfs: initramfs.clone(),
        sequence,
        controller: controller(),
        state: state(),
        keys: guest_keys(&args.luks_key)?,
        deploys: Vec::new(),
        timeout: args.timeout,
    };
    let events = EventClient::from_environment();
    let outcome = convert_guest(&step, &interrupted, |report| told(report, &events, global));
    if let Some(image) = initramfs {
        let _ = fs::remove_file(image);
    }
    let result = match outcome {
        Ok(result) => result,
        Err(error @ BootError::Interrupted) => return Err(Failure::with(Exit::Interrupted, error)),
        Err(error) => return Err(error.into()),
    };
    let edits = serde_json::to_string(&result.edits)?;
    record(marker, digest, &result)?;
    events.output("edits", &edits);
    if let Some(system) = result.facts.get("guest.system") {
        events.output("guest", system);
    }
    if global.json {
        println!("{}", serde_json::json!({ "machine": args.machine, "edits": result.edits, "facts": result.facts }));
    }
    Ok(Exit::Done)
}

/// Set when somebody asks us to end.
fn interrupted() -> Result<Arc<AtomicBool>, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    Ok(interrupted)
}

/// The controller of the run, if there is one.
fn controller() -> Option<PathBuf> {
    std::env::var_os(CONTROLLER_SOCKET).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Where a controller of our own finds its CA.
fn state() -> PathBuf {
    std::env::var_os("REPLANT_ROOT").map(PathBuf::from).unwrap_or_else(|| PathBuf::from(".")).join(".replant")
}

fn record(marker: &Path, digest: &str, result: &ConversionResult) -> Result<(), Failure> {
    mark(marker, &serde_json::json!({ "sequence": digest, "facts": result.facts, "edits": result.edits }))
}

/// The marker comes last and whole: it says that the machine is off and its disks are flushed.
fn mark(marker: &Path, content: &serde_json::Value) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(content)?;
    let fresh = marker.with_extension("new");
    fs::write(&fresh, text)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, marker)?;
    Ok(())
}

fn told(report: &Report, events: &EventClient, global: &Global) {
    let line = match report {
        Report::Enrolled { .. } => "the agent has booted and is enrolled".to_owned(),
        Report::Begin { what, position, total, .. } => {
            events.progress(*position, Some(*total), "steps");
            what.clone()
        }
        Report::End { message, .. } if message.is_empty() => return,
        Report::End { step, outcome, message } => format!("{step}: {outcome}: {message}"),
        Report::Edit(edit) => {
            let change = match (&edit.before, &edit.after) {
                (Some(before), Some(after)) => format!("`{}` -> `{}`", before.trim(), after.trim()),
                (None, Some(after)) => format!("+ `{}`", after.trim().replace('\n', " | ")),
                (before, None) => format!("- `{}`", before.as_deref().unwrap_or_default().trim()),
            };
            format!("{}: {change} ({})", edit.path, edit.why)
        }
        Report::Note { text } => text.clone(),
        Report::Deployed { done, total, .. } => {
            events.progress(*done, Some(*total), "bytes");
            return;
        }
        Report::Restart(point) => format!("the machine restarts, and goes on behind step {}", point.after),
        Report::Captured { .. } | Report::Result { .. } => return,
    };
    events.note(line.clone());
    if !global.json {
        println!("{line}");
    }
}
