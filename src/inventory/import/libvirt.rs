//! `virsh dumpxml`.

use roxmltree::Node;

use super::error::{ImportError, Place, shown};
use super::hardware::{mac, uuid};
use super::xml::{attribute, child, line, parse, text_of};
use crate::hardware::Firmware;
use crate::inventory::model::{Bus, Controller, Device, DeviceKind, Disk, Fact, Facts, Nic, NicKind, text};
use crate::units::ByteCount;

/// Reads a domain: its name and facts.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<(String, Facts)>, Vec<ImportError>> {
    let tree = parse(file, text).map_err(|error| vec![error])?;
    let root = tree.root_element();
    let domains: Vec<_> = match root.tag_name().name() {
        "domain" => vec![root],
        _ => root.descendants().filter(|node| node.is_element() && node.tag_name().name() == "domain").collect(),
    };
    if domains.is_empty() {
        let help = "`virsh dumpxml DOMAIN` writes one; a network, pool or snapshot is something else";
        return Err(vec![ImportError::new(file, Place::Line(1), "there is no `domain` in it", help)]);
    }
    let mut errors = Vec::new();
    let read: Vec<_> = domains.iter().filter_map(|node| Domain { file, errors: &mut errors }.read(*node)).collect();
    if errors.is_empty() { Ok(read) } else { Err(errors) }
}

struct Domain<'a> {
    file: &'a str,
    errors: &'a mut Vec<ImportError>,
}

impl Domain<'_> {
    fn flaw(&mut self, node: Node<'_, '_>, message: String, help: &str) {
        self.errors.push(ImportError::new(self.file, line(node), message, help));
    }

    fn read(&mut self, domain: Node<'_, '_>) -> Option<(String, Facts)> {
        let Some(name) = text_of(domain, "name") else {
            self.flaw(
                domain,
                "the domain has no `name`".to_owned(),
                "`virsh dumpxml` writes one: write the file again",
            );
            return None;
        };
        let mut facts = Facts::default();
        let system = &mut facts.system;
        system.memory = child(domain, "memory").and_then(|node| self.memory(node)).map(Fact::of);
        system.uuid = text_of(domain, "uuid").and_then(uuid);
        let processor = &mut system.processor;
        processor.count = child(domain, "vcpu").and_then(|node| self.number(node)).map(Fact::of);
        if let Some(topology) = child(domain, "cpu").and_then(|cpu| child(cpu, "topology")) {
            let value = |name: &str| attribute(topology, name).and_then(|text| text.parse::<u32>().ok());
            processor.sockets = Fact::maybe(value("sockets"));
            let cores = value("sockets")
                .zip(value("cores"))
                .and_then(|(sockets, cores)| sockets.checked_mul(cores)?.checked_mul(value("dies").unwrap_or(1)));
            processor.cores = Fact::maybe(cores);
        }
        let os = child(domain, "os");
        let loader = os.and_then(|os| child(os, "loader"));
        let efi = os.and_then(|os| attribute(os, "firmware")) == Some("efi")
            || loader.is_some_and(|loader| attribute(loader, "type") == Some("pflash"));
        system.firmware = os.map(|_| Fact::of(if efi { Firmware::Uefi } else { Firmware::Bios }));
        system.secure_boot = loader.and_then(|loader| attribute(loader, "secure")).map(|word| Fact::of(word == "yes"));
        facts.os.architecture = os
            .and_then(|os| child(os, "type"))
            .and_then(|kind| attribute(kind, "arch"))
            .and_then(crate::inventory::model::text);
        let virtualisation = &mut facts.virtualisation;
        virtualisation.platform = attribute(domain, "type").and_then(crate::inventory::model::text);
        virtualisation.uuid = facts.system.uuid.clone();
        virtualisation.hardware_version = os
            .and_then(|os| child(os, "type"))
            .and_then(|kind| attribute(kind, "machine"))
            .and_then(crate::inventory::model::text);
        virtualisation.encrypted = child(domain, "launchSecurity").map(|_| Fact::of(true));
        virtualisation.memory_locked =
            child(domain, "memoryBacking").and_then(|backing| child(backing, "locked")).map(|_| Fact::of(true));
        if let Some(devices) = child(domain, "devices") {
            self.devices(devices, &mut facts);
        }
        Some((name.to_owned(), facts))
    }

    fn number(&mut self, node: Node<'_, '_>) -> Option<u32> {
        let written = node.text().unwrap_or_default().trim();
        let number = written.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            let message = format!("`{}` cannot be `{}`", node.tag_name().name(), shown(written));
            self.flaw(node, message, "it is a whole number from 1");
        }
        number
    }

    fn memory(&mut self, node: Node<'_, '_>) -> Option<ByteCount> {
        let unit = attribute(node, "unit").unwrap_or("KiB");
        let factor: Option<u64> = match unit {
            "b" | "bytes" => Some(1),
            "KB" => Some(1_000),
            "k" | "KiB" => Some(1 << 10),
            "MB" => Some(1_000_000),
            "M" | "MiB" => Some(1 << 20),
            "GB" => Some(1_000_000_000),
            "G" | "GiB" => Some(1 << 30),
            "TB" => Some(1_000_000_000_000),
            "T" | "TiB" => Some(1 << 40),
            _ => None,
        };
        let written = node.text().unwrap_or_default().trim();
        let bytes = factor.zip(written.parse::<u64>().ok()).and_then(|(factor, number)| number.checked_mul(factor));
        if bytes.is_none() {
            let message = format!("memory cannot be `{} {}`", shown(written), shown(unit));
            self.flaw(node, message, "it is a whole number of `b`, `KiB`, `MiB`, `GiB` or `TiB`");
        }
        bytes.map(ByteCount)
    }

    fn devices(&mut self, devices: Node<'_, '_>, facts: &mut Facts) {
        for node in devices.children().filter(Node::is_element) {
            let device = |kind: DeviceKind, name: &str, description: Option<&str>| Device {
                name: text(name),
                kind: Some(Fact::of(kind)),
                description: description.and_then(text),
                ..Device::default()
            };
            let model = child(node, "model").and_then(|model| attribute(model, "type"));
            let list = &mut facts.hardware.devices;
            let name = |list: &[Device], word: &str| format!("{word}{}", list.len());
            match node.tag_name().name() {
                "disk" => self.disk(node, facts),
                "interface" => self.interface(node, facts),
                "controller" => facts.storage.controllers.extend(controller(node)),
                "hostdev" => {
                    let kind = attribute(node, "type").unwrap_or("device");
                    list.push(device(
                        DeviceKind::Passthrough,
                        &name(list, "hostdev"),
                        Some(&format!("{kind} of the host")),
                    ));
                }
                "redirdev" => list.push(device(DeviceKind::Usb, &name(list, "redirdev"), Some("redirected"))),
                "sound" => list.push(device(DeviceKind::Audio, &name(list, "sound"), attribute(node, "model"))),
                "video" => list.push(device(DeviceKind::Video, &name(list, "video"), model)),
                "serial" => list.push(device(DeviceKind::Serial, &name(list, "serial"), attribute(node, "type"))),
                "parallel" => list.push(device(DeviceKind::Parallel, &name(list, "parallel"), attribute(node, "type"))),
                "smartcard" => {
                    list.push(device(DeviceKind::SmartCard, &name(list, "smartcard"), attribute(node, "mode")))
                }
                "input" => list.push(device(DeviceKind::Input, &name(list, "input"), attribute(node, "type"))),
                "tpm" => facts.system.tpm = Some(Fact::of(true)),
                _ => {}
            }
        }
    }

    fn disk(&mut self, node: Node<'_, '_>, facts: &mut Facts) {
        let target = child(node, "target");
        let Some(name) = target.and_then(|target| attribute(target, "dev")) else {
            self.flaw(
                node,
                "a disk has no `target dev`".to_owned(),
                "`virsh dumpxml` writes one: write the file again",
            );
            return;
        };
        let source = child(node, "source");
        let path = source
            .and_then(|source| ["file", "dev", "name", "volume", "dir"].iter().find_map(|key| attribute(source, key)));
        let kind = match attribute(node, "device") {
            Some("cdrom") => Some(DeviceKind::Optical),
            Some("floppy") => Some(DeviceKind::Floppy),
            _ => None,
        };
        if let Some(kind) = kind {
            facts.hardware.devices.push(Device {
                name: text(name),
                kind: Some(Fact::of(kind)),
                connected: Some(Fact::of(path.is_some())),
                ..Device::default()
            });
            return;
        }
        let first = facts.storage.disks.is_empty();
        let order = child(node, "boot").and_then(|boot| attribute(boot, "order"));
        let network = attribute(node, "type") == Some("network");
        facts.storage.disks.push(Disk {
            name: text(name),
            serial: text_of(node, "serial").and_then(text),
            bus: target.and_then(|target| attribute(target, "bus")).map(|word| Fact::of(bus(word))),
            file: path.and_then(text),
            format: child(node, "driver").and_then(|driver| attribute(driver, "type")).and_then(text),
            boot: Some(Fact::of(order.map_or(first, |order| order == "1"))),
            shared: Some(Fact::of(child(node, "shareable").is_some())),
            san: network.then(|| Fact::of(true)),
            encrypted: source
                .and_then(|source| child(source, "encryption"))
                .or(child(node, "encryption"))
                .map(|_| Fact::of(true)),
            raw_device_mapping: (attribute(node, "device") == Some("lun")).then(|| Fact::of(true)),
            ..Disk::default()
        });
    }

    fn interface(&mut self, node: Node<'_, '_>, facts: &mut Facts) {
        let written = child(node, "mac").and_then(|node| attribute(node, "address"));
        let address = written.and_then(mac);
        if let (Some(written), None) = (written, &address) {
            self.flaw(node, format!("`{}` is no MAC address", shown(written)), "write it as `52:54:00:12:34:56`");
        }
        let source = child(node, "source");
        let network = source
            .and_then(|source| ["network", "bridge", "portgroup", "dev"].iter().find_map(|key| attribute(source, key)));
        let down = child(node, "link").and_then(|link| attribute(link, "state")) == Some("down");
        facts.network.nics.push(Nic {
            name: text(format!("nic{}", facts.network.nics.len())),
            mac: address,
            kind: Some(Fact::of(NicKind::Ethernet)),
            model: child(node, "model").and_then(|model| attribute(model, "type")).and_then(text),
            network: network.and_then(text),
            connected: Some(Fact::of(!down)),
            primary: Some(Fact::of(facts.network.nics.is_empty())),
            boot: child(node, "boot").map(|_| Fact::of(true)),
            ..Nic::default()
        });
    }
}

fn bus(word: &str) -> Bus {
    match word {
        "ide" => Bus::Ide,
        "sata" => Bus::Sata,
        "scsi" => Bus::Scsi,
        "virtio" => Bus::Virtio,
        "usb" => Bus::Usb,
        "nvme" => Bus::Nvme,
        "fdc" => Bus::Floppy,
        "sd" => Bus::Mmc,
        _ => Bus::Other,
    }
}

fn controller(node: Node<'_, '_>) -> Option<Controller> {
    let kind = attribute(node, "type")?;
    if !matches!(kind, "ide" | "sata" | "scsi" | "fdc" | "nvme") {
        return None;
    }
    Some(Controller {
        name: text(format!("{kind}{}", attribute(node, "index").unwrap_or("0"))),
        bus: Some(Fact::of(bus(kind))),
        model: attribute(node, "model").and_then(text),
        ..Controller::default()
    })
}
