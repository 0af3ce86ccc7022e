//! OVF descriptors, of one virtual machine or of several.

use std::collections::HashMap;

use roxmltree::Node;

use super::error::{ImportError, Place, shown};
use super::hardware::mac;
use super::xml::{attribute, child, children, line, parse, text_of};
use crate::hardware::Firmware;
use crate::inventory::model::{Bus, Controller, Device, DeviceKind, Disk, Fact, Facts, Nic, NicKind, text};
use crate::units::ByteCount;

/// Reads the virtual machines of a descriptor: their names and facts.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<(String, Facts)>, Vec<ImportError>> {
    let tree = parse(file, text).map_err(|error| vec![error])?;
    let root = tree.root_element();
    let mut ovf = Ovf { file, root, errors: Vec::new(), disks: HashMap::new() };
    ovf.sections();
    let systems: Vec<_> =
        root.descendants().filter(|node| node.is_element() && node.tag_name().name() == "VirtualSystem").collect();
    if systems.is_empty() {
        let help = "an OVF descriptor's `Envelope` holds a `VirtualSystem`; export the machine again";
        return Err(vec![ImportError::new(file, Place::Line(1), "there is no `VirtualSystem` in it", help)]);
    }
    let read: Vec<_> = systems.into_iter().filter_map(|system| ovf.system(system)).collect();
    if ovf.errors.is_empty() { Ok(read) } else { Err(ovf.errors) }
}

struct Ovf<'a, 'i> {
    file: &'a str,
    root: Node<'a, 'i>,
    errors: Vec<ImportError>,
    disks: HashMap<String, Disk>,
}

impl<'a, 'i> Ovf<'a, 'i> {
    fn flaw(&mut self, node: Node<'_, '_>, message: String, help: &str) {
        self.errors.push(ImportError::new(self.file, line(node), message, help));
    }

    /// The disks that the descriptor declares, by their id.
    fn sections(&mut self) {
        let files: HashMap<&str, Node<'_, '_>> = child(self.root, "References")
            .into_iter()
            .flat_map(|references| children(references, "File"))
            .filter_map(|file| Some((attribute(file, "id")?, file)))
            .collect();
        let section = child(self.root, "DiskSection");
        let disks: Vec<_> = section.into_iter().flat_map(|section| children(section, "Disk")).collect();
        for disk in disks {
            let Some(id) = attribute(disk, "diskId") else {
                self.flaw(disk, "a disk has no `diskId`".to_owned(), "export the machine again");
                continue;
            };
            let unit = attribute(disk, "capacityAllocationUnits").unwrap_or("byte");
            let capacity = attribute(disk, "capacity").unwrap_or_default();
            let size =
                capacity.parse::<u64>().ok().zip(units(unit)).and_then(|(number, unit)| number.checked_mul(unit));
            if size.is_none() {
                let message =
                    format!("the capacity of disk `{}` cannot be `{} {}`", shown(id), shown(capacity), shown(unit));
                self.flaw(disk, message, "it is a whole number of `byte * 2^30` or another power of two");
            }
            let reference = attribute(disk, "fileRef").and_then(|id| files.get(id));
            let allocated = attribute(disk, "populatedSize")
                .or_else(|| reference.and_then(|file| attribute(*file, "size")))
                .and_then(|bytes| bytes.parse().ok());
            self.disks.insert(
                id.to_owned(),
                Disk {
                    size: Fact::maybe(size.map(ByteCount)),
                    allocated: Fact::maybe(allocated.map(ByteCount)),
                    file: reference.and_then(|file| attribute(*file, "href")).and_then(text),
                    format: attribute(disk, "format").map(|format| match format.contains("vmdk") {
                        true => Fact::of("vmdk".to_owned()),
                        false => Fact::of(format.rsplit('/').next().unwrap_or(format).to_owned()),
                    }),
                    ..Disk::default()
                },
            );
        }
    }

    fn system(&mut self, system: Node<'a, 'i>) -> Option<(String, Facts)> {
        let name = text_of(system, "Name").or_else(|| attribute(system, "id"))?.to_owned();
        let mut facts = Facts::default();
        facts.virtualisation.platform = text("ovf");
        if let Some(section) = child(system, "OperatingSystemSection") {
            facts.virtualisation.guest_type = attribute(section, "osType").and_then(text);
            facts.os.name = text_of(section, "Description").and_then(text);
        }
        let Some(hardware) = child(system, "VirtualHardwareSection") else {
            self.flaw(
                system,
                format!("`{}` has no `VirtualHardwareSection`", shown(&name)),
                "export the machine again",
            );
            return None;
        };
        facts.virtualisation.hardware_version =
            child(hardware, "System").and_then(|system| text_of(system, "VirtualSystemType")).and_then(text);
        for config in children(hardware, "Config") {
            let value = attribute(config, "value").unwrap_or_default();
            match attribute(config, "key") {
                Some("firmware") => {
                    let efi = value.eq_ignore_ascii_case("efi");
                    facts.system.firmware = Some(Fact::of(if efi { Firmware::Uefi } else { Firmware::Bios }));
                }
                Some("bootOptions.efiSecureBootEnabled") => facts.system.secure_boot = Some(Fact::of(value == "true")),
                _ => {}
            }
        }
        let items: Vec<_> = hardware
            .children()
            .filter(|item| {
                item.is_element() && matches!(item.tag_name().name(), "Item" | "StorageItem" | "EthernetPortItem")
            })
            .collect();
        let mut controllers: HashMap<String, (String, Bus)> = HashMap::new();
        for item in &items {
            self.controller(*item, &mut controllers, &mut facts);
        }
        for item in items {
            self.item(item, &controllers, &mut facts);
        }
        // Nothing in a descriptor says which of several disks boots.
        if let [only] = facts.storage.disks.as_mut_slice() {
            only.boot = Some(Fact::of(true));
        }
        Some((name, facts))
    }

    fn controller(&mut self, item: Node<'_, '_>, known: &mut HashMap<String, (String, Bus)>, facts: &mut Facts) {
        let sub = text_of(item, "ResourceSubType").unwrap_or_default();
        let bus = match text_of(item, "ResourceType") {
            Some("5") => Bus::Ide,
            Some("6") => Bus::Scsi,
            Some("20") if sub.to_ascii_lowercase().contains("nvme") => Bus::Nvme,
            Some("20") => Bus::Sata,
            _ => return,
        };
        let id = text_of(item, "InstanceID").unwrap_or_default();
        let name = text_of(item, "ElementName").unwrap_or(id).to_owned();
        facts.storage.controllers.push(Controller {
            name: text(&name),
            bus: Some(Fact::of(bus)),
            model: text(sub),
            ..Controller::default()
        });
        known.insert(id.to_owned(), (name, bus));
    }

    fn quantity(&mut self, item: Node<'_, '_>) -> Option<u64> {
        let written = text_of(item, "VirtualQuantity").unwrap_or_default();
        let number = written.parse().ok();
        if number.is_none() {
            let message = format!("`VirtualQuantity` cannot be `{}`", shown(written));
            self.flaw(item, message, "it is a whole number");
        }
        number
    }

    fn item(&mut self, item: Node<'_, '_>, controllers: &HashMap<String, (String, Bus)>, facts: &mut Facts) {
        let name = text_of(item, "ElementName").unwrap_or_default();
        let device = |kind: DeviceKind| Device { name: text(name), kind: Some(Fact::of(kind)), ..Device::default() };
        match text_of(item, "ResourceType").unwrap_or_default() {
            "3" => {
                let count = self.quantity(item).and_then(|count| u32::try_from(count).ok());
                facts.system.processor.count = Fact::maybe(count);
                let per_socket = text_of(item, "CoresPerSocket").and_then(|cores| cores.parse::<u32>().ok());
                let sockets = count.zip(per_socket).filter(|(_, per)| *per > 0).map(|(count, per)| count.div_ceil(per));
                facts.system.processor.sockets = Fact::maybe(sockets);
            }
            "4" => {
                let unit = text_of(item, "AllocationUnits").unwrap_or("byte * 2^20");
                let bytes = self.quantity(item).and_then(|number| number.checked_mul(units(unit)?));
                if bytes.is_none() {
                    self.flaw(item, format!("memory cannot be counted in `{}`", shown(unit)), "write `byte * 2^20`");
                }
                facts.system.memory = Fact::maybe(bytes.map(ByteCount));
            }
            "10" => self.nic(item, facts),
            "17" => self.disk(item, controllers, facts),
            "14" => facts.hardware.devices.push(device(DeviceKind::Floppy)),
            "15" | "16" => facts.hardware.devices.push(device(DeviceKind::Optical)),
            "21" => facts.hardware.devices.push(device(DeviceKind::Serial)),
            "22" => facts.hardware.devices.push(device(DeviceKind::Parallel)),
            "24" => facts.hardware.devices.push(device(DeviceKind::Video)),
            "35" => facts.hardware.devices.push(device(DeviceKind::Audio)),
            "1" if text_of(item, "ResourceSubType").is_some_and(|sub| sub.contains("soundcard")) => {
                facts.hardware.devices.push(device(DeviceKind::Audio));
            }
            _ => {}
        }
    }

    fn nic(&mut self, item: Node<'_, '_>, facts: &mut Facts) {
        let written = text_of(item, "Address");
        let address = written.and_then(mac);
        if let (Some(written), None) = (written, &address) {
            self.flaw(item, format!("`{}` is no MAC address", shown(written)), "write it as `00:50:56:ab:cd:ef`");
        }
        facts.network.nics.push(Nic {
            name: text_of(item, "ElementName").and_then(text),
            mac: address,
            kind: Some(Fact::of(NicKind::Ethernet)),
            model: text_of(item, "ResourceSubType").and_then(text),
            network: text_of(item, "Connection").and_then(text),
            connected: text_of(item, "AutomaticAllocation").map(|word| Fact::of(word == "true")),
            primary: Some(Fact::of(facts.network.nics.is_empty())),
            ..Nic::default()
        });
    }

    fn disk(&mut self, item: Node<'_, '_>, controllers: &HashMap<String, (String, Bus)>, facts: &mut Facts) {
        let resource = text_of(item, "HostResource").unwrap_or_default();
        let id = resource.rsplit('/').next().unwrap_or_default();
        let Some(known) = self.disks.get(id).cloned() else {
            let message = format!("no disk of the descriptor is `{}`", shown(resource));
            self.flaw(item, message, "`HostResource` names a `diskId` of the `DiskSection`: `ovf:/disk/vmdisk1`");
            return;
        };
        let controller = text_of(item, "Parent").and_then(|parent| controllers.get(parent));
        facts.storage.disks.push(Disk {
            name: text(text_of(item, "ElementName").unwrap_or(id)),
            bus: controller.map(|(_, bus)| Fact::of(*bus)),
            controller: controller.and_then(|(name, _)| text(name)),
            ..known
        });
    }
}

/// `byte * 2^20`, `byte*1024^3`, `MegaBytes`: bytes in one such unit.
fn units(written: &str) -> Option<u64> {
    let compact: String = written.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    match compact.as_str() {
        "byte" | "bytes" | "" => return Some(1),
        "kilobytes" | "kb" => return Some(1 << 10),
        "megabytes" | "mb" => return Some(1 << 20),
        "gigabytes" | "gb" => return Some(1 << 30),
        _ => {}
    }
    compact.strip_prefix("byte*")?.split('*').try_fold(1_u64, |product, factor| {
        let (base, power) = factor.split_once('^').unwrap_or((factor, "1"));
        product.checked_mul(base.parse::<u64>().ok()?.checked_pow(power.parse().ok()?)?)
    })
}

#[cfg(test)]
mod tests {
    use super::units;

    #[test]
    fn units_are_products_of_powers() {
        assert_eq!(units("byte * 2^20"), Some(1 << 20));
        assert_eq!(units("byte*1024^3"), Some(1 << 30));
        assert_eq!(units("MegaBytes"), Some(1 << 20));
        assert_eq!(units("byte * 2^2^2"), None);
        assert_eq!(units("byte * 2^999"), None);
        assert_eq!(units("hertz * 10^6"), None);
    }
}
