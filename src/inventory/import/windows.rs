//! What the script for Windows prints: CIM classes as JSON.

use jiff::Timestamp;
use serde_json::Value;

use super::error::{ImportError, Place};
use super::hardware::{mac, program, uuid};
use crate::hardware::Firmware;
use crate::inventory::model::{
    Addressing, Application, AutoRun, Bus, CaptureMethod, Controller, Device, DeviceKind, Disk, Driver, Fact, Facts,
    Nic, NicKind, OsFamily, Partition, PartitionTable, PciDevice, Service, StartMode, SystemFile, Update, Volume,
    VolumeKind, text,
};
use crate::units::{ByteCount, ByteRate, Frequency};

/// Reads the output: name, facts, time.
pub(super) fn read(file: &str, output: &str) -> Result<(String, Facts, Option<Timestamp>), Vec<ImportError>> {
    let help = "it is the output of `replant inventory script windows`, run on the machine and kept whole";
    let root: Value = serde_json::from_str(output).map_err(|error| {
        vec![ImportError::new(file, Place::Line(error.line()), format!("it is not JSON: {error}"), help)]
    })?;
    let refuse = |path: &str, message: &str| vec![ImportError::new(file, Place::Path(path.to_owned()), message, help)];
    if root["format"] != "replant-windows-inventory" || root["version"] != 1 {
        return Err(refuse("format", "it is not `replant-windows-inventory` version 1"));
    }
    let Some(name) = string(first(&root, "system"), "Name") else {
        return Err(refuse("system.Name", "the machine has no name"));
    };
    let when = root["time"].as_str().and_then(|time| time.parse().ok());
    Ok((name.to_ascii_lowercase(), facts(&root), when))
}

/// The rows of a class; a single row may stand without its list.
fn rows<'a>(root: &'a Value, class: &str) -> impl Iterator<Item = &'a Value> {
    let (list, one) = match &root[class] {
        Value::Array(list) => (list.as_slice(), None),
        Value::Object(_) => (&[] as &[Value], Some(&root[class])),
        _ => (&[] as &[Value], None),
    };
    list.iter().chain(one)
}

fn first<'a>(root: &'a Value, class: &str) -> &'a Value {
    rows(root, class).next().unwrap_or(&Value::Null)
}

fn string(row: &Value, key: &str) -> Option<String> {
    match &row[key] {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn words(row: &Value, key: &str) -> Option<Fact<String>> {
    string(row, key).and_then(text)
}

/// A number; large ones may be written as texts.
fn number(row: &Value, key: &str) -> Option<u64> {
    row[key].as_u64().or_else(|| row[key].as_str()?.trim().parse().ok())
}

fn small(row: &Value, key: &str) -> Option<Fact<u32>> {
    number(row, key).and_then(|number| u32::try_from(number).ok()).map(Fact::of)
}

fn bytes(row: &Value, key: &str) -> Option<Fact<ByteCount>> {
    number(row, key).map(|number| Fact::of(ByteCount(number)))
}

fn flag(row: &Value, key: &str) -> Option<Fact<bool>> {
    row[key].as_bool().map(Fact::of)
}

fn list(row: &Value, key: &str) -> Vec<String> {
    match &row[key] {
        Value::Array(list) => list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        Value::String(one) => vec![one.clone()],
        _ => Vec::new(),
    }
}

fn facts(root: &Value) -> Facts {
    let mut facts = Facts::default();
    os(root, &mut facts);
    system(root, &mut facts);
    storage(root, &mut facts);
    network(root, &mut facts);
    devices(root, &mut facts);
    software(root, &mut facts);
    facts
}

fn os(root: &Value, facts: &mut Facts) {
    let (row, computer) = (first(root, "os"), first(root, "system"));
    let os = &mut facts.os;
    os.family = Some(Fact::of(OsFamily::Windows));
    os.id = text("windows");
    os.name = words(row, "Caption");
    os.version = words(row, "Version");
    os.build = words(row, "BuildNumber");
    os.architecture = words(row, "OSArchitecture");
    os.service_level =
        number(row, "ServicePackMajorVersion").filter(|pack| *pack > 0).and_then(|pack| text(format!("SP{pack}")));
    os.language = list(row, "MUILanguages").first().and_then(text);
    os.installed = string(row, "InstallDate").and_then(|time| time.parse().ok()).map(Fact::of);
    os.started = string(row, "LastBootUpTime").and_then(|time| time.parse().ok()).map(Fact::of);
    os.edition = words(root, "edition");
    os.hal = words(root, "hal");
    os.fast_startup = flag(root, "fastStartup");
    os.restart_pending = flag(root, "restartPending");
    os.time_zone = words(first(root, "timeZone"), "StandardName");
    os.host_name = words(computer, "Name");
    os.domain = words(computer, "Domain");
    if matches!(number(computer, "DomainRole"), Some(4 | 5)) {
        os.roles.push(Fact::of("domain-controller".to_owned()));
    }
    let clustered =
        rows(root, "services").any(|row| string(row, "Name").is_some_and(|name| name.eq_ignore_ascii_case("ClusSvc")));
    if clustered {
        os.roles.push(Fact::of("cluster-node".to_owned()));
    }
}

fn system(root: &Value, facts: &mut Facts) {
    let computer = first(root, "system");
    let system = &mut facts.system;
    system.manufacturer = words(computer, "Manufacturer");
    system.model = words(computer, "Model");
    system.memory = bytes(computer, "TotalPhysicalMemory");
    system.serial = words(first(root, "product"), "IdentifyingNumber");
    system.uuid = string(first(root, "product"), "UUID").and_then(|written| uuid(&written));
    system.firmware_version = words(first(root, "bios"), "SMBIOSBIOSVersion");
    system.firmware = Some(Fact::of(if root["firmware"] == "uefi" { Firmware::Uefi } else { Firmware::Bios }));
    system.secure_boot = flag(root, "secureBoot");
    system.tpm = flag(root, "tpm");
    let processors: Vec<&Value> = rows(root, "processors").collect();
    let sum = |key: &str| {
        let all: Option<Vec<u64>> = processors.iter().map(|row| number(row, key)).collect();
        let total = all.filter(|all| !all.is_empty())?.into_iter().try_fold(0_u64, u64::checked_add)?;
        u32::try_from(total).ok().map(Fact::of)
    };
    let processor = &mut system.processor;
    processor.sockets = u32::try_from(processors.len()).ok().filter(|count| *count > 0).map(Fact::of);
    processor.cores = sum("NumberOfCores");
    processor.count = sum("NumberOfLogicalProcessors");
    let one = first(root, "processors");
    processor.model = words(one, "Name");
    processor.vendor = words(one, "Manufacturer");
    processor.frequency =
        number(one, "MaxClockSpeed").filter(|mhz| *mhz > 0).map(|mhz| Fact::of(Frequency::megahertz(mhz)));
    let model = string(computer, "Model").unwrap_or_default();
    let platform = match model.as_str() {
        model if model.contains("VMware") => "vmware",
        "Virtual Machine" => "hyper-v",
        model if model.contains("KVM") || model.contains("Standard PC") => "kvm",
        _ if computer["HypervisorPresent"] == true && model.to_lowercase().contains("virtual") => "unknown",
        _ => "none",
    };
    facts.virtualisation.platform = text(platform);
}

fn storage(root: &Value, facts: &mut Facts) {
    let drive = string(first(root, "os"), "SystemDrive");
    facts.storage.controllers.extend(rows(root, "controllers").map(|row| Controller {
        name: words(row, "Name"),
        pci_id: string(row, "PNPDeviceID").and_then(|id| pci_id(&id)),
        driver: words(row, "DriverName"),
        ..Controller::default()
    }));
    for row in rows(root, "disks") {
        let index = number(row, "Index");
        let detail = rows(root, "storage").find(|detail| number(detail, "Number") == index).unwrap_or(&Value::Null);
        let dynamic = rows(root, "partitions").any(|part| {
            number(part, "DiskIndex") == index
                && string(part, "Type").is_some_and(|kind| kind.contains("Logical Disk Manager"))
        });
        let bus = match (number(detail, "BusType"), string(row, "InterfaceType").as_deref()) {
            (Some(3), _) => Some(Bus::Ide),
            (Some(6), _) => Some(Bus::FibreChannel),
            (Some(7), _) | (None, Some("USB")) => Some(Bus::Usb),
            (Some(8), _) => Some(Bus::Raid),
            (Some(9), _) => Some(Bus::Iscsi),
            (Some(11), _) => Some(Bus::Sata),
            (Some(17), _) => Some(Bus::Nvme),
            (Some(1 | 10), _) | (None, Some("SCSI")) => Some(Bus::Scsi),
            (None, Some("IDE")) => Some(Bus::Ide),
            _ => None,
        };
        facts.storage.disks.push(Disk {
            name: index.and_then(|index| text(format!("disk{index}"))),
            serial: words(row, "SerialNumber"),
            model: words(row, "Model"),
            bus: Fact::maybe(bus),
            size: bytes(row, "Size"),
            sector: bytes(row, "BytesPerSector"),
            partition_table: Fact::maybe(match number(detail, "PartitionStyle") {
                Some(1) => Some(PartitionTable::Mbr),
                Some(2) => Some(PartitionTable::Gpt),
                _ => None,
            }),
            boot: flag(detail, "IsBoot"),
            shared: flag(detail, "IsClustered"),
            dynamic: Some(Fact::of(dynamic)),
            removable: string(row, "MediaType")
                .map(|media| Fact::of(media.contains("Removable") || media.contains("External"))),
            san: bus.map(|bus| Fact::of(matches!(bus, Bus::FibreChannel | Bus::Iscsi))),
            ..Disk::default()
        });
    }
    facts.storage.partitions.extend(rows(root, "partitions").map(|row| Partition {
        name: words(row, "DeviceID"),
        disk: number(row, "DiskIndex").and_then(|index| text(format!("disk{index}"))),
        number: small(row, "Index"),
        start: bytes(row, "StartingOffset"),
        size: bytes(row, "Size"),
        kind: words(row, "Type"),
        active: flag(row, "Bootable"),
    }));
    for row in rows(root, "volumes") {
        let letter = string(row, "DeviceID");
        let size = number(row, "Size");
        let used = size.zip(number(row, "FreeSpace")).and_then(|(size, free)| size.checked_sub(free));
        let system = string(row, "FileSystem");
        let encrypted = rows(root, "encryption")
            .find(|one| letter.is_some() && string(one, "DriveLetter") == letter)
            .map(|one| number(one, "ProtectionStatus") == Some(1));
        facts.storage.volumes.push(Volume {
            name: words(row, "DeviceID"),
            kind: Some(Fact::of(VolumeKind::Partition)),
            parts: rows(root, "links")
                .filter(|link| letter.is_some() && string(link, "Volume") == letter)
                .filter_map(|link| words(link, "Partition"))
                .collect(),
            file_system: system.as_ref().and_then(|name| text(name.to_lowercase())),
            label: words(row, "VolumeName"),
            uuid: words(row, "VolumeSerialNumber"),
            mounted_at: words(row, "DeviceID"),
            size: Fact::maybe(size.map(ByteCount)),
            used: Fact::maybe(used.map(ByteCount)),
            encrypted: Fact::maybe(encrypted),
            hosts_os: Some(Fact::of(letter.is_some() && letter == drive)),
            capture: system.map(|name| {
                Fact::of(if name.eq_ignore_ascii_case("ntfs") {
                    CaptureMethod::UsedBlocks
                } else {
                    CaptureMethod::Whole
                })
            }),
            ..Volume::default()
        });
    }
}

fn network(root: &Value, facts: &mut Facts) {
    for row in rows(root, "adapters") {
        let index = number(row, "Index");
        let setting = rows(root, "configurations").find(|one| number(one, "Index") == index).unwrap_or(&Value::Null);
        let device = string(row, "PNPDeviceID").unwrap_or_default();
        let hardware = device.starts_with("PCI\\") || device.starts_with("USB\\") || device.starts_with("VMBUS\\");
        let masks = list(setting, "IPSubnet");
        let written = list(setting, "IPAddress");
        let addresses = written.iter().enumerate().filter_map(|(at, address)| {
            let mask = masks.get(at).map(String::as_str).unwrap_or_default();
            text(match prefix(mask) {
                Some(length) => format!("{address}/{length}"),
                None => address.clone(),
            })
        });
        let gateways: Vec<Fact<String>> = list(setting, "DefaultIPGateway").iter().filter_map(text).collect();
        facts.network.nics.push(Nic {
            name: words(row, "NetConnectionID").or_else(|| words(row, "Name")),
            mac: string(row, "MACAddress").and_then(|written| mac(&written)),
            kind: Some(Fact::of(if hardware { NicKind::Ethernet } else { NicKind::Virtual })),
            model: words(row, "Name"),
            pci_id: pci_id(&device),
            driver: words(row, "ServiceName"),
            speed: number(row, "Speed")
                .filter(|bits| (8..1 << 50).contains(bits))
                .map(|bits| Fact::of(ByteRate(bits / 8))),
            connected: number(row, "NetConnectionStatus").map(|status| Fact::of(status == 2)),
            primary: Some(Fact::of(!gateways.is_empty())),
            addressing: setting["DHCPEnabled"]
                .as_bool()
                .map(|dhcp| Fact::of(if dhcp { Addressing::Dhcp } else { Addressing::Static })),
            addresses: addresses.collect(),
            gateways,
            name_servers: list(setting, "DNSServerSearchOrder").iter().filter_map(text).collect(),
            ..Nic::default()
        });
    }
}

/// `255.255.255.0` or `64` as a prefix length.
fn prefix(mask: &str) -> Option<u32> {
    if let Ok(length) = mask.parse::<u32>() {
        return (length <= 128).then_some(length);
    }
    let bits: u32 = mask.parse::<std::net::Ipv4Addr>().ok()?.into();
    (bits.leading_ones() == bits.count_ones()).then(|| bits.count_ones())
}

/// `PCI\VEN_8086&DEV_100F&..` as `8086:100f`.
fn pci_id(device: &str) -> Option<Fact<String>> {
    let part = |key: &str| {
        let at = device.find(key)? + key.len();
        device.get(at..at + 4).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_ascii_lowercase)
    };
    Some(Fact::of(format!("{}:{}", part("VEN_")?, part("DEV_")?)))
}

fn devices(root: &Value, facts: &mut Facts) {
    for row in rows(root, "devices") {
        let id = string(row, "PNPDeviceID").unwrap_or_default();
        let class = string(row, "PNPClass").unwrap_or_default();
        if id.starts_with("PCI\\") {
            facts.hardware.pci.push(PciDevice {
                slot: text(&id),
                id: pci_id(&id),
                driver: words(row, "Service"),
                description: words(row, "Name"),
                ..PciDevice::default()
            });
            continue;
        }
        let kind = match class.as_str() {
            // Hubs and controllers are part of the board.
            "USB" => continue,
            "HIDClass" | "Keyboard" | "Mouse" => DeviceKind::Input,
            "SmartCardReader" => DeviceKind::SmartCard,
            "Modem" => DeviceKind::Modem,
            _ if id.starts_with("1394") => DeviceKind::Firewire,
            _ => DeviceKind::Usb,
        };
        push(facts, row, kind, words(row, "Name"));
    }
    for (class, kind) in [
        ("optical", DeviceKind::Optical),
        ("sound", DeviceKind::Audio),
        ("video", DeviceKind::Video),
        ("serial", DeviceKind::Serial),
    ] {
        for row in rows(root, class) {
            push(facts, row, kind, words(row, "Name").or_else(|| words(row, "DeviceID")));
        }
    }
}

fn push(facts: &mut Facts, row: &Value, kind: DeviceKind, name: Option<Fact<String>>) {
    facts.hardware.devices.push(Device {
        description: name.clone(),
        name,
        kind: Some(Fact::of(kind)),
        id: string(row, "PNPDeviceID").and_then(|id| pci_id(&id)),
        driver: words(row, "Service"),
        connected: flag(row, "MediaLoaded"),
    });
}

fn start(row: &Value) -> Option<Fact<StartMode>> {
    let mode = match string(row, "StartMode")?.as_str() {
        "Boot" => StartMode::Boot,
        "System" => StartMode::System,
        "Auto" => StartMode::Automatic,
        "Manual" => StartMode::Manual,
        "Disabled" => StartMode::Disabled,
        _ => return None,
    };
    Some(Fact::of(mode))
}

fn software(root: &Value, facts: &mut Facts) {
    let running = |row: &Value| string(row, "State").map(|state| Fact::of(state == "Running"));
    let path = |row: &Value, key: &str| string(row, key).and_then(|command| program(&command));
    let software = &mut facts.software;
    software.services.extend(rows(root, "services").map(|row| Service {
        name: words(row, "Name"),
        title: words(row, "DisplayName"),
        start: start(row),
        running: running(row),
        program: path(row, "PathName"),
    }));
    software.drivers.extend(rows(root, "drivers").map(|row| Driver {
        name: words(row, "Name"),
        title: words(row, "DisplayName"),
        start: start(row),
        running: running(row),
        program: path(row, "PathName"),
        version: None,
    }));
    software.auto_runs.extend(rows(root, "startup").map(|row| AutoRun {
        name: words(row, "Name"),
        program: path(row, "Command"),
        place: words(row, "Location"),
    }));
    software.updates.extend(rows(root, "updates").map(|row| Update {
        id: words(row, "HotFixID"),
        title: words(row, "Description"),
        installed: words(row, "InstalledOn"),
    }));
    software.applications.extend(rows(root, "applications").map(|row| Application {
        name: words(row, "DisplayName"),
        version: words(row, "DisplayVersion"),
        vendor: words(row, "Publisher"),
    }));
    software.files.extend(rows(root, "files").map(|row| SystemFile {
        path: words(row, "Path"),
        present: flag(row, "Present"),
        size: bytes(row, "Size"),
        version: words(row, "Version"),
    }));
}
