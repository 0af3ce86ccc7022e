//! `replant inspect`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::ValueEnum;

use super::{Exit, Failure, Global};
use crate::agent::build::{self, BuildOptions, Flavour};
use crate::agent::{BootError, InspectError, InspectOptions, inspect_disks};
use crate::controller::Report;
use crate::guest::linux::facts::LinuxFacts;
use crate::guest::linux::network::Interface;
use crate::guest::windows::{BootDevice, BootFacts, BootMode, WindowsFacts};
use crate::guest::{FsState, InspectedSystem, MachineInspection, SystemFacts};
use crate::inventory::inspected_facts;
use crate::inventory::model::{Document, Method, Observation};
use crate::units::{ByteCount, parse_duration};

/// The arguments of `replant inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Disk files or devices of one machine, the boot disk first; opened read-only
    #[arg(required = true, value_name = "DISK")]
    disks: Vec<PathBuf>,
    /// Their format [default: what the file's first bytes say]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// The key of a LUKS container: `UUID=env:NAME`, `UUID=file:PATH` or `UUID=command:CMD`; `any` for every container
    #[arg(long, value_name = "UUID=REF")]
    luks_key: Vec<String>,
    /// The folder of the agent's kernel and initramfs; built there if it is missing [default: below the cache]
    #[arg(long, value_name = "DIR")]
    agent: Option<PathBuf>,
    /// The folder of downloaded packages [default: ~/.cache/replant]
    #[arg(long, value_name = "DIR", env = "REPLANT_CACHE")]
    cache: Option<PathBuf>,
    /// Write what was found into an inventory document in this folder; one that is there is brought up to date
    #[arg(long, value_name = "FOLDER")]
    facts: Option<camino::Utf8PathBuf>,
    /// The machine's name in that document [default: what the system calls itself]
    #[arg(long, requires = "facts")]
    name: Option<String>,
    /// Longest time of everything
    #[arg(long, default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Raw,
    Qcow2,
}

/// Runs the verb.
pub fn run(args: &InspectArgs, global: &Global) -> Result<Exit, Failure> {
    let keys = super::guest::guest_keys(&args.luks_key)?;
    let cache = args.cache.clone().unwrap_or_else(super::agent::default_cache);
    let agent = args.agent.clone().unwrap_or_else(|| cache.join("agent"));
    let mut disks = Vec::new();
    for path in &args.disks {
        let format = match args.format {
            Some(FormatArg::Raw) => "raw",
            Some(FormatArg::Qcow2) => "qcow2",
            None => format_of(path)?,
        };
        disks.push((path.clone(), format));
    }
    build::build(&BuildOptions {
        out: agent.clone(),
        flavour: Flavour::Cloud,
        cache: cache.join("packages"),
        refresh: false,
        program: std::env::current_exe()?,
        extras: build::Extras::default(),
    })?;
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    let state = tempfile::tempdir()?;
    let options = InspectOptions { disks, agent, state: state.path().to_owned(), keys, timeout: args.timeout };
    let told = |report: &Report| {
        if let Report::Note { text } = report {
            tracing::info!("{text}");
        }
    };
    let found = match inspect_disks(&options, &interrupted, told) {
        Ok(found) => found,
        Err(InspectError::Boot(error @ BootError::Interrupted)) => {
            return Err(Failure::with(Exit::Interrupted, error));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(folder) = &args.facts {
        let written = super::inventory::save(folder, vec![document(args, &found)?])?;
        if !global.json {
            super::inventory::report(&written, global);
        }
    }
    match global.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => print(&found),
    }
    Ok(Exit::Done)
}

/// What was found, as an inventory document.
fn document(args: &InspectArgs, found: &MachineInspection) -> Result<Document, Failure> {
    let facts = inspected_facts(found);
    let own = facts.os.host_name.as_ref().map(|name| name.value.clone());
    let name = args.name.clone().or(own).ok_or_else(|| {
        Failure::with(Exit::Usage, "the disks do not say what the machine is called: give it a name with `--name`")
    })?;
    let source: Vec<String> = args.disks.iter().map(|disk| disk.display().to_string()).collect();
    let observation = Observation {
        by: super::inventory::observer(None).by,
        how: Method::Inspection,
        source: Some(source.join(", ")),
        when: Some(jiff::Timestamp::now()),
    };
    Ok(Document::new(name, observation, facts))
}

/// By the first bytes; anything without a known magic number is raw.
fn format_of(path: &PathBuf) -> Result<&'static str, Failure> {
    use std::io::Read;
    let mut magic = [0; 4];
    let unreadable =
        |error| Failure::with(Exit::Error, format!("{} cannot be opened for reading: {error}", path.display()));
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let qcow2 = file.read_exact(&mut magic).is_ok() && magic == *b"QFI\xfb";
    Ok(if qcow2 { "qcow2" } else { "raw" })
}

fn print(found: &MachineInspection) {
    for disk in &found.disks {
        println!(
            "{}: {}, {}",
            disk.name,
            ByteCount(disk.size),
            disk.scheme
                .as_deref()
                .map_or("no partition table".to_owned(), |scheme| format!("{scheme} partition table"))
        );
        for part in &disk.contents {
            let content = part.content.as_ref().map_or_else(|| "unknown content".to_owned(), describe);
            println!("  {}  {}  {content}", part.name, ByteCount(part.size));
        }
    }
    for volume in &found.volumes {
        let content = volume.content.as_ref().map_or_else(|| "unknown content".to_owned(), describe);
        println!(
            "volume {}: {:?} on {}, {}  {content}",
            volume.device.display(),
            volume.kind,
            volume.below.join(", "),
            ByteCount(volume.size)
        );
    }
    if found.systems.is_empty() {
        println!("no operating system was found");
    }
    for system in &found.systems {
        println!();
        print_system(system);
    }
    for closed in &found.closed {
        println!("\nnot looked into: {closed}");
    }
}

fn describe(content: &crate::guest::FileSystem) -> String {
    let mut text = content.kind.name().to_owned();
    if let Some(uuid) = &content.uuid {
        text.push_str(&format!(" UUID={uuid}"));
    }
    if let Some(label) = &content.label {
        text.push_str(&format!(" LABEL={label}"));
    }
    match content.state {
        FsState::Usable => {}
        FsState::Damaged => text.push_str(" [marked as damaged]"),
        FsState::Hibernated => text.push_str(" [holds a hibernated machine]"),
    }
    text
}

fn print_system(system: &InspectedSystem) {
    println!("{} on {} ({})", system.name, system.device, system.root);
    let facts = match &system.facts {
        SystemFacts::Linux(facts) => facts,
        SystemFacts::Windows(facts) => return print_windows(facts),
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    line("host name", text(&facts.hostname));
    line("architecture", text(&facts.architecture));
    line("init", facts.init.clone());
    line("packages", text(&facts.packages));
    for kernel in &facts.kernels {
        let virtio = if kernel.virtio { "has virtio drivers" } else { "has NO virtio drivers" };
        line("kernel", format!("{}, {virtio}, {}", kernel.release, kernel.initramfs.join(" ")));
    }
    line("initramfs by", facts.initramfs_tools.join(", "));
    line("boot loader", facts.boot_loaders.join(", "));
    if let Some(uefi) = &facts.uefi {
        let fallback = if uefi.fallback { "with" } else { "WITHOUT" };
        line("UEFI", format!("{} on {}, {fallback} the fallback loader", uefi.vendors.join(", "), uefi.mounted));
    }
    for interface in &facts.interfaces {
        line("network", network(interface));
    }
    for mount in &facts.mounts {
        line("mount", format!("{} on {} ({})", mount.device, mount.point, mount.kind));
    }
    for tool in &facts.hypervisor_tools {
        let state = if tool.enabled { "starts at boot" } else { "switched off" };
        line("tools", format!("{} ({}, {state})", tool.service, tool.vendor));
    }
    line("SELinux", text(&facts.selinux));
    line("switched on", switched_on(facts));
    line("services", facts.services.join(" "));
}

fn line(name: &str, value: String) {
    if !value.is_empty() {
        println!("  {name:<14}{value}");
    }
}

fn print_windows(facts: &WindowsFacts) {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    line("host name", text(&facts.host_name));
    line("edition", text(&facts.edition));
    line("build", format!("{} {}", facts.build, text(&facts.service_pack)).trim().to_owned());
    line("architecture", facts.architecture.name().to_owned());
    line("control set", facts.control_set.clone());
    if let Some(boot) = &facts.boot {
        line("boot", boot_line(boot));
    }
    let driver = |start: &str| {
        let all = facts.services.iter().filter(|service| service.driver && service.start.name() == start);
        all.map(|service| service.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    line("boot drivers", driver("boot"));
    for adapter in &facts.adapters {
        let addresses: Vec<String> =
            adapter.addresses.iter().map(|(address, mask)| format!("{address} mask {mask}")).collect();
        let how = if adapter.dhcp { "DHCP".to_owned() } else { addresses.join(", ") };
        line("network", format!("{}: {how}, via {}", adapter.name, adapter.gateways.join(" ")));
    }
    for tool in &facts.tools {
        line("tools", format!("{} {}", tool.name, text(&tool.version)));
    }
    line("in the way", facts.obstacles.join(", "));
    let hints = [("TPM in use", facts.tpm), ("fast startup", facts.fast_startup), ("clock is UTC", facts.clock_is_utc)];
    line("hints", hints.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    line(
        "services",
        facts.services.iter().filter(|s| !s.driver).map(|s| s.name.as_str()).collect::<Vec<_>>().join(" "),
    );
    for hazard in &facts.hazards {
        line("HAZARD", hazard.to_string());
    }
}

fn boot_line(boot: &BootFacts) -> String {
    let mode = match boot.mode {
        BootMode::Bios => "BIOS",
        BootMode::Uefi => "UEFI",
    };
    let mut parts = vec![format!("{mode}, store on {}", boot.store)];
    if let Some(default) = &boot.default {
        parts.push(default.path.clone().unwrap_or_else(|| default.id.clone()));
        parts.extend(default.os_device.as_ref().map(|device| match device {
            BootDevice::Boot => "on the device it was started from".to_owned(),
            BootDevice::Mbr { disk, start } => format!("on the partition at byte {start} of disk {disk}"),
            BootDevice::Gpt { disk, partition } => format!("on partition {partition} of disk {disk}"),
            BootDevice::Other { number } => format!("on a device of type {number}"),
        }));
    }
    parts.join(", ")
}

fn switched_on(facts: &LinuxFacts) -> String {
    let parts = [("AppArmor", facts.apparmor), ("cloud-init", facts.cloud_init)];
    parts.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn network(interface: &Interface) -> String {
    let mut parts = vec![format!("{:?}", interface.kind).to_lowercase()];
    if interface.dhcp {
        parts.push("DHCP".to_owned());
    }
    parts.extend(interface.addresses.iter().cloned());
    parts.extend(interface.gateways.iter().map(|gateway| format!("via {gateway}")));
    parts.extend(interface.dns.iter().map(|server| format!("dns {server}")));
    parts.extend(interface.mac.iter().map(|mac| format!("mac {mac}")));
    if !interface.below.is_empty() {
        parts.push(format!("over {}", interface.below.join(" ")));
    }
    let name = if interface.name.is_empty() { "(by MAC)" } else { &interface.name };
    format!("{name}: {} ({})", parts.join(", "), interface.file)
}
