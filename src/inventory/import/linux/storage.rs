//! Disks, partitions and volumes.

use std::collections::HashMap;

use super::{Output, SECTOR};
use crate::inventory::model::{
    Bus, CaptureMethod, Device, DeviceKind, Disk, Fact, Facts, Partition, PartitionTable, Volume, VolumeKind, text,
};
use crate::units::ByteCount;

impl Output<'_> {
    pub(super) fn block(&self, facts: &mut Facts) {
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
    pub(super) fn volumes(&self, facts: &mut Facts) {
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
