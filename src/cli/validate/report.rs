//! The report, machine by machine and section by section: what was found, what the rules say of it, the verdict.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Validated;
use crate::address::glob_matches;
use crate::assess::rules::{Findings, Subject};
use crate::diagnostic::Severity;
use crate::inventory::ResolvedMachine;
use crate::plan::{Machine, Plan};
use crate::provider::Section;
use crate::units::ByteCount;

/// The report of one plan.
pub(super) fn text(one: &Validated, only: Option<&str>) -> String {
    let mut text = format!("Validation of {}\n", one.path);
    let Some(plan) = &one.plan else {
        for found in &one.found {
            let _ = writeln!(text, "  {}: {}", word(found.severity), found.message);
        }
        let _ = writeln!(text, "\nverdict: NOT READY: the plan cannot be read");
        return text;
    };
    let chosen = |name: &str| only.is_none_or(|glob| glob_matches(glob, name));
    for (at, machine) in plan.machines.iter().enumerate() {
        if chosen(&machine.name.value.0) {
            let seen = one.seen.as_ref().map(|plan| &plan.machines[at]);
            self::machine(plan, machine, seen, &one.findings, &mut text);
        }
    }
    for name in plan.hosts.keys().filter(|name| chosen(&name.0)) {
        let subject = Subject::Host(name.0.clone());
        let lines: Vec<String> = Section::ALL.iter().flat_map(|s| rules(&one.findings, &subject, *s)).collect();
        let _ = writeln!(text, "\nHost {name}\n{}", "=".repeat(name.0.len() + 5));
        lines.iter().for_each(|line| text.push_str(line));
        if lines.is_empty() {
            text.push_str("  nothing to remark\n");
        }
    }
    let others: Vec<_> = one.found.iter().filter(|found| !found.code.starts_with("rule.")).collect();
    if !others.is_empty() {
        text.push_str("\nPlan\n====\n");
        for found in others {
            let _ = writeln!(text, "  {}: {}", word(found.severity), found.message);
        }
    }
    for line in crate::cli::rules::silenced(&one.findings) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\n{}", verdict(one));
    text
}

/// The last line.
fn verdict(one: &Validated) -> String {
    let errors = one.findings.count(Severity::Error)
        + one.found.iter().filter(|f| f.severity == Severity::Error && !f.code.starts_with("rule.")).count();
    let warnings = one.findings.count(Severity::Warning);
    let (silenced, open) = (one.findings.silenced.len(), one.findings.unchecked());
    let counts = format!("{errors} errors, {warnings} warnings, {silenced} silenced, {open} unknown: not checked");
    match (errors, open) {
        (0, 0) => format!("verdict: READY ({counts})"),
        (0, _) => format!("verdict: READY AS FAR AS IS KNOWN ({counts})"),
        _ => format!("verdict: NOT READY ({counts})"),
    }
}

fn machine(plan: &Plan, machine: &Machine, seen: Option<&ResolvedMachine>, findings: &Findings, text: &mut String) {
    let name = &machine.name.value;
    let _ = writeln!(text, "\nMachine {name}\n{}", "=".repeat(name.0.len() + 8));
    let facts = &machine.inventory.facts;
    let subject = Subject::Machine(name.0.clone());
    for section in Section::ALL {
        let mut lines: Vec<String> = match section {
            Section::System => system(machine, seen),
            Section::Network => network(machine),
            Section::Storage => listed(facts, "controllers", &["name", "kind", "pci"]),
            Section::Disks => disks(machine, seen, facts),
            Section::Devices => listed(facts, "devices", &["kind", "name", "pci"]),
            Section::Software => software(facts),
            Section::SystemFiles => files(facts),
            Section::Target => target(plan, machine),
            Section::Migration => migration(facts),
        };
        if lines.is_empty() {
            lines.push("  unknown: nothing is declared or seen\n".to_owned());
        }
        let _ = writeln!(text, "{}", section.title());
        lines.iter().for_each(|line| text.push_str(line));
        rules(findings, &subject, section).iter().for_each(|line| text.push_str(line));
    }
}

/// What the rules of a section say of somebody.
fn rules(findings: &Findings, subject: &Subject, section: Section) -> Vec<String> {
    let mut lines = Vec::new();
    for violation in &findings.violations {
        if violation.subject == *subject && violation.rule.spec.section == section {
            let spec = &violation.rule.spec;
            lines.push(format!("  {} [{}] {}\n", mark(spec.severity), spec.id, violation.message));
            lines.push(format!("      help: {}\n", violation.help));
        }
    }
    for silenced in &findings.silenced {
        let violation = &silenced.violation;
        if violation.subject == *subject && violation.rule.spec.section == section {
            let id = &violation.rule.spec.id;
            lines.push(format!("  s [{id}] {} (silenced: {})\n", violation.message, silenced.reason));
        }
    }
    for unknown in &findings.unknown {
        if unknown.rule.spec.section == section && unknown.subjects.contains(subject) {
            lines.push(format!("  ? [{}] unknown: not checked ({})\n", unknown.rule.spec.id, unknown.fact));
        }
    }
    lines
}

fn mark(severity: Severity) -> char {
    match severity {
        Severity::Error => 'x',
        Severity::Warning => '!',
        Severity::Advice => '-',
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

/// `key: value` of what is known.
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
        other => other.to_string(),
    }
}

fn listed(facts: &Map<String, Value>, key: &str, names: &[&str]) -> Vec<String> {
    let items = facts.get(key).and_then(Value::as_array);
    match items {
        Some(items) if items.is_empty() => vec!["  none\n".to_owned()],
        items => {
            let maps = items.into_iter().flatten().filter_map(Value::as_object);
            maps.map(|map| format!("  {}\n", fields(map, names))).collect()
        }
    }
}

fn system(machine: &Machine, seen: Option<&ResolvedMachine>) -> Vec<String> {
    let mut lines = Vec::new();
    let facts = &machine.inventory.facts;
    if let Some(Value::Object(os)) = facts.get("os") {
        let names = ["name", "version", "service_level", "language", "architecture", "hal"];
        lines.push(format!("  operating system: {}\n", fields(os, &names)));
    }
    if let Some(seen) = seen {
        lines.push(format!("  VM: {}, {} processors, {:?} firmware\n", seen.memory, seen.cpus, seen.firmware));
    }
    if let Some(Value::Object(system)) = facts.get("system") {
        lines.push(format!("  {}\n", fields(system, &["secure_boot", "tpm", "managed_by", "administrator"])));
    }
    lines
}

fn network(machine: &Machine) -> Vec<String> {
    let facts = machine.inventory.facts.get("nics").and_then(Value::as_array);
    let known = |mac: &str| {
        let maps = facts.into_iter().flatten().filter_map(Value::as_object);
        maps.into_iter().find(|map| map.get("mac").and_then(Value::as_str) == Some(mac))
    };
    let names = ["kind", "addresses", "dhcp", "boots_agent", "pci"];
    let line = |nic: &crate::plan::Nic| {
        let more = known(&nic.mac).map(|map| fields(map, &names)).filter(|text| !text.is_empty());
        let more = more.map(|text| format!(": {text}")).unwrap_or_default();
        format!("  {} {}{more}\n", nic.mac, nic.name.as_deref().unwrap_or("(no name)"))
    };
    machine.inventory.nics.iter().map(line).collect()
}

fn disks(machine: &Machine, seen: Option<&ResolvedMachine>, facts: &Map<String, Value>) -> Vec<String> {
    let declared = facts.get("disks").and_then(Value::as_array);
    let names = ["layout", "bus", "file_systems", "encrypted", "snapshots", "san", "shared", "hibernated"];
    let line = |(at, disk): (usize, &crate::plan::SourceDisk)| {
        let mut text = format!("  {} {}", disk.index, disk.path.value);
        if let Some(seen) = seen.and_then(|seen| seen.disks.get(at)) {
            let allocated = ByteCount(seen.allocated.0);
            let _ = write!(text, ": {} ({allocated} used in its file)", seen.size);
            text.push_str(if seen.boots.is_some() { ", boots: hosts the operating system" } else { "" });
        }
        let id = disk.index.to_string();
        let maps = declared.into_iter().flatten().filter_map(Value::as_object);
        for map in maps.filter(|map| map.get("disk").and_then(Value::as_str) == Some(id.as_str())) {
            let _ = write!(text, "; {}", fields(map, &names));
        }
        let capture = declared.into_iter().flatten().filter_map(Value::as_object).find_map(|map| {
            (map.get("disk")?.as_str()? == id).then(|| map.get("capture").and_then(Value::as_bool)).flatten()
        });
        text.push_str(match (capture, seen.is_some()) {
            (Some(false), _) => "; able to capture: no\n",
            (Some(true), _) | (None, true) => "; able to capture: yes\n",
            (None, false) => "; able to capture: unknown, it was not looked at\n",
        });
        text
    };
    machine.source.disks.iter().enumerate().map(line).collect()
}

fn software(facts: &Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(software)) = facts.get("software") else { return Vec::new() };
    let line = |(name, value): (&String, &Value)| format!("  {name}: {}\n", shown(value));
    software.iter().map(line).collect()
}

fn shown(value: &Value) -> String {
    match value.as_array() {
        Some(list) if list.is_empty() => "none".to_owned(),
        Some(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        None => plain(value),
    }
}

fn files(facts: &Map<String, Value>) -> Vec<String> {
    let system = facts.get("system").and_then(Value::as_object);
    let mut lines = Vec::new();
    for (key, title) in [("updates", "updates"), ("missing_files", "missing system files")] {
        if let Some(Value::Array(list)) = system.and_then(|system| system.get(key)) {
            let text = |value: &Value| match value.as_object() {
                Some(map) => fields(map, &["file", "package"]),
                None => plain(value),
            };
            let list: Vec<String> = list.iter().map(text).collect();
            lines.push(format!("  {title}: {}\n", if list.is_empty() { "none".to_owned() } else { list.join("; ") }));
        }
    }
    lines
}

fn target(plan: &Plan, machine: &Machine) -> Vec<String> {
    let target = &machine.target;
    let provider = plan.hosts.get(&target.host.value).map_or("", |host| host.provider.value.as_str());
    let (format, allocation) = (target.disk_format, target.allocation);
    vec![
        format!("  VM `{}` on host {} ({provider})\n", target.vm_name, target.host.value),
        format!("  {allocation:?} {format:?} disks, network `{}`\n", target.network.value),
    ]
}

fn migration(facts: &Map<String, Value>) -> Vec<String> {
    let Some(Value::Object(system)) = facts.get("system") else { return Vec::new() };
    let text = fields(system, &["pxe", "boot_media", "clock_offset", "backup_age", "installed_memory"]);
    if text.is_empty() { Vec::new() } else { vec![format!("  {text}\n")] }
}
