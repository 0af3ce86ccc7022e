//! What the script for Linux prints: sections `= NAME`, their lines after `| `.

use std::collections::HashMap;

use jiff::Timestamp;

use super::error::{ImportError, Place, shown};
use super::hardware::{mac, uuid};
use crate::hardware::Firmware;
use crate::inventory::model::{
    Addressing, Application, AutoRun, Bus, CaptureMethod, Device, DeviceKind, Disk, Driver, Fact, Facts, Nic, NicKind,
    OsFamily, Partition, PartitionTable, PciDevice, Service, StartMode, Volume, VolumeKind, text,
};
use crate::units::{ByteCount, ByteRate, Frequency};

const SECTOR: u64 = 512;

/// Reads the output: name, facts, time.
pub(super) fn read(file: &str, output: &str) -> Result<(String, Facts, Option<Timestamp>), Vec<ImportError>> {
    let flaw =
        |line: usize, message: String, help: &str| vec![ImportError::new(file, Place::Line(line), message, help)];
    let mut lines = output.lines().enumerate();
    if lines.next().map(|(_, line)| line.trim()) != Some("replant-linux-inventory 1") {
        let help = "it is the output of `replant inventory script linux`, run on the machine";
        return Err(flaw(1, "it does not begin with `replant-linux-inventory 1`".to_owned(), help));
    }
    let mut sections: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut current = "";
    for (at, line) in lines {
        if let Some(name) = line.strip_prefix("= ") {
            current = name.trim();
            sections.entry(current).or_default();
        } else if let Some(content) = line.strip_prefix("| ").or((line == "|").then_some("")) {
            sections.entry(current).or_default().push(content);
        } else if !line.trim().is_empty() {
            let message = format!("`{}` begins neither with `= ` nor with `| `", shown(line));
            return Err(flaw(
                at + 1,
                message,
                "keep the script's output as it is: warnings belong to its error output",
            ));
        }
    }
    if !sections.contains_key("end") {
        let line = output.lines().count();
        return Err(flaw(
            line,
            "the output ends before its end".to_owned(),
            "run the script again: it was interrupted",
        ));
    }
    let output = Output { sections };
    let Some(name) = output.first("hostname").map(|name| name.split('.').next().unwrap_or(name).to_owned()) else {
        return Err(flaw(1, "the machine has no name".to_owned(), "give it one with `--name`"));
    };
    let when = output.first("time").and_then(|text| text.parse().ok()).and_then(|s| Timestamp::from_second(s).ok());
    Ok((name, output.facts(when), when))
}

struct Output<'a> {
    sections: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Output<'a> {
    fn lines(&self, name: &str) -> &[&'a str] {
        self.sections.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.lines(name).first().map(|line| line.trim()).filter(|line| !line.is_empty())
    }

    fn fields(&self, name: &str) -> impl Iterator<Item = Vec<&'a str>> {
        self.lines(name).iter().map(|line| line.split('\t').map(str::trim).collect())
    }

    fn pairs(&self, name: &str) -> HashMap<&'a str, &'a str> {
        self.fields(name).filter_map(|fields| Some((*fields.get(1)?, *fields.first()?))).collect()
    }

    fn facts(&self, now: Option<Timestamp>) -> Facts {
        let mut facts = Facts::default();
        self.os(&mut facts, now);
        self.system(&mut facts);
        self.block(&mut facts);
        self.volumes(&mut facts);
        self.network(&mut facts);
        self.devices(&mut facts);
        self.software(&mut facts);
        facts
    }

    fn os(&self, facts: &mut Facts, now: Option<Timestamp>) {
        let release: HashMap<&str, &str> = self
            .lines("os-release")
            .iter()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, value.trim_matches(['"', '\''])))
            .collect();
        let os = &mut facts.os;
        os.family = Some(Fact::of(OsFamily::Linux));
        os.name = release.get("PRETTY_NAME").copied().or(self.first("redhat-release")).and_then(text);
        os.id = release.get("ID").and_then(text);
        os.version = release.get("VERSION_ID").and_then(text);
        os.kernel = self.lines("uname").get(1).and_then(text);
        os.architecture = self.lines("uname").get(2).and_then(text);
        os.host_name = self.first("hostname").and_then(text);
        os.domain = self.first("domain").filter(|name| *name != "(none)").and_then(text);
        os.language = self.first("language").and_then(|line| text(line.trim_start_matches("LANG=").trim_matches('"')));
        let zone = self.first("timezone").map(|zone| zone.rsplit_once("zoneinfo/").map_or(zone, |(_, name)| name));
        os.time_zone = zone.and_then(text);
        os.selinux = Some(Fact::of(self.first("selinux") == Some("1")));
        let up = self.first("uptime").and_then(|line| line.split(['.', ' ']).next()?.parse::<i64>().ok());
        os.started = now.zip(up).and_then(|(now, up)| Timestamp::from_second(now.as_second() - up).ok()).map(Fact::of);
    }

    fn system(&self, facts: &mut Facts) {
        let dmi: HashMap<&str, &str> = self
            .fields("dmi")
            .filter_map(|fields| Some((*fields.first()?, *fields.get(1)?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let system = &mut facts.system;
        system.manufacturer = dmi.get("sys_vendor").and_then(text);
        system.model = dmi.get("product_name").and_then(text);
        system.serial = dmi.get("product_serial").and_then(text);
        system.uuid = dmi.get("product_uuid").and_then(uuid_of);
        system.firmware_version = dmi.get("bios_version").and_then(text);
        system.chassis = dmi.get("chassis_type").and_then(text);
        system.firmware =
            Some(Fact::of(if self.first("firmware") == Some("uefi") { Firmware::Uefi } else { Firmware::Bios }));
        system.secure_boot =
            self.first("secure-boot").map(|bytes| Fact::of(bytes.split_whitespace().last() == Some("1")));
        system.tpm = Some(Fact::of(self.first("tpm").is_some()));
        let total = self.lines("meminfo").iter().find_map(|line| line.strip_prefix("MemTotal:"));
        let kib = total.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        system.memory = Fact::maybe(kib.and_then(|kib| kib.checked_mul(1024)).map(ByteCount));
        let values = |key: &str| -> Vec<&str> {
            let of_key = |line: &&'a str| {
                let (name, value) = line.split_once(':')?;
                (name.trim() == key).then(|| value.trim())
            };
            self.lines("cpuinfo").iter().filter_map(of_key).collect()
        };
        let processor = &mut system.processor;
        let count = values("processor").len();
        processor.count = u32::try_from(count).ok().filter(|count| *count > 0).map(Fact::of);
        let mut sockets = values("physical id");
        sockets.sort_unstable();
        sockets.dedup();
        let socket_count = u32::try_from(sockets.len().max(1)).unwrap_or(1);
        processor.sockets = Some(Fact::of(socket_count));
        let cores = values("cpu cores").first().and_then(|cores| cores.parse::<u32>().ok());
        processor.cores = Fact::maybe(cores.and_then(|cores| cores.checked_mul(socket_count)));
        processor.vendor = values("vendor_id").first().and_then(text);
        processor.model = values("model name").first().and_then(text);
        let base = self.first("cpu-mhz").and_then(|kilohertz| kilohertz.parse::<u64>().ok()?.checked_mul(1000));
        let now = values("cpu MHz").first().and_then(|mhz| Frequency::parse(&format!("{mhz}MHz")).ok());
        processor.frequency = base.map(Frequency).or(now).filter(|clock| clock.0 > 0).map(Fact::of);
        let platform = match dmi.get("sys_vendor").copied().unwrap_or_default() {
            vendor if vendor.contains("VMware") => Some("vmware"),
            vendor if vendor.contains("QEMU") || vendor.contains("Red Hat") => Some("kvm"),
            vendor if vendor.contains("Xen") => Some("xen"),
            vendor if vendor.contains("Microsoft") && dmi.get("product_name") == Some(&"Virtual Machine") => {
                Some("hyper-v")
            }
            _ if self.first("hypervisor").is_some() => Some("unknown"),
            _ => Some("none"),
        };
        facts.virtualisation.platform = platform.and_then(text);
    }

    fn block(&self, facts: &mut Facts) {
        let kinds: HashMap<&str, (&str, &str)> = self
            .fields("blkid")
            .filter_map(|f| {
                Some((*f.first()?, (f.get(1).copied().unwrap_or_default(), f.get(2).copied().unwrap_or_default())))
            })
            .collect();
        for fields in self.fields("block") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let name = get(0);
            if let Some(partition) = name.strip_prefix('+') {
                let bytes = |at: usize| get(at).parse::<u64>().ok().and_then(|sectors| sectors.checked_mul(SECTOR));
                facts.storage.partitions.push(Partition {
                    name: text(partition),
                    disk: text(get(1)),
                    number: Fact::maybe(get(2).parse().ok()),
                    start: Fact::maybe(bytes(3).map(ByteCount)),
                    size: Fact::maybe(bytes(4).map(ByteCount)),
                    ..Partition::default()
                });
                continue;
            }
            let path = get(8);
            if name.starts_with("dm-") || name.starts_with("md") {
                continue;
            }
            let size = get(1).parse::<u64>().ok().and_then(|sectors| sectors.checked_mul(SECTOR));
            if name.starts_with("sr") || name.starts_with("fd") || size == Some(0) {
                let kind = if name.starts_with("fd") { DeviceKind::Floppy } else { DeviceKind::Optical };
                if name.starts_with("sr") || name.starts_with("fd") {
                    let connected = Some(Fact::of(size.unwrap_or_default() > 0));
                    let description = text(format!("{} {}", get(5), get(6)));
                    let kind = Some(Fact::of(kind));
                    facts.hardware.devices.push(Device {
                        name: text(name),
                        kind,
                        description,
                        connected,
                        ..Device::default()
                    });
                }
                continue;
            }
            let bus = bus(name, path);
            let table = kinds.get(name).map(|(_, table)| *table).and_then(|table| match table {
                "gpt" => Some(PartitionTable::Gpt),
                "dos" => Some(PartitionTable::Mbr),
                _ => None,
            });
            facts.storage.disks.push(Disk {
                name: text(name),
                serial: text(get(7)),
                model: text(format!("{} {}", get(5).trim_start_matches("0x1af4"), get(6))),
                bus: Some(Fact::of(bus)),
                size: Fact::maybe(size.map(ByteCount)),
                sector: Fact::maybe(get(4).parse().ok().map(ByteCount)),
                partition_table: Fact::maybe(table),
                removable: Some(Fact::of(get(2) == "1")),
                rotational: Some(Fact::of(get(3) == "1")),
                san: Some(Fact::of(matches!(bus, Bus::FibreChannel | Bus::Iscsi))),
                ..Disk::default()
            });
        }
    }

    /// What holds a file system: partitions, disks, volumes made of them.
    fn volumes(&self, facts: &mut Facts) {
        let mounts: HashMap<&str, (&str, &str)> = self
            .fields("mounts")
            .filter_map(|f| Some((f.first()?.trim_start_matches("/dev/"), (*f.get(1)?, *f.get(2)?))))
            .rev_unique();
        let used: HashMap<&str, u64> = self
            .lines("space")
            .iter()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.trim_start_matches("/dev/"), words.nth(1)?.parse::<u64>().ok()?.checked_mul(1024)?))
            })
            .collect();
        let (uuids, labels) = (self.pairs("uuid"), self.pairs("label"));
        let kinds: HashMap<&str, &str> = self.fields("blkid").filter_map(|f| Some((*f.first()?, *f.get(1)?))).collect();
        let swaps: Vec<&str> = self.lines("swaps").iter().map(|line| line.trim().trim_start_matches("/dev/")).collect();
        /// Device, name, kind, what it lies on, size in bytes.
        type Holder = (String, String, VolumeKind, Vec<String>, Option<u64>);
        let mut all: Vec<Holder> = Vec::new();
        for fields in self.fields("block") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let sectors = |at: usize| get(at).parse::<u64>().ok().and_then(|sectors| sectors.checked_mul(SECTOR));
            let name = get(0);
            let parts: Vec<String> = get(11).split_whitespace().map(str::to_owned).collect();
            if let Some(partition) = name.strip_prefix('+') {
                all.push((
                    partition.to_owned(),
                    partition.to_owned(),
                    VolumeKind::Partition,
                    vec![get(1).to_owned()],
                    sectors(4),
                ));
            } else if name.starts_with("dm-") {
                let kind = match get(10) {
                    id if id.starts_with("CRYPT-") => VolumeKind::Crypt,
                    id if id.starts_with("mpath-") => VolumeKind::Multipath,
                    _ => VolumeKind::Lvm,
                };
                all.push((name.to_owned(), format!("mapper/{}", get(9)), kind, parts, sectors(1)));
            } else if name.starts_with("md") {
                all.push((name.to_owned(), name.to_owned(), VolumeKind::Md, parts, sectors(1)));
            } else if mounts.contains_key(name) {
                all.push((name.to_owned(), name.to_owned(), VolumeKind::Disk, Vec::new(), sectors(1)));
            }
        }
        let mut os_parts: Vec<String> = Vec::new();
        for (device, name, kind, parts, size) in all {
            let mount = mounts.get(name.as_str()).or(mounts.get(device.as_str()));
            let swap = swaps.iter().any(|swap| *swap == name || *swap == device);
            let system = match (mount, kinds.get(device.as_str())) {
                (Some((_, system)), _) => Some(*system),
                (None, Some(system)) if !system.is_empty() => Some(*system),
                _ => swap.then_some("swap"),
            };
            let root = mount.is_some_and(|(at, _)| *at == "/");
            if root {
                os_parts.extend(parts.iter().cloned());
            }
            let encrypted = kind == VolumeKind::Crypt || system == Some("crypto_LUKS");
            let capture = system.map(|system| match system {
                "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "vfat" | "ntfs" | "ntfs3" | "swap" => {
                    CaptureMethod::UsedBlocks
                }
                _ => CaptureMethod::Whole,
            });
            facts.storage.volumes.push(Volume {
                name: text(&name),
                kind: Some(Fact::of(kind)),
                parts: parts.iter().filter_map(text).collect(),
                file_system: system.and_then(text),
                uuid: uuids.get(device.as_str()).and_then(text),
                label: labels.get(device.as_str()).and_then(text),
                mounted_at: mount.and_then(|(at, _)| text(at.replace("\\040", " "))),
                size: Fact::maybe(size.map(ByteCount)),
                used: Fact::maybe(used.get(name.as_str()).or(used.get(device.as_str())).copied().map(ByteCount)),
                encrypted: Some(Fact::of(encrypted)),
                hosts_os: root.then(|| Fact::of(true)),
                capture: Fact::maybe(capture),
                ..Volume::default()
            });
        }
        for disk in &mut facts.storage.disks {
            let name = disk.name.as_ref().map(|name| name.value.as_str()).unwrap_or_default();
            if os_parts.iter().any(|part| part == name) {
                disk.boot = Some(Fact::of(true));
            }
        }
    }

    fn network(&self, facts: &mut Facts) {
        let primary = self.first("routes").and_then(|line| after(line, "dev"));
        let gateways: Vec<(&str, &str)> =
            self.lines("routes").iter().filter_map(|line| Some((after(line, "dev")?, after(line, "via")?))).collect();
        let servers: Vec<Fact<String>> =
            self.lines("resolv").iter().filter_map(|line| text(line.trim_start_matches("nameserver"))).collect();
        let mut addresses: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
        for line in self.lines("addresses") {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, name, family, address, ..] = words.as_slice()
                && family.starts_with("inet")
                && !words.contains(&"link")
            {
                addresses.entry(*name).or_default().push((*address, words.contains(&"dynamic")));
            }
        }
        let mut hardware: HashMap<&str, &str> = HashMap::new();
        let mut slave = "";
        for line in self.lines("bond-address") {
            match line.split_once(' ') {
                Some(("i", name)) => slave = name,
                Some(("a", address)) => _ = hardware.insert(slave, address),
                _ => {}
            }
        }
        for fields in self.fields("net") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let name = get(0);
            let kind = match (get(5), get(2), get(8).is_empty()) {
                ("bond", ..) => NicKind::Bond,
                ("bridge", ..) => NicKind::Bridge,
                ("vlan", ..) => NicKind::Vlan,
                ("wireless", ..) => NicKind::Wireless,
                (_, "32", _) => NicKind::Infiniband,
                (_, "1", false) => NicKind::Ethernet,
                (_, "1", true) => NicKind::Virtual,
                _ => NicKind::Other,
            };
            let own = addresses.get(name).map(Vec::as_slice).unwrap_or_default();
            let speed = get(3).parse::<u64>().ok().filter(|mbit| (1..10_000_000).contains(mbit));
            facts.network.nics.push(Nic {
                name: text(name),
                mac: mac(hardware.get(name).copied().unwrap_or_else(|| get(1))),
                kind: Some(Fact::of(kind)),
                pci_id: pci_id(get(6), get(7)).filter(|_| !get(8).starts_with("virtio")),
                driver: text(get(8)),
                speed: Fact::maybe(speed.map(|mbit| ByteRate(mbit * 125_000))),
                connected: Some(Fact::of(get(4) == "up")),
                primary: Some(Fact::of(primary == Some(name))),
                addressing: own
                    .first()
                    .map(|(_, dynamic)| Fact::of(if *dynamic { Addressing::Dhcp } else { Addressing::Static })),
                addresses: own.iter().filter_map(|(address, _)| text(address)).collect(),
                gateways: gateways.iter().filter(|(dev, _)| *dev == name).filter_map(|(_, via)| text(via)).collect(),
                name_servers: if primary == Some(name) { servers.clone() } else { Vec::new() },
                parts: get(9).split_whitespace().filter_map(text).collect(),
                ..Nic::default()
            });
        }
    }

    fn devices(&self, facts: &mut Facts) {
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

    fn software(&self, facts: &mut Facts) {
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

trait RevUnique<'a> {
    /// The first mount of a device counts.
    fn rev_unique(self) -> HashMap<&'a str, (&'a str, &'a str)>;
}

impl<'a, I: Iterator<Item = (&'a str, (&'a str, &'a str))>> RevUnique<'a> for I {
    fn rev_unique(self) -> HashMap<&'a str, (&'a str, &'a str)> {
        let mut map = HashMap::new();
        for (key, value) in self {
            map.entry(key).or_insert(value);
        }
        map
    }
}

fn uuid_of(written: &&str) -> Option<Fact<String>> {
    uuid(written)
}

fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|one| *one == word)?;
    words.next()
}

fn pci_id(vendor: &str, device: &str) -> Option<Fact<String>> {
    let digits = |text: &str| {
        let hex = text.trim_start_matches("0x");
        (hex.len() == 4 && hex.bytes().all(|b| b.is_ascii_hexdigit())).then(|| hex.to_ascii_lowercase())
    };
    Some(Fact::of(format!("{}:{}", digits(vendor)?, digits(device)?)))
}

fn bus(name: &str, path: &str) -> Bus {
    match name {
        _ if path.contains("/usb") => Bus::Usb,
        _ if path.contains("/session") => Bus::Iscsi,
        _ if path.contains("/rport-") => Bus::FibreChannel,
        _ if path.contains("/ata") => Bus::Sata,
        name if name.starts_with("nvme") => Bus::Nvme,
        name if name.starts_with("vd") => Bus::Virtio,
        name if name.starts_with("hd") => Bus::Ide,
        name if name.starts_with("sd") => Bus::Scsi,
        name if name.starts_with("mmcblk") => Bus::Mmc,
        name if name.starts_with("cciss") => Bus::Raid,
        _ => Bus::Other,
    }
}
