//! VMware's `.vmx`: lines of `key = "value"`.

use std::collections::BTreeMap;

use super::error::{ImportError, Place, shown};
use super::hardware::{mac, mebibytes, uuid};
use crate::hardware::Firmware;
use crate::inventory::model::{Bus, Controller, Device, DeviceKind, Disk, DiskMode, Fact, Facts, Nic, NicKind, text};

/// Reads a virtual machine: its name and facts.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<(String, Facts)>, Vec<ImportError>> {
    let mut vmx = Vmx { file, keys: BTreeMap::new(), errors: Vec::new() };
    for (at, written) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        vmx.line(at + 1, written.trim());
    }
    let Some(name) = vmx.get("displayname").map(str::to_owned) else {
        let help = "a `.vmx` has `displayName = \"...\"`; write the file again from the hypervisor";
        vmx.errors.push(ImportError::new(file, Place::File, "it names no virtual machine", help));
        return Err(vmx.errors);
    };
    let facts = vmx.facts();
    if vmx.errors.is_empty() { Ok(vec![(name, facts)]) } else { Err(vmx.errors) }
}

struct Vmx<'a> {
    file: &'a str,
    keys: BTreeMap<String, (usize, String)>,
    errors: Vec<ImportError>,
}

impl Vmx<'_> {
    fn line(&mut self, number: usize, written: &str) {
        if written.is_empty() || written.starts_with('#') {
            return;
        }
        let parts = written.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let value = parts.and_then(|(_, value)| value.strip_prefix('"')?.strip_suffix('"'));
        match parts.zip(value) {
            Some(((key, _), value)) if !key.is_empty() => {
                self.keys.insert(key.to_ascii_lowercase(), (number, decode(value)));
            }
            _ => {
                let message = format!("`{}` is not `key = \"value\"`", shown(written));
                self.errors.push(ImportError::new(
                    self.file,
                    Place::Line(number),
                    message,
                    "correct the line, or take it out",
                ));
            }
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn flag(&self, key: &str) -> Option<bool> {
        Some(self.get(key)?.eq_ignore_ascii_case("true"))
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let (line, value) = self.keys.get(key)?.clone();
        let number = value.trim().parse().ok();
        if number.is_none() {
            let message = format!("`{key}` cannot be `{}`", shown(&value));
            self.errors.push(ImportError::new(self.file, Place::Line(line), message, "it is a whole number"));
        }
        number
    }

    fn facts(&mut self) -> Facts {
        let mut facts = Facts::default();
        facts.system.memory = self.number("memsize").and_then(mebibytes).map(Fact::of);
        // A virtual machine without the key has one processor.
        let count = if self.keys.contains_key("numvcpus") { self.number("numvcpus") } else { Some(1) };
        let count = count.and_then(|count| u32::try_from(count).ok());
        facts.system.processor.count = Fact::maybe(count);
        let per_socket = self.number("cpuid.corespersocket").and_then(|cores| u32::try_from(cores).ok());
        facts.system.processor.sockets =
            Fact::maybe(count.zip(per_socket).filter(|(_, per)| *per > 0).map(|(count, per)| count.div_ceil(per)));
        let efi = self.get("firmware").is_some_and(|word| word.eq_ignore_ascii_case("efi"));
        facts.system.firmware = Some(Fact::of(if efi { Firmware::Uefi } else { Firmware::Bios }));
        facts.system.secure_boot = Fact::maybe(self.flag("uefi.secureboot.enabled"));
        facts.system.uuid = self.get("uuid.bios").and_then(uuid);
        facts.system.tpm = Fact::maybe(self.flag("vtpm.present"));
        let encrypted = self.keys.contains_key("encryption.keysafe");
        let virtualisation = &mut facts.virtualisation;
        virtualisation.platform = text("vmware");
        virtualisation.encrypted = Some(Fact::of(encrypted));
        virtualisation.guest_type = self.get("guestos").and_then(text);
        virtualisation.hardware_version = self.get("virtualhw.version").and_then(text);
        virtualisation.uuid = self.get("uuid.location").and_then(uuid);
        self.controllers(&mut facts);
        self.disks(&mut facts);
        self.nics(&mut facts);
        self.devices(&mut facts);
        facts
    }

    /// The names before a dot that begin with `prefix`, a number and nothing else, and are present.
    fn present(&self, prefix: &str, node: bool) -> Vec<String> {
        let mut names: Vec<String> = self
            .keys
            .keys()
            .filter_map(|key| key.split_once('.').map(|(name, _)| name))
            .filter(|name| name.strip_prefix(prefix).is_some_and(|rest| is_number(rest, node)))
            .map(str::to_owned)
            .collect();
        names.dedup();
        names.retain(|name| self.flag(&format!("{name}.present")) == Some(true));
        names.sort_by_key(|name| (name.len(), name.clone()));
        names
    }

    fn controllers(&self, facts: &mut Facts) {
        for (prefix, bus) in BUSES {
            for name in self.present(prefix, false) {
                let shared = self.get(&format!("{name}.sharedbus")).map(|word| !word.eq_ignore_ascii_case("none"));
                facts.storage.controllers.push(Controller {
                    bus: Some(Fact::of(bus)),
                    model: self.get(&format!("{name}.virtualdev")).and_then(text),
                    shared_bus: Fact::maybe(shared),
                    name: text(name),
                    ..Controller::default()
                });
            }
        }
    }

    fn disks(&self, facts: &mut Facts) {
        for (prefix, bus) in BUSES {
            for name in self.present(prefix, true) {
                let value = |key: &str| self.get(&format!("{name}.{key}"));
                let kind = value("devicetype").unwrap_or("disk").to_ascii_lowercase();
                let path = value("filename");
                if kind.contains("cdrom") || path.is_some_and(|path| path.to_ascii_lowercase().ends_with(".iso")) {
                    facts.hardware.devices.push(Device {
                        kind: Some(Fact::of(DeviceKind::Optical)),
                        connected: Fact::maybe(self.flag(&format!("{name}.startconnected"))),
                        name: text(name),
                        ..Device::default()
                    });
                    continue;
                }
                let mode = value("mode").and_then(|mode| match mode.to_ascii_lowercase().as_str() {
                    "persistent" => Some(DiskMode::Persistent),
                    "independent-persistent" => Some(DiskMode::IndependentPersistent),
                    "independent-nonpersistent" => Some(DiskMode::IndependentNonpersistent),
                    _ => None,
                });
                let lower = path.unwrap_or_default().to_ascii_lowercase();
                if is_delta(&lower) && facts.virtualisation.snapshot_count.is_none() {
                    facts.virtualisation.snapshot_count = Some(Fact::of(1));
                }
                facts.storage.disks.push(Disk {
                    bus: Some(Fact::of(bus)),
                    controller: text(name.split(':').next().unwrap_or_default()),
                    file: path.and_then(text),
                    format: text("vmdk"),
                    mode: Fact::maybe(mode),
                    boot: Some(Fact::of(facts.storage.disks.is_empty())),
                    shared: value("sharing").map(|word| Fact::of(word.to_ascii_lowercase().contains("multi"))),
                    raw_device_mapping: Some(Fact::of(kind.contains("rdm") || lower.contains("-rdm"))),
                    name: text(name),
                    ..Disk::default()
                });
            }
        }
    }

    fn nics(&mut self, facts: &mut Facts) {
        for name in self.present("ethernet", false) {
            let written = ["address", "generatedaddress"].iter().find_map(|key| {
                let key = format!("{name}.{key}");
                self.keys.get(&key).filter(|(_, value)| !value.is_empty()).cloned()
            });
            let address = written.as_ref().and_then(|(_, written)| mac(written));
            if let (Some((line, written)), None) = (&written, &address) {
                let message = format!("`{}` is no MAC address", shown(written));
                self.errors.push(ImportError::new(
                    self.file,
                    Place::Line(*line),
                    message,
                    "write it as `00:50:56:ab:cd:ef`",
                ));
            }
            let value = |key: &str| self.get(&format!("{name}.{key}"));
            facts.network.nics.push(Nic {
                mac: address,
                kind: Some(Fact::of(NicKind::Ethernet)),
                model: text(value("virtualdev").unwrap_or("e1000")),
                network: value("networkname").and_then(text),
                connected: Some(Fact::of(self.flag(&format!("{name}.startconnected")) != Some(false))),
                primary: Some(Fact::of(facts.network.nics.is_empty())),
                name: text(&name),
                ..Nic::default()
            });
        }
    }

    fn devices(&self, facts: &mut Facts) {
        const KINDS: [(&str, DeviceKind); 5] = [
            ("serial", DeviceKind::Serial),
            ("parallel", DeviceKind::Parallel),
            ("floppy", DeviceKind::Floppy),
            ("pcipassthru", DeviceKind::Passthrough),
            ("usb:", DeviceKind::Usb),
        ];
        for (prefix, kind) in KINDS {
            for name in self.present(prefix, false) {
                let device = Device { name: text(name), kind: Some(Fact::of(kind)), ..Device::default() };
                facts.hardware.devices.push(device);
            }
        }
        if self.flag("sound.present") == Some(true) {
            let description = self.get("sound.virtualdev").and_then(text);
            let kind = Some(Fact::of(DeviceKind::Audio));
            facts.hardware.devices.push(Device { name: text("sound"), kind, description, ..Device::default() });
        }
    }
}

const BUSES: [(&str, Bus); 4] = [("ide", Bus::Ide), ("scsi", Bus::Scsi), ("sata", Bus::Sata), ("nvme", Bus::Nvme)];

fn is_number(text: &str, node: bool) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match node {
        true => text.split_once(':').is_some_and(|(bus, unit)| digits(bus) && digits(unit)),
        false => digits(text),
    }
}

/// Whether the file of a disk holds what was written since a snapshot: `name-000001.vmdk`.
fn is_delta(path: &str) -> bool {
    let Some(stem) = path.strip_suffix(".vmdk") else { return false };
    stem.rsplit_once('-').is_some_and(|(_, digits)| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// `|22` stands for a quotation mark.
fn decode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('|') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii);
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 3..];
            }
            None => {
                out.push('|');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}
