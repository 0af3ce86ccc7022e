//! Rules: 10,000 machines with every fact declared, 150 rules. `cargo bench --bench rules`

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use replant::assess::rules::{Checked, NotAsked, Origin, Rule, RuleSet, check};
use replant::hardware::{DiskFormat, Firmware};
use replant::inventory::{DiskFacts, DiskKind, ResolvedMachine, ResolvedPlan};
use replant::plan::PlanRules;
use replant::provider::Catalog;
use replant::units::ByteCount;

const MACHINES: usize = 10_000;
const RULES: usize = 150;

fn plan(facts: bool) -> ResolvedPlan {
    let mut text = String::from("replant: 1\nname: bench\nhosts:\n");
    for host in 0..500 {
        let _ = writeln!(
            text,
            "  h{host}: {{ provider: qemu, memory: 1TiB, facts: {{ macs: [], vm_names: [], addresses: [] }} }}"
        );
    }
    text.push_str("machines:\n");
    for at in 0..MACHINES {
        let mac = format!("52:54:00:{:02x}:{:02x}:{:02x}", at >> 16, (at >> 8) & 255, at & 255);
        let declared = match facts {
            false => String::new(),
            true => format!(
                ", facts: {{ os: {{ family: linux, name: Debian, architecture: x86_64 }}, system: {{ pxe: true, secure_boot: false, \
                 tpm: false, clock_offset: 0s, managed_by: '', administrator: true, backup_age: 1d, updates: [], missing_files: [] }}, \
                 disks: [{{ disk: disk0, layout: basic, san: false, shared: false, snapshots: 0, raw_mapping: false, passthrough: false, \
                 encrypted: '', hibernated: false, dirty: false, fragmented: false, file_systems: [ext4], capture: true, sector: 512 }}], \
                 nics: [{{ mac: '{mac}', kind: ethernet, addresses: [10.0.0.1], dhcp: true, boots_agent: true }}], \
                 controllers: [{{ name: ahci, kind: sata }}], devices: [{{ kind: optical, name: dvd }}], \
                 software: {{ applications: [nginx, postgresql], services: [ssh, cron], drivers: [e1000], autorun: [], roles: [] }} }}"
            ),
        };
        let _ = writeln!(
            text,
            "  - {{ name: m{at}, source: {{ disks: [{{ path: m{at}.raw }}, {{ path: m{at}b.raw }}] }}, inventory: {{ memory: 1GiB, \
             cpus: 2, firmware: bios, nics: [{{ mac: '{mac}' }}]{declared} }}, target: {{ host: h{} }} }}",
            at % 500
        );
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, text).expect("the plan can be written");
    let path = camino::Utf8PathBuf::from_path_buf(path).expect("text");
    let (plan, _) = replant::plan::load(&path).unwrap_or_else(|found| panic!("{:?}", found.as_slice().first()));
    let machines = plan.machines.iter().map(|machine| ResolvedMachine {
        disks: machine
            .source
            .disks
            .iter()
            .map(|disk| DiskFacts {
                index: disk.index,
                path: disk.path.value.clone(),
                format: DiskFormat::Raw,
                kind: DiskKind::File,
                size: ByteCount(64 << 30),
                allocated: ByteCount(8 << 30),
                identity: String::new(),
                boots: (disk.index.0 == 0).then_some(Firmware::Bios),
            })
            .collect(),
        document: None,
        memory: ByteCount(1 << 30),
        cpus: 2,
        firmware: Firmware::Bios,
        nics: machine.inventory.nics.clone(),
    });
    let machines = machines.collect();
    ResolvedPlan { plan, machines }
}

fn main() {
    let catalog = Catalog::embedded().expect("the embedded providers are complete");
    let began = Instant::now();
    let mut set = RuleSet::compile(&catalog, &PlanRules::default()).expect("the shipped rules compile");
    let (shipped, compiled) = (set.rules.len(), began.elapsed());
    let common: Vec<Arc<Rule>> = set.rules.iter().filter(|rule| rule.origin == Origin::Common).cloned().collect();
    set.rules.clone_from(&common);
    for (copy, rule) in common.iter().cycle().take(RULES - common.len()).enumerate() {
        let mut spec = rule.spec.clone();
        spec.id = format!("{}-copy{copy}", spec.id);
        set.rules.push(Arc::new(Rule::compile(&spec, Origin::Common).expect("it compiled before")));
    }
    println!("{shipped} shipped rules compiled in {:.1} ms", compiled.as_secs_f64() * 1e3);
    println!(
        "{:<34} {:>9} {:>11} {:>12} {:>12}",
        "10,000 machines, 150 rules", "seconds", "us a check", "violations", "unknown"
    );
    for (name, facts) in [("every fact declared", true), ("no facts: most rules unknown", false)] {
        let plan = plan(facts);
        for round in ["first", "again"] {
            let began = Instant::now();
            let found = check(&Checked::resolved(&plan), &catalog, &set, &NotAsked);
            let seconds = began.elapsed().as_secs_f64();
            let each = seconds * 1e6 / (MACHINES * RULES) as f64;
            println!(
                "{:<34} {seconds:>9.2} {each:>11.2} {:>12} {:>12}",
                format!("{name}, {round}"),
                found.violations.len(),
                found.unchecked()
            );
        }
    }
}
