//! `replant plan --detail`: every edit that the conversion of each guest would make, as far as its source can be looked into.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;

use super::Failure;
use super::prepare::Prepared;
use crate::agent::build::{self, BuildOptions, Flavour};
use crate::agent::{InspectOptions, preview_guest};
use crate::diagnostic::Diagnostics;
use crate::guest::windows::driver::DriverPackage;
use crate::guest::windows::{FoundWindows, TargetNic, WindowsOptions, WindowsSurvey};
use crate::guest::{Edit, SkipList, UserScript};
use crate::hardware::DiskFormat;
use crate::inventory::{ResolvedMachine, preview_windows};
use crate::patch::PatchCache;
use crate::plan::{Convert, Machine, ScriptTime, SecretRef};

/// Longest time of one look.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is known beforehand of a machine's conversion.
#[derive(Debug, Serialize)]
pub(super) struct GuestEdits {
    machine: String,
    system: String,
    edits: Vec<Edit>,
    warnings: Vec<String>,
    /// Why nothing is known.
    unknown: Option<String>,
}

/// The edits of every selected machine whose guest is converted. Windows is read by this program alone; for Linux the agent
/// is started where `inspect` says so. `artifact` gives a machine's rendered sequence.
pub(super) fn collect(
    prepared: &Prepared,
    chosen: &dyn Fn(&Machine) -> bool,
    inspect: bool,
    artifact: &dyn Fn(&Machine) -> Option<String>,
) -> Result<Vec<GuestEdits>, Failure> {
    let plan = &prepared.plan;
    // What cannot be looked into was told with the plan's warnings.
    let surveys = super::windows::surveys(plan, &mut Diagnostics::new());
    let packages = match surveys.iter().any(|survey| !survey.found.is_empty()) {
        true => PatchCache::of_store(plan.plan.store.path.as_std_path()).packages()?,
        false => Vec::new(),
    };
    let packages: Vec<DriverPackage> = packages.into_iter().map(|(_, package)| package).collect();
    let mut all = Vec::new();
    for ((machine, facts), survey) in plan.plan.machines.iter().zip(&plan.machines).zip(&surveys) {
        if machine.guest.convert != Convert::Auto || !chosen(machine) {
            continue;
        }
        let outcome = match (meant(machine, survey), inspect) {
            (Some(windows), _) => of_windows(prepared, machine, facts, windows, &packages),
            (None, true) => of_linux(machine, facts, artifact),
            (None, false) => Err("its guest is looked into with `--inspect`".to_owned()),
        };
        all.push(match outcome {
            Ok((system, edits, warnings)) => {
                GuestEdits { machine: machine.name.value.to_string(), system, edits, warnings, unknown: None }
            }
            Err(why) => GuestEdits {
                machine: machine.name.value.to_string(),
                system: String::new(),
                edits: Vec::new(),
                warnings: Vec::new(),
                unknown: Some(why),
            },
        });
    }
    Ok(all)
}

fn meant<'s>(machine: &Machine, survey: &'s WindowsSurvey) -> Option<&'s FoundWindows> {
    match (&machine.guest.root, survey.found.as_slice()) {
        (None, [only]) => Some(only),
        (Some(root), found) => found.iter().find(|one| one.volume == *root),
        _ => None,
    }
}

type Known = (String, Vec<Edit>, Vec<String>);

fn of_windows(
    prepared: &Prepared,
    machine: &Machine,
    facts: &ResolvedMachine,
    windows: &FoundWindows,
    packages: &[DriverPackage],
) -> Result<Known, String> {
    let host = prepared.plan.plan.hosts.get(&machine.target.host.value);
    let provider = host.and_then(|host| prepared.catalog.get(&host.provider.value));
    let tables = provider.ok_or("its provider is not known")?.windows();
    let nics: Vec<TargetNic> =
        facts.nics.iter().map(|nic| TargetNic { mac: nic.mac.clone(), name: nic.name.clone() }).collect();
    let run = machine.guest.run.iter().filter(|own| own.when == ScriptTime::FirstBoot);
    let first_boot: Vec<UserScript> = run.map(|own| own.script.clone()).collect();
    let skip = SkipList::new(machine.guest.skip.iter().cloned());
    let options = WindowsOptions { tables, packages, nics: &nics, first_boot: &first_boot, skip: &skip };
    let outcome = preview_windows(facts, windows, &options).map_err(|error| error.to_string())?;
    Ok((windows.facts.product.clone(), outcome.edits, outcome.warnings))
}

fn of_linux(
    machine: &Machine,
    facts: &ResolvedMachine,
    artifact: &dyn Fn(&Machine) -> Option<String>,
) -> Result<Known, String> {
    if machine.source.agent.is_some() {
        return Err("its disks are read by the agent in the machine, when it is captured".to_owned());
    }
    let text = artifact(machine).ok_or("it has no sequence for its guest")?;
    let mut disks = Vec::new();
    for disk in &facts.disks {
        let format = match disk.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
            DiskFormat::Vmdk => "vmdk",
            DiskFormat::Vhd => "vpc",
            DiskFormat::Vhdx => "vhdx",
            DiskFormat::Ova => return Err(format!("{} is an appliance, which QEMU does not read", disk.path)),
        };
        disks.push((PathBuf::from(disk.path.as_str()), format));
    }
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let references = machine.guest.keys.iter().map(|(uuid, key)| format!("{uuid}={}", reference(key)));
    let keys = super::guest::guest_keys(&references.collect::<Vec<_>>()).map_err(|failure| match failure {
        Failure::Other { error, .. } => error.to_string(),
        Failure::Refused(_) => "its keys cannot be read".to_owned(),
    })?;
    let cache = std::env::var_os("REPLANT_CACHE").map_or_else(super::agent::default_cache, PathBuf::from);
    let agent = cache.join("agent");
    let extras = build::Extras::default();
    let program = std::env::current_exe().map_err(|error| told(&error))?;
    let (packages, out) = (cache.join("packages"), agent.clone());
    build::build(&BuildOptions { out, flavour: Flavour::Cloud, cache: packages, refresh: false, program, extras })
        .map_err(|error| told(&error))?;
    let state = tempfile::tempdir().map_err(|error| told(&error))?;
    let options = InspectOptions { disks, agent, state: state.path().to_owned(), keys, timeout: PATIENCE };
    let interrupted = Arc::new(AtomicBool::new(false));
    match preview_guest(&options, &text, &interrupted, |_| {}) {
        Ok(Some(found)) => Ok((format!("{} on {}", found.system, found.root), found.edits, found.warnings)),
        Ok(None) => Err("its sequence converts nothing".to_owned()),
        Err(error) => Err(with_source(&error)),
    }
}

fn with_source(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn reference(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{path}"),
        SecretRef::Command(command) => format!("command:{command}"),
    }
}

/// Prints them for people.
pub(super) fn print(all: &[GuestEdits]) {
    for one in all {
        match &one.unknown {
            Some(why) => anstream::println!("=== edits of {}: not known beforehand: {why}", one.machine),
            None => anstream::println!("=== edits of {} ({}): {}", one.machine, one.system, one.edits.len()),
        }
        for edit in &one.edits {
            anstream::println!("  {}  {}", edit.id, edit.path);
            let line = |mark: char, text: &Option<String>| {
                if let Some(text) = text {
                    anstream::println!("    {mark} {}", shortened(text));
                }
            };
            line('-', &edit.before);
            line('+', &edit.after);
            anstream::println!("    because {}", edit.why);
        }
        for warning in &one.warnings {
            anstream::println!("  ! {warning}");
        }
    }
}

/// One line of at most so many characters.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.trim_end().replace('\n', " | ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}
