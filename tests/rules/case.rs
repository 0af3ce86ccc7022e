//! Plans for rules: the base plan with a few values changed, its disks as sparse files.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};

use replant::assess::rules::Coverage;
use replant::assess::{Assessment, assess};
use replant::inventory::{observe, resolve};
use replant::provider::Catalog;
use replant::units::ByteCount;
use serde_yaml::{Mapping, Value};

use crate::common::TestSite;

pub const BASE: &str = include_str!("base.yaml");
pub const CASES: &str = include_str!("cases.yaml");

/// A provider with every limit that the embedded one does not have.
pub fn toy() -> String {
    let qemu = include_str!("../../providers/qemu/provider.yaml");
    let (head, _) = qemu.split_once("artifacts:").expect("the manifest has artifacts");
    head.replace("name: qemu", "name: toy")
        .replace("formats: [raw, qcow2]", "formats: [qcow2]\n  disk_size: 2GiB")
        .replace("firmware: [bios, uefi]", "firmware: [bios]")
        .replace("forbidden: \"/\"", "forbidden: \"/\", ignores_case: true")
        + "artifacts: { host: [], machine: [] }\n\
           boots_source: true\nrender_only: it is a toy\n\
           lists: { operating_systems: [\"Windows 2000* SP4\"], applications: [\"Speech Server*\"] }\n"
}

/// Drivers of an agent that knows Intel's devices.
pub struct Intel;

impl Coverage for Intel {
    fn has_driver(&self, pci: &str, _: Option<&str>) -> Option<bool> {
        Some(pci.starts_with("8086:"))
    }
}

/// The base plan with changes, as text.
pub fn plan(changes: &Mapping) -> Value {
    let mut plan: Value = serde_yaml::from_str(BASE).unwrap();
    plan.apply_merge().unwrap();
    for (path, value) in changes {
        let path = path.as_str().unwrap();
        let machine = |at: usize, rest: &str| format!("machines.{at}.{rest}");
        let full = match path.split_once('.') {
            Some(("m", rest)) => machine(0, rest),
            Some(("n", rest)) => machine(1, rest),
            Some(("h", rest)) => format!("hosts.h.{rest}"),
            Some(("plan", rest)) => rest.to_owned(),
            _ => continue,
        };
        set(&mut plan, &full, value);
    }
    let number = |key: &str| changes.get(key).and_then(Value::as_u64);
    if let Some(disks) = number("disks") {
        let list: Vec<Value> = (0..disks).map(|at| yaml(&format!("{{ path: m{at}.raw }}"))).collect();
        set(&mut plan, "machines.0.source.disks", &Value::Sequence(list));
        let facts = &yaml(BASE)["machines"][0]["inventory"]["facts"]["disks"][0];
        let one = |at: u64| {
            let mut facts = facts.clone();
            set(&mut facts, "disk", &Value::from(format!("disk{at}")));
            facts
        };
        set(&mut plan, "machines.0.inventory.facts.disks", &Value::Sequence((0..disks).map(one).collect()));
    }
    if let Some(nics) = number("nics") {
        let list = (0..nics).map(|at| yaml(&format!("{{ mac: '52:54:00:00:01:{at:02x}' }}")));
        set(&mut plan, "machines.0.inventory.nics", &Value::Sequence(list.collect()));
        let facts = (0..nics).map(|at| {
            yaml(&format!("{{ mac: '52:54:00:00:01:{at:02x}', kind: ethernet, dhcp: true, boots_agent: false }}"))
        });
        set(&mut plan, "machines.0.inventory.facts.nics", &Value::Sequence(facts.collect()));
    }
    plan
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

/// Sets a value at a path; `null` removes it.
fn set(plan: &mut Value, path: &str, value: &Value) {
    let mut at = plan;
    let (folder, name) = path.rsplit_once('.').unwrap_or(("", path));
    for part in folder.split('.').filter(|part| !part.is_empty()) {
        at = match part.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => {
                let map = at.as_mapping_mut().unwrap_or_else(|| panic!("{path}: {part}"));
                map.entry(Value::from(part)).or_insert(Value::Mapping(Mapping::new()))
            }
        };
    }
    match (name.parse::<usize>(), value) {
        (Ok(index), _) => at[index] = value.clone(),
        (Err(_), Value::Null) => _ = at.as_mapping_mut().unwrap().remove(name),
        (Err(_), _) => _ = at.as_mapping_mut().unwrap().insert(Value::from(name), value.clone()),
    }
}

/// Writes the plan and its disks into a site.
pub fn write(site: &TestSite, changes: &Mapping) {
    site.write("providers/toy/provider.yaml", toy());
    site.write("plan.yaml", serde_yaml::to_string(&plan(changes)).unwrap());
    let size = match changes.get("size") {
        Some(Value::Number(bytes)) => bytes.as_u64().unwrap(),
        Some(text) => ByteCount::parse(text.as_str().unwrap()).unwrap().0,
        None => 64 << 20,
    };
    let disks = changes.get("disks").and_then(Value::as_u64).unwrap_or(1);
    let boots = changes.get("boots").and_then(Value::as_u64);
    for (name, size) in (0..disks).map(|at| (format!("m{at}.raw"), size)).chain([("n0.raw".to_owned(), 64 << 20)]) {
        let mut file = File::create(site.join(&name)).unwrap();
        file.set_len(size).unwrap();
        file.write_all(b"x").unwrap();
        if boots.is_some_and(|at| name == format!("m{at}.raw")) {
            // Boot code and one partition: what BIOS boots.
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(&[0xeb, 0x63, 0x90]).unwrap();
            file.seek(SeekFrom::Start(446)).unwrap();
            file.write_all(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0]).unwrap();
            file.seek(SeekFrom::Start(510)).unwrap();
            file.write_all(&[0x55, 0xaa]).unwrap();
        }
    }
}

/// What the rules say of the base plan with changes.
pub fn assessed(changes: &Mapping) -> Assessment {
    let site = TestSite::new();
    write(&site, changes);
    let path = camino::Utf8PathBuf::from_path_buf(site.join("plan.yaml")).unwrap();
    let load = |found: replant::diagnostic::Diagnostics| -> ! { panic!("{:#?}", found.as_slice()) };
    let (known, _) = replant::inventory::load(&path).unwrap_or_else(|found| load(found));
    let mut facts = observe(&known.plan).unwrap_or_else(|found| load(found));
    facts.iter_mut().zip(known.documents).for_each(|(facts, document)| facts.document = document);
    let (plan, _) = resolve(known.plan, facts).unwrap_or_else(|found| load(found));
    let catalog = Catalog::open(&plan.plan.root).unwrap();
    assess(&plan, &catalog, &Intel)
}
