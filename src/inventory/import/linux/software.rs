//! Devices with their drivers, packages and services.

use super::{Output, pci_id};
use crate::inventory::model::{
    Application, AutoRun, Device, DeviceKind, Driver, Fact, Facts, PciDevice, Service, StartMode, text,
};

impl Output<'_> {
    pub(super) fn devices(&self, facts: &mut Facts) {
        for fields in self.fields("pci") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let class = get(5).trim_start_matches("0x").get(..4).unwrap_or_default();
            facts.hardware.pci.push(PciDevice {
                slot: text(get(0)),
                id: pci_id(get(1), get(2)),
                subsystem: pci_id(get(3), get(4)).filter(|id| id.value != "0000:0000"),
                class: text(class),
                driver: text(get(6)),
                ..PciDevice::default()
            });
            let kind = match class {
                class if class.starts_with("03") => DeviceKind::Video,
                "0401" | "0403" => DeviceKind::Audio,
                "0c00" => DeviceKind::Firewire,
                _ => continue,
            };
            let (name, id, driver) = (text(get(0)), pci_id(get(1), get(2)), text(get(6)));
            facts.hardware.devices.push(Device { name, kind: Some(Fact::of(kind)), id, driver, ..Device::default() });
        }
        for fields in self.fields("usb") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let interfaces: Vec<&str> = get(6).split_whitespace().collect();
            let hid = !interfaces.is_empty() && interfaces.iter().all(|one| one.starts_with("03,"));
            // Hubs are part of the board.
            if get(3) == "09" {
                continue;
            }
            facts.hardware.devices.push(Device {
                name: text(format!("usb {}", get(0))),
                kind: Some(Fact::of(if hid { DeviceKind::Input } else { DeviceKind::Usb })),
                description: text(format!("{} {}", get(4), get(5))),
                id: text(format!("{}:{}", get(1), get(2))),
                ..Device::default()
            });
        }
    }

    pub(super) fn software(&self, facts: &mut Facts) {
        let running: Vec<&str> =
            self.lines("running").iter().filter_map(|line| line.split_whitespace().next()).collect();
        let software = &mut facts.software;
        for line in self.lines("services") {
            let mut words = line.split_whitespace();
            let (Some(unit), Some(state)) = (words.next(), words.next()) else { continue };
            let start = match state {
                "enabled" | "enabled-runtime" => StartMode::Automatic,
                "disabled" | "masked" => StartMode::Disabled,
                _ => StartMode::Manual,
            };
            software.services.push(Service {
                name: text(unit.trim_end_matches(".service")),
                start: Some(Fact::of(start)),
                running: Some(Fact::of(running.contains(&unit))),
                ..Service::default()
            });
        }
        if software.services.is_empty() {
            let names = self.lines("init").iter().filter(|name| !matches!(**name, "README" | "functions"));
            software.services.extend(names.map(|name| Service { name: text(name), ..Service::default() }));
        }
        software.drivers.extend(self.lines("modules").iter().map(|name| Driver {
            name: text(name),
            running: Some(Fact::of(true)),
            ..Driver::default()
        }));
        let mut place = "";
        for line in self.lines("cron").iter().filter(|line| !line.trim().is_empty()) {
            match line.strip_suffix(':').filter(|folder| folder.starts_with('/')) {
                Some(folder) => place = folder,
                None => software.auto_runs.push(AutoRun { name: text(line), place: text(place), ..AutoRun::default() }),
            }
        }
        software.applications.extend(self.fields("packages").map(|fields| Application {
            name: fields.first().and_then(text),
            version: fields.get(1).and_then(text),
            ..Application::default()
        }));
    }
}
