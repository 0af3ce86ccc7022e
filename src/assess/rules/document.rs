//! An inventory document in the words that rules use. What the document does not know stays unknown: an empty list
//! may mean "none" or "nobody looked", so it is left out.

use serde_json::{Map, Value, json};

use crate::inventory::model::{
    Addressing, CaptureMethod, DeviceKind, Disk, Document, Fact, Facts, NicKind, PartitionTable, Word,
};
use crate::plan::Machine;

/// What rules read of a machine: what is declared, then what its document says.
pub fn known_facts(machine: &Machine, document: Option<&Document>) -> Map<String, Value> {
    let declared = &machine.inventory.facts;
    let Some(document) = document else { return declared.clone() };
    let mut all = facts(&document.facts, machine);
    for (name, value) in declared {
        match (all.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(own)) => known.extend(own.clone()),
            (Some(Value::Array(known)), Value::Array(own)) if name == "disks" => by_key(known, own, "disk"),
            (Some(Value::Array(known)), Value::Array(own)) if name == "nics" => by_key(known, own, "mac"),
            _ => _ = all.insert(name.clone(), value.clone()),
        }
    }
    all
}

/// Entries of the same key are merged, what is declared wins; others are added.
fn by_key(known: &mut Vec<Value>, own: &[Value], key: &str) {
    for entry in own {
        match (known.iter_mut().find(|one| one[key] == entry[key]).and_then(Value::as_object_mut), entry.as_object()) {
            (Some(known), Some(entry)) => known.extend(entry.clone()),
            _ => known.push(entry.clone()),
        }
    }
}

/// A mapping that leaves out what is not known.
#[derive(Default)]
struct Known(Map<String, Value>);

impl Known {
    fn put<T: Into<Value>>(&mut self, key: &str, value: Option<T>) -> &mut Self {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value.into());
        }
        self
    }

    fn list(&mut self, key: &str, list: Vec<Value>) -> &mut Self {
        self.put(key, (!list.is_empty()).then_some(list))
    }

    /// The mapping, unless it is empty.
    fn finish(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}

fn of<T: Clone>(fact: &Option<Fact<T>>) -> Option<T> {
    fact.as_ref().map(|fact| fact.value.clone())
}

fn word<T: Word>(fact: &Option<Fact<T>>) -> Option<String> {
    fact.as_ref().map(|fact| fact.value.write())
}

fn facts(facts: &Facts, machine: &Machine) -> Map<String, Value> {
    let mut os = Known::default();
    os.put("family", word(&facts.os.family))
        .put("name", of(&facts.os.name))
        .put("version", of(&facts.os.version))
        .put("service_level", of(&facts.os.service_level))
        .put("language", of(&facts.os.language))
        .put("architecture", of(&facts.os.architecture))
        .put("hal", of(&facts.os.hal));
    let mut system = Known::default();
    let updates = facts.software.updates.iter().map(|update| {
        let parts = [of(&update.id), of(&update.title)];
        Value::from(parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
    });
    system
        .put("secure_boot", of(&facts.system.secure_boot))
        .put("tpm", of(&facts.system.tpm))
        .put("installed_memory", of(&facts.system.memory).map(|memory| memory.0))
        .put("clock_offset", of(&facts.os.clock_difference))
        .list("updates", updates.collect());
    let looked = facts.software.files.iter().any(|file| file.present.is_some());
    let missing = facts.software.files.iter().filter(|file| of(&file.present) == Some(false));
    let missing: Vec<Value> = missing.filter_map(|file| Some(json!({ "file": of(&file.path)? }))).collect();
    system.put("missing_files", looked.then_some(missing));
    let mut all = Known::default();
    all.put("os", os.finish())
        .put("system", system.finish())
        .put("software", software(facts))
        .list("disks", disks(facts, machine))
        .list("nics", nics(facts))
        .list("controllers", controllers(facts))
        .list("devices", facts.hardware.devices.iter().filter_map(device).collect());
    all.0
}

fn software(facts: &Facts) -> Option<Value> {
    let names = |list: Vec<Option<String>>| list.into_iter().flatten().map(Value::from).collect::<Vec<_>>();
    let software = &facts.software;
    let application = |one: &crate::inventory::model::Application| {
        Some([of(&one.name)?, of(&one.version).unwrap_or_default()].join(" ").trim().to_owned())
    };
    let mut known = Known::default();
    known
        .list("applications", names(software.applications.iter().map(application).collect()))
        .list("services", names(software.services.iter().map(|one| of(&one.name)).collect()))
        .list("drivers", names(software.drivers.iter().map(|one| of(&one.name)).collect()))
        .list("autorun", names(software.auto_runs.iter().map(|one| of(&one.name)).collect()))
        .list("roles", facts.os.roles.iter().map(|role| Value::from(role_word(&role.value))).collect());
    known.finish()
}

/// `Domain Controller` as plans write it.
fn role_word(role: &str) -> String {
    let word = role.trim().to_lowercase().replace([' ', '_'], "-");
    match word.as_str() {
        "primary-domain-controller" | "backup-domain-controller" => "domain-controller".to_owned(),
        _ => word,
    }
}

fn disks(facts: &Facts, machine: &Machine) -> Vec<Value> {
    let fixed: Vec<&Disk> = facts.storage.disks.iter().filter(|disk| of(&disk.removable) != Some(true)).collect();
    let sources = &machine.source.disks;
    let base = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let one = |at: usize| {
        let path = base(sources[at].path.value.as_str());
        let by_file = fixed.iter().find(|disk| of(&disk.file).is_some_and(|file| base(&file) == path));
        let by_place = (fixed.len() == sources.len()).then(|| fixed.get(at)).flatten();
        Some(disk(facts, by_file.or(by_place)?, at, &sources[at].index.to_string()))
    };
    (0..sources.len()).filter_map(one).collect()
}

fn disk(facts: &Facts, disk: &Disk, at: usize, id: &str) -> Value {
    let name = of(&disk.name).unwrap_or_default();
    let mine = |part: &str| !name.is_empty() && part.starts_with(name.as_str());
    let partitions: Vec<String> = facts
        .storage
        .partitions
        .iter()
        .filter(|partition| of(&partition.disk).is_some_and(|on| on == name))
        .filter_map(|partition| of(&partition.name))
        .collect();
    let on_it = |part: &str| mine(part) || partitions.iter().any(|known| known == part);
    let volumes: Vec<_> =
        facts.storage.volumes.iter().filter(|volume| volume.parts.iter().any(|part| on_it(&part.value))).collect();
    let controller = of(&disk.controller).unwrap_or_default();
    let shared_bus = facts
        .storage
        .controllers
        .iter()
        .any(|one| of(&one.name).is_some_and(|name| name == controller) && of(&one.shared_bus) == Some(true));
    let clustered = volumes.iter().any(|volume| of(&volume.clustered) == Some(true));
    let layout = match (of(&disk.dynamic), of(&disk.partition_table)) {
        (Some(true), _) => Some("dynamic"),
        (_, Some(PartitionTable::None)) => Some("whole"),
        (_, Some(_)) => Some("basic"),
        _ => None,
    };
    let encrypted = of(&disk.encrypted).map(|yes| yes || volumes.iter().any(|v| of(&v.encrypted) == Some(true)));
    let snapshots = of(&facts.virtualisation.snapshot_count).map(u64::from);
    let asleep = match (of(&facts.os.hibernated), of(&facts.os.fast_startup)) {
        (None, None) => None,
        (hibernated, fast) => Some((hibernated == Some(true) || fast == Some(true)) && at == 0),
    };
    let mut systems: Vec<String> = volumes.iter().filter_map(|volume| of(&volume.file_system)).collect();
    systems.sort();
    systems.dedup();
    let mut known = Known::default();
    known
        .put("disk", Some(id))
        .put("layout", layout)
        .put("bus", word(&disk.bus))
        .put("san", of(&disk.san))
        .put("shared", of(&disk.shared).or((shared_bus || clustered).then_some(true)))
        .put("snapshots", snapshots)
        .put("raw_mapping", of(&disk.raw_device_mapping))
        .put("encrypted", encrypted.map(|yes| if yes { "as the inventory says" } else { "" }))
        .put("hibernated", asleep)
        .put("used", of(&disk.used).map(|used| used.0))
        .put("sector", of(&disk.sector).map(|sector| sector.0))
        .put("capture", of(&disk.capture).map(|method| method != CaptureMethod::None))
        .list("file_systems", systems.into_iter().map(Value::from).collect());
    Value::Object(known.0)
}

fn nics(facts: &Facts) -> Vec<Value> {
    let real = |kind: NicKind| !matches!(kind, NicKind::Bond | NicKind::Bridge | NicKind::Vlan | NicKind::Virtual);
    let nics = facts.network.nics.iter().filter(|nic| of(&nic.kind).is_none_or(real));
    let one = |nic: &crate::inventory::model::Nic| {
        let mut known = Known::default();
        known
            .put("mac", Some(of(&nic.mac)?.to_ascii_lowercase().replace('-', ":")))
            .put("kind", word(&nic.kind))
            .put("dhcp", of(&nic.addressing).map(|addressing| addressing == Addressing::Dhcp))
            .put("boots_agent", of(&nic.boot).or(of(&nic.primary)))
            .put("pci", of(&nic.pci_id))
            .put("speed", of(&nic.speed).map(|speed| speed.0))
            .list("addresses", nic.addresses.iter().map(|address| Value::from(address.value.clone())).collect());
        known.finish()
    };
    nics.filter_map(one).collect()
}

fn controllers(facts: &Facts) -> Vec<Value> {
    let one = |controller: &crate::inventory::model::Controller| {
        let id = of(&controller.pci_id);
        let device = facts.hardware.pci.iter().find(|device| id.is_some() && of(&device.id) == id);
        let mut known = Known::default();
        known
            .put("name", of(&controller.name))
            .put("kind", word(&controller.bus))
            .put("class", device.and_then(|device| of(&device.class)))
            .put("pci", id);
        known.finish()
    };
    facts.storage.controllers.iter().filter_map(one).collect()
}

fn device(device: &crate::inventory::model::Device) -> Option<Value> {
    // Every machine has a video adapter for its console; that it is more, somebody has to declare.
    let kind = match of(&device.kind)? {
        DeviceKind::Audio => "audio",
        DeviceKind::Usb => "usb",
        DeviceKind::Input => "usb-input",
        DeviceKind::Serial => "serial",
        DeviceKind::Parallel => "parallel",
        DeviceKind::Optical => "optical",
        DeviceKind::Tape => "scsi",
        DeviceKind::Firewire => "ieee1394",
        DeviceKind::Passthrough => "passthrough",
        DeviceKind::Dongle | DeviceKind::SmartCard => "dongle",
        DeviceKind::Modem => "modem",
        DeviceKind::Video | DeviceKind::Floppy | DeviceKind::Management | DeviceKind::Other => "other",
    };
    let mut known = Known::default();
    known.put("kind", Some(kind)).put("name", of(&device.description).or(of(&device.name))).put("pci", of(&device.id));
    known.finish()
}
