//! RVTools: one workbook, or one file of separated values per tab.

use std::collections::HashMap;

use super::error::{ImportError, Place, shown};
use super::hardware::{mac, mebibytes, uuid};
use super::table::{Row, Table};
use crate::hardware::Firmware;
use crate::inventory::model::{
    Bus, Controller, Device, DeviceKind, Disk, DiskMode, Fact, Facts, Nic, NicKind, PowerState, Snapshot, Volume, text,
};
use crate::units::{ByteCount, Frequency};

/// One virtual machine of the workbook.
pub(super) struct Found {
    /// Its name, unique in the workbook.
    pub name: String,
    /// Its facts.
    pub facts: Facts,
    /// Where its row of `vInfo` is.
    pub source: String,
}

/// The name of a tab, whatever its file is called: `RVTools_tabvInfo.csv` has `vInfo`.
pub(super) fn tab(name: &str) -> Option<&'static str> {
    const TABS: [&str; 12] = [
        "vInfo",
        "vDisk",
        "vNetwork",
        "vCPU",
        "vMemory",
        "vSnapshot",
        "vTools",
        "vPartition",
        "vCD",
        "vUSB",
        "vFloppy",
        "vMetaData",
    ];
    let lower = name.to_lowercase();
    let lower = lower.trim_end_matches(".csv");
    TABS.into_iter().find(|tab| lower.ends_with(&tab.to_lowercase()))
}

/// Joins the tabs into machines.
pub(super) fn read(file: &str, tables: &[Table]) -> Result<Vec<Found>, Vec<ImportError>> {
    let of = |wanted: &str| tables.iter().filter(move |table| tab(&table.sheet) == Some(wanted)).collect::<Vec<_>>();
    let info = of("vInfo");
    if info.is_empty() {
        let names: Vec<&str> = tables.iter().map(|table| table.sheet.as_str()).collect();
        let message = format!("there is no sheet `vInfo` among {}", shown(&names.join(", ")));
        let help = "export everything from RVTools, or name the file of the `vInfo` tab together with the others";
        return Err(vec![ImportError::new(file, Place::File, message, help)]);
    }
    let mut errors = Vec::new();
    for table in tables.iter().filter(|table| tab(&table.sheet).is_some_and(|tab| tab != "vMetaData")) {
        if !table.has("VM") {
            let header: Vec<&str> = table.header.iter().take(8).map(String::as_str).collect();
            let message = format!("it has no column `VM`; it begins with {}", shown(&header.join(", ")));
            let place = Place::Sheet(table.sheet.clone());
            errors.push(ImportError::new(&table.file, place, message, "the first row holds the names of the columns"));
        }
    }
    let mut book = Book { machines: Vec::new(), by_name: HashMap::new(), by_id: HashMap::new(), errors };
    for table in info {
        table.rows().for_each(|row| book.info(row));
    }
    type Reader = fn(&mut Book, usize, Row<'_>);
    let readers: [(&str, Reader); 9] = [
        ("vCPU", Book::cpu),
        ("vMemory", Book::memory),
        ("vDisk", Book::disk),
        ("vNetwork", Book::nic),
        ("vSnapshot", Book::snapshot),
        ("vTools", Book::tools),
        ("vPartition", Book::partition),
        ("vCD", |book, at, row| book.device(at, row, DeviceKind::Optical)),
        ("vUSB", |book, at, row| book.device(at, row, DeviceKind::Usb)),
    ];
    for (name, reader) in readers {
        for table in of(name) {
            for row in table.rows() {
                if let Some(at) = book.find(row) {
                    reader(&mut book, at, row);
                }
            }
        }
    }
    match book.errors.is_empty() {
        true => Ok(book.machines),
        false => Err(book.errors),
    }
}

struct Book {
    machines: Vec<Found>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<String, usize>,
    errors: Vec<ImportError>,
}

const ID: &[&str] = &["VM UUID", "VM ID"];

impl Book {
    fn info(&mut self, row: Row<'_>) {
        let Some(name) = row.text(&["VM"]) else {
            self.errors.push(row.flaw("VM", "the row names no virtual machine".to_owned(), "take the row out"));
            return;
        };
        let name = self.unique(name);
        let mut facts = Facts::default();
        let errors = &mut self.errors;
        let virtualisation = &mut facts.virtualisation;
        virtualisation.platform = text("vmware");
        virtualisation.uuid = row.text(&["VM UUID"]).and_then(uuid);
        virtualisation.host = row.text(&["Host"]).and_then(text);
        virtualisation.cluster = row.text(&["Cluster"]).and_then(text);
        virtualisation.datacenter = row.text(&["Datacenter"]).and_then(text);
        virtualisation.folder = row.text(&["Path"]).and_then(text);
        virtualisation.hardware_version = row.text(&["HW version"]).and_then(text);
        virtualisation.guest_type = row.text(&["OS according to the configuration file", "OS"]).and_then(text);
        virtualisation.template = Fact::maybe(row.flag(&["Template"], errors));
        virtualisation.power = row.text(&["Powerstate"]).and_then(|word| match word.to_lowercase().as_str() {
            "poweredon" => Some(Fact::of(PowerState::On)),
            "poweredoff" => Some(Fact::of(PowerState::Off)),
            "suspended" => Some(Fact::of(PowerState::Suspended)),
            _ => None,
        });
        // Snapshots have a tab of their own; none there means that there is none.
        facts.os.name =
            row.text(&["OS according to the VMware Tools", "OS according to the configuration file"]).and_then(text);
        facts.os.host_name = row.text(&["DNS Name"]).and_then(text);
        let system = &mut facts.system;
        system.memory = Fact::maybe(row.whole(&["Memory"], errors).and_then(mebibytes));
        system.processor.count = Fact::maybe(row.whole(&["CPUs"], errors).and_then(|count| u32::try_from(count).ok()));
        system.uuid = row.text(&["SMBIOS UUID"]).and_then(uuid);
        system.firmware = row
            .text(&["Firmware"])
            .map(|word| Fact::of(if word.eq_ignore_ascii_case("efi") { Firmware::Uefi } else { Firmware::Bios }));
        system.secure_boot = Fact::maybe(row.flag(&["EFI Secure boot"], errors));
        let at = self.machines.len();
        let source = format!("vInfo, row {}", row.number);
        self.by_name.entry(row.text(&["VM"]).unwrap_or_default().to_owned()).or_insert(at);
        if let Some(id) = row.text(ID) {
            self.by_id.insert(id.to_owned(), at);
        }
        self.machines.push(Found { name, facts, source });
    }

    /// Virtual machines of several data centres may have one name.
    fn unique(&self, name: &str) -> String {
        let taken = |wanted: &str| self.machines.iter().any(|machine| machine.name == wanted);
        if !self.by_name.contains_key(name) {
            return name.to_owned();
        }
        (2..).map(|number| format!("{name}-{number}")).find(|wanted| !taken(wanted)).unwrap_or_else(|| name.to_owned())
    }

    fn find(&mut self, row: Row<'_>) -> Option<usize> {
        if let Some(at) = row.text(ID).and_then(|id| self.by_id.get(id)) {
            return Some(*at);
        }
        let name = row.text(&["VM"])?;
        let known = self.by_name.get(name).copied();
        if known.is_none() {
            let message = format!("`{}` is not in `vInfo`", shown(name));
            self.errors.push(row.flaw("VM", message, "export all tabs at the same time, or take the row out"));
        }
        known
    }

    fn cpu(&mut self, at: usize, row: Row<'_>) {
        let count = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let processor = &mut self.machines[at].facts.system.processor;
        let sockets = count(row.whole(&["Sockets"], &mut self.errors));
        let per_socket = count(row.whole(&["Cores p/s"], &mut self.errors));
        processor.sockets = Fact::maybe(sockets);
        processor.cores = Fact::maybe(sockets.zip(per_socket).and_then(|(sockets, cores)| sockets.checked_mul(cores)));
        if let Some(number) = count(row.whole(&["CPUs"], &mut self.errors)) {
            processor.count = Some(Fact::of(number));
        }
        // `Max` is what all processors together may use, in MHz.
        let most = row.whole(&["Max"], &mut self.errors);
        let clock = most.zip(processor.count.as_ref()).filter(|(_, count)| count.value > 0);
        processor.frequency = Fact::maybe(
            clock.map(|(most, count)| Frequency::megahertz(most / u64::from(count.value))).filter(|f| f.0 > 0),
        );
    }

    fn memory(&mut self, at: usize, row: Row<'_>) {
        let size = row.whole(&["Size MiB"], &mut self.errors).and_then(mebibytes);
        let locked = row.flag(&["Memory Reservation Locked To Max"], &mut self.errors);
        let facts = &mut self.machines[at].facts;
        facts.system.memory = Fact::maybe(size).or(facts.system.memory.take());
        facts.virtualisation.memory_locked = Fact::maybe(locked);
    }

    fn disk(&mut self, at: usize, row: Row<'_>) {
        let errors = &mut self.errors;
        let size = row.whole(&["Capacity MiB"], errors).and_then(mebibytes);
        let raw = row.flag(&["Raw"], errors);
        let thin = row.flag(&["Thin"], errors);
        let controller = row.text(&["Controller"]).unwrap_or_default();
        let shared_bus = row.text(&["Shared Bus"]).map(|word| !word.to_lowercase().contains("nosharing"));
        let sharing = row.text(&["Sharing mode"]).map(|word| word.to_lowercase().contains("multiwriter"));
        let mode = row.text(&["Disk Mode"]).and_then(|word| match word.to_lowercase().as_str() {
            "persistent" => Some(DiskMode::Persistent),
            "independent_persistent" => Some(DiskMode::IndependentPersistent),
            "independent_nonpersistent" => Some(DiskMode::IndependentNonpersistent),
            _ => None,
        });
        let bus = bus(controller);
        let storage = &mut self.machines[at].facts.storage;
        if !controller.is_empty()
            && !storage.controllers.iter().any(|known| known.name.as_ref().is_some_and(|name| name.value == controller))
        {
            storage.controllers.push(Controller {
                name: text(controller),
                bus: Fact::maybe(bus),
                shared_bus: Fact::maybe(shared_bus),
                ..Controller::default()
            });
        }
        let shared = sharing.or(shared_bus).map(|one| one || shared_bus == Some(true));
        storage.disks.push(Disk {
            name: text(
                row.text(&["Disk", "Label"]).map_or_else(|| format!("disk{}", storage.disks.len()), str::to_owned),
            ),
            serial: row.text(&["Disk UUID"]).and_then(uuid),
            bus: Fact::maybe(bus),
            controller: text(controller),
            size: Fact::maybe(size),
            thin: Fact::maybe(thin),
            mode: Fact::maybe(mode),
            shared: Fact::maybe(shared),
            raw_device_mapping: Fact::maybe(raw),
            file: row.text(&["Path", "Disk Path"]).and_then(text),
            format: text("vmdk"),
            boot: Some(Fact::of(storage.disks.is_empty())),
            ..Disk::default()
        });
    }

    fn nic(&mut self, at: usize, row: Row<'_>) {
        let written = row.text(&["Mac Address"]);
        let address = written.and_then(mac);
        if let (Some(written), None) = (written, &address) {
            let message = format!("`{}` is no MAC address", shown(written));
            self.errors.push(row.flaw("Mac Address", message, "write it as `00:50:56:ab:cd:ef`"));
        }
        let connected = row.flag(&["Connected"], &mut self.errors);
        let passthrough = row.flag(&["Direct Path IO"], &mut self.errors);
        let addresses = ["IPv4 Address", "IP Address", "IPv6 Address"]
            .iter()
            .filter_map(|column| row.text(&[column]))
            .flat_map(|cell| cell.split([',', ';', ' ']))
            .filter_map(text)
            .collect();
        let facts = &mut self.machines[at].facts;
        let nics = &mut facts.network.nics;
        let name = row.text(&["NIC label"]).map_or_else(|| format!("nic{}", nics.len()), str::to_owned);
        if passthrough == Some(true) {
            let kind = Some(Fact::of(DeviceKind::Passthrough));
            let description = text("direct path I/O");
            facts.hardware.devices.push(Device { name: text(&name), kind, description, ..Device::default() });
        }
        nics.push(Nic {
            name: text(name),
            mac: address,
            kind: Some(Fact::of(NicKind::Ethernet)),
            model: row.text(&["Adapter"]).and_then(text),
            network: row.text(&["Network"]).and_then(text),
            connected: Fact::maybe(connected),
            primary: Some(Fact::of(nics.is_empty())),
            addresses,
            ..Nic::default()
        });
    }

    fn snapshot(&mut self, at: usize, row: Row<'_>) {
        let virtualisation = &mut self.machines[at].facts.virtualisation;
        virtualisation.snapshots.push(Snapshot { name: row.text(&["Name"]).and_then(text), ..Snapshot::default() });
        virtualisation.snapshot_count =
            Some(Fact::of(u32::try_from(virtualisation.snapshots.len()).unwrap_or(u32::MAX)));
    }

    fn tools(&mut self, at: usize, row: Row<'_>) {
        self.machines[at].facts.virtualisation.tools = row.text(&["Tools"]).and_then(text);
    }

    fn partition(&mut self, at: usize, row: Row<'_>) {
        let size = row.whole(&["Capacity MiB"], &mut self.errors).and_then(mebibytes);
        let used = row.whole(&["Consumed MiB"], &mut self.errors).and_then(mebibytes);
        let used: Option<ByteCount> = used;
        self.machines[at].facts.storage.volumes.push(Volume {
            name: row.text(&["Disk"]).and_then(text),
            mounted_at: row.text(&["Disk"]).and_then(text),
            size: Fact::maybe(size),
            used: Fact::maybe(used),
            ..Volume::default()
        });
    }

    fn device(&mut self, at: usize, row: Row<'_>, kind: DeviceKind) {
        let connected = row.flag(&["Connected"], &mut self.errors);
        self.machines[at].facts.hardware.devices.push(Device {
            name: row.text(&["Device Node", "Label"]).and_then(text),
            kind: Some(Fact::of(kind)),
            description: row.text(&["Device Type"]).and_then(text),
            connected: Fact::maybe(connected),
            ..Device::default()
        });
    }
}

fn bus(controller: &str) -> Option<Bus> {
    let lower = controller.to_lowercase();
    [
        ("scsi", Bus::Scsi),
        ("sata", Bus::Sata),
        ("ahci", Bus::Sata),
        ("nvme", Bus::Nvme),
        ("ide", Bus::Ide),
        ("usb", Bus::Usb),
    ]
    .into_iter()
    .find(|(word, _)| lower.contains(word))
    .map(|(_, bus)| bus)
}

/// What the workbook says of itself: when it was made.
pub(super) fn made(tables: &[Table]) -> Option<jiff::Timestamp> {
    let meta = tables.iter().find(|table| tab(&table.sheet) == Some("vMetaData"))?;
    let written = meta.rows().next()?.text(&["xlsx creation datetime", "creation datetime"])?.replace('/', "-");
    let civil: jiff::civil::DateTime = written.replacen(' ', "T", 1).parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
