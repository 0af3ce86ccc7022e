//! What is known of a machine, section by section.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::assess::rules::Coverage as _;
use crate::cli::coverage::AgentDrivers;
use crate::inventory::ResolvedMachine;
use crate::inventory::model::{CaptureMethod, Document, Fact, Storage, Volume, Word};
use crate::plan::{Machine, Nic, Plan, SourceDisk};
use crate::provider::Section;
use crate::units::ByteCount;

/// Entries of a list that are named; the rest is counted.
const NAMED: usize = 24;
/// The PCI class of Ethernet adapters.
const ETHERNET: &str = "0200";

/// A machine with all that is known of it.
pub(super) struct Reported<'a> {
    pub plan: &'a Plan,
    pub machine: &'a Machine,
    /// What was seen of its disks.
    pub seen: Option<&'a ResolvedMachine>,
    /// Its inventory document.
    pub document: Option<&'a Document>,
    /// What the plan declares and the document says, in the words of rules.
    pub facts: Map<String, Value>,
    /// Which devices the agent can drive.
    pub drivers: Option<&'a AgentDrivers>,
}

impl Reported<'_> {
    /// The lines of a section; none if nothing is known.
    pub fn lines(&self, section: Section) -> Vec<String> {
        match section {
            Section::System => self.system(),
            Section::Network => self.machine.inventory.nics.iter().map(|nic| self.nic(nic)).collect(),
            Section::Storage => self.controllers(),
            Section::Disks => self.disks(),
            Section::Devices => listed(&self.facts, "devices", &["kind", "name", "pci"]),
            Section::Software => self.software(),
            Section::SystemFiles => self.files(),
            Section::Target => self.target(),
            Section::Migration => self.migration(),
        }
    }

    fn system(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Value::Object(os)) = self.facts.get("os") {
            let names = ["name", "version", "service_level", "language", "architecture", "hal"];
            lines.push(format!("  operating system: {}\n", fields(os, &names)));
        }
        if let Some(document) = self.document {
            let system = &document.facts.system;
            let parts = [&system.manufacturer, &system.model, &system.serial].map(word);
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            if !parts.is_empty() {
                lines.push(format!("  machine: {}\n", parts.join(", ")));
            }
            let processor = &system.processor;
            let parts = [word(&processor.model), word(&processor.count).map(|count| format!("{count} processors"))];
            let memory = system.memory.as_ref().map(|memory| format!("{} of memory", memory.value));
            let parts: Vec<String> = parts.into_iter().flatten().chain(memory).collect();
            if !parts.is_empty() {
                lines.push(format!("  hardware: {}\n", parts.join(", ")));
            }
        }
        if let Some(seen) = self.seen {
            lines.push(format!("  VM: {}, {} processors, {:?} firmware\n", seen.memory, seen.cpus, seen.firmware));
        }
        if let Some(Value::Object(system)) = self.facts.get("system") {
            let text = fields(system, &["secure_boot", "tpm", "managed_by", "administrator"]);
            lines.extend((!text.is_empty()).then(|| format!("  {text}\n")));
        }
        lines
    }

    fn nic(&self, nic: &Nic) -> String {
        let known = maps(&self.facts, "nics").find(|map| map.get("mac").and_then(Value::as_str) == Some(&nic.mac));
        let names = ["kind", "addresses", "dhcp", "boots_agent", "pci"];
        let mut text = format!("  {} {}", nic.mac, nic.name.as_deref().unwrap_or("(no name)"));
        if let Some(map) = known {
            let more = fields(map, &names);
            if !more.is_empty() {
                let _ = write!(text, ": {more}");
            }
            text.push_str(&self.driver(map, Some(ETHERNET)));
        }
        text.push('\n');
        text
    }

    /// Whether the agent can drive a device with a PCI id, if it would have to.
    fn driver(&self, map: &Map<String, Value>, class: Option<&str>) -> String {
        let Some(pci) = map.get("pci").and_then(Value::as_str) else { return String::new() };
        let class = map.get("class").and_then(Value::as_str).or(class);
        let told = self.drivers.and_then(|drivers| drivers.has_driver(pci, class));
        let word = match told {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "unknown",
        };
        format!(", agent has a driver: {word}")
    }

    fn controllers(&self) -> Vec<String> {
        if maps(&self.facts, "controllers").next().is_none() {
            return listed(&self.facts, "controllers", &[]);
        }
        let line = |map| format!("  {}{}\n", fields(map, &["name", "kind", "pci"]), self.driver(map, None));
        maps(&self.facts, "controllers").map(line).collect()
    }

    fn disks(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.machine.source.disks.iter().enumerate().map(|(at, disk)| self.disk(at, disk)).collect();
        if let Some(document) = self.document {
            lines.extend(volumes(&document.facts.storage));
        }
        lines
    }

    fn disk(&self, at: usize, disk: &SourceDisk) -> String {
        let names = ["layout", "bus", "file_systems", "encrypted", "snapshots", "san", "shared", "hibernated"];
        let mut text = format!("  {} {}", disk.index, disk.path.value);
        if let Some(seen) = self.seen.and_then(|seen| seen.disks.get(at)) {
            let allocated = ByteCount(seen.allocated.0);
            let _ = write!(text, ": {} ({allocated} used in its file)", seen.size);
            text.push_str(if seen.boots.is_some() { ", boots: hosts the operating system" } else { "" });
        }
        let id = disk.index.to_string();
        let own = || maps(&self.facts, "disks").filter(|map| map.get("disk").and_then(Value::as_str) == Some(&id));
        for map in own() {
            let more = fields(map, &names);
            if !more.is_empty() {
                let _ = write!(text, "; {more}");
            }
        }
        let capture = own().find_map(|map| map.get("capture").and_then(Value::as_bool));
        text.push_str(match (capture, self.seen.is_some()) {
            (Some(false), _) => "; able to capture: no\n",
            (Some(true), _) | (None, true) => "; able to capture: yes\n",
            (None, false) => "; able to capture: unknown, it was not looked at\n",
        });
        text
    }

    fn software(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Value::Object(software)) = self.facts.get("software") {
            lines.extend(software.iter().map(|(name, value)| format!("  {name}: {}\n", shown(value))));
        }
        let Some(document) = self.document else { return lines };
        let software = &document.facts.software;
        let modes = |list: Vec<(Option<String>, Option<String>)>| -> Vec<Value> {
            let named = list.into_iter().filter_map(|(name, mode)| Some(format!("{} ({})", name?, mode?)));
            named.map(Value::from).collect()
        };
        let services = modes(software.services.iter().map(|one| (word(&one.name), word(&one.start))).collect());
        let drivers = modes(software.drivers.iter().map(|one| (word(&one.name), word(&one.start))).collect());
        for (title, list) in [("start modes of services", services), ("start modes of drivers", drivers)] {
            if !list.is_empty() {
                lines.push(format!("  {title}: {}\n", shown(&Value::Array(list))));
            }
        }
        lines
    }

    fn files(&self) -> Vec<String> {
        let system = self.facts.get("system").and_then(Value::as_object);
        let mut lines = Vec::new();
        for (key, title) in [("updates", "updates"), ("missing_files", "missing system files")] {
            if let Some(list @ Value::Array(_)) = system.and_then(|system| system.get(key)) {
                lines.push(format!("  {title}: {}\n", shown(list)));
            }
        }
        if let Some(document) = self.document {
            let present = document
                .facts
                .software
                .files
                .iter()
                .filter(|file| file.present.as_ref().is_some_and(|present| present.value));
            let names: Vec<Value> = present
                .filter_map(|file| {
                    let version = word(&file.version).map(|version| format!(" {version}")).unwrap_or_default();
                    Some(Value::from(format!("{}{version}", word(&file.path)?)))
                })
                .collect();
            if !names.is_empty() {
                lines.push(format!("  key system files: {}\n", shown(&Value::Array(names))));
            }
        }
        lines
    }

    fn target(&self) -> Vec<String> {
        let target = &self.machine.target;
        let provider = self.plan.hosts.get(&target.host.value).map_or("", |host| host.provider.value.as_str());
        let (format, allocation) = (target.disk_format, target.allocation);
        vec![
            format!("  VM `{}` on host {} ({provider})\n", target.vm_name, target.host.value),
            format!("  {allocation:?} {format:?} disks, network `{}`\n", target.network.value),
        ]
    }

    fn migration(&self) -> Vec<String> {
        let Some(Value::Object(system)) = self.facts.get("system") else { return Vec::new() };
        let text = fields(system, &["pxe", "boot_media", "clock_offset", "backup_age", "installed_memory"]);
        if text.is_empty() { Vec::new() } else { vec![format!("  {text}\n")] }
    }
}

fn word<T: Word>(fact: &Option<Fact<T>>) -> Option<String> {
    fact.as_ref().map(|fact| fact.value.write())
}

fn maps<'a>(facts: &'a Map<String, Value>, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    facts.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

/// Partitions and volumes with their file systems, where they are mounted, and how they can be captured.
fn volumes(storage: &Storage) -> Vec<String> {
    let line = |volume: &Volume| {
        let name = word(&volume.name).unwrap_or_else(|| "(no name)".to_owned());
        let used = volume.used.as_ref().map(|used| format!("{} used", used.value));
        let parts = [
            word(&volume.file_system),
            volume.size.as_ref().map(|size| size.value.to_string()),
            used,
            word(&volume.label).map(|label| format!("label {label}")),
            word(&volume.mounted_at).map(|at| format!("mounted at {at}")),
            volume.hosts_os.as_ref().filter(|hosts| hosts.value).map(|_| "hosts the operating system".to_owned()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let reason = word(&volume.capture_reason).map(|why| format!(" ({why})")).unwrap_or_default();
        let capture = match volume.capture.as_ref().map(|method| method.value) {
            Some(CaptureMethod::UsedBlocks) => "yes, its used blocks",
            Some(CaptureMethod::Whole) => "yes, whole",
            Some(CaptureMethod::None) => "no",
            None => "unknown",
        };
        format!("    {name}: {}; able to capture: {capture}{reason}\n", parts.join(", "))
    };
    storage.volumes.iter().map(line).collect()
}

/// `key value` of what is known.
fn fields(map: &Map<String, Value>, names: &[&str]) -> String {
    let shown = names.iter().filter_map(|name| Some(format!("{name} {}", plain(map.get(*name)?))));
    shown.collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(map) => fields(map, &["file", "package"]),
        other => other.to_string(),
    }
}

fn listed(facts: &Map<String, Value>, key: &str, names: &[&str]) -> Vec<String> {
    match facts.get(key).and_then(Value::as_array) {
        Some(items) if items.is_empty() => vec!["  none\n".to_owned()],
        _ => maps(facts, key).map(|map| format!("  {}\n", fields(map, names))).collect(),
    }
}

fn shown(value: &Value) -> String {
    match value.as_array() {
        Some(list) if list.is_empty() => "none".to_owned(),
        Some(list) => {
            let more = list.len().saturating_sub(NAMED);
            let named: Vec<String> = list.iter().take(NAMED).map(plain).collect();
            let more = if more > 0 { format!(", and {more} more") } else { String::new() };
            format!("{}{more}", named.join(", "))
        }
        None => plain(value),
    }
}
