//! What the agent saw of its machine, as the controller keeps it: `replant device show NAME --json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use super::error::{ImportError, Place, shown};
use super::hardware::{mac, uuid};
use crate::hardware::Firmware;
use crate::inventory::model::{Disk, Fact, Facts, Nic, NicKind, text};
use crate::units::ByteCount;

/// The record, as far as it matters here.
#[derive(Deserialize)]
struct Device {
    id: String,
    name: Option<String>,
    #[serde(default)]
    macs: Vec<String>,
    inventory: BTreeMap<String, String>,
    last_seen: Option<i64>,
}

/// Reads a record: name, facts, when the agent was heard of.
pub(super) fn read(file: &str, text: &str) -> Result<(String, Facts, Option<Timestamp>), Vec<ImportError>> {
    let help = "it is the output of `replant device show NAME --json`, kept whole";
    let device: Device = serde_json::from_str(text).map_err(|error| {
        let message = format!("it is no record of a device: {error}");
        vec![ImportError::new(file, Place::Line(error.line().max(1)), message, help)]
    })?;
    if device.inventory.is_empty() {
        let message = "no agent has reported what is in this machine yet";
        let help = "boot it into the agent once: `replant device boot NAME agent`, or a boot medium";
        return Err(vec![ImportError::new(file, Place::Path("inventory".to_owned()), message, help)]);
    }
    let mut errors = Vec::new();
    let facts = facts(&device, file, &mut errors);
    match errors.is_empty() {
        true => {
            let when = device.last_seen.and_then(|at| Timestamp::from_millisecond(at).ok());
            Ok((device.name.unwrap_or(device.id), facts, when))
        }
        false => Err(errors),
    }
}

fn facts(device: &Device, file: &str, errors: &mut Vec<ImportError>) -> Facts {
    let seen = &device.inventory;
    let mut facts = Facts::default();
    let known = |name: &str| seen.get(name).filter(|value| !value.is_empty());
    let system = &mut facts.system;
    system.firmware = match known("firmware").map(String::as_str) {
        Some("uefi") => Some(Fact::of(Firmware::Uefi)),
        Some("bios") => Some(Fact::of(Firmware::Bios)),
        _ => None,
    };
    system.manufacturer = known("smbios.sys_vendor").and_then(text);
    system.model = known("smbios.product_name").and_then(text);
    system.serial = known("smbios.product_serial").and_then(text);
    system.uuid = known("smbios.product_uuid").and_then(|written| uuid(written));
    for (name, value) in seen {
        let mut flaw = |form: &str| {
            let message = format!("`{}` is {form}", shown(value));
            let help = "have the agent report again: start it once more";
            errors.push(ImportError::new(file, Place::Path(format!("inventory.{name}")), message, help));
        };
        if let Some(nic) = name.strip_prefix("nic.").and_then(|rest| rest.strip_suffix(".mac")) {
            match mac(value) {
                Some(mac) => facts.network.nics.push(Nic {
                    name: text(nic),
                    mac: Some(mac),
                    kind: Some(Fact::of(NicKind::Ethernet)),
                    ..Nic::default()
                }),
                None => flaw("no MAC address"),
            }
        }
        if let Some(disk) = name.strip_prefix("disk.").and_then(|rest| rest.strip_suffix(".bytes")) {
            match value.parse() {
                Ok(bytes) => facts.storage.disks.push(Disk {
                    name: text(disk),
                    size: Some(Fact::of(ByteCount(bytes))),
                    serial: known(&format!("disk.{disk}.serial")).and_then(text),
                    ..Disk::default()
                }),
                Err(_) => flaw("no number of bytes"),
            }
        }
    }
    if facts.network.nics.is_empty() {
        let nic = |written: &String| Some(Nic { mac: Some(mac(written)?), ..Nic::default() });
        facts.network.nics = device.macs.iter().filter_map(nic).collect();
    }
    facts
}
