//! The restored disks as this system sees them, and what the guest's own configuration called them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::probe::{FileSystem, FsKind, probe};

/// A restored disk, in plan order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredDisk {
    /// Its place in the plan: 0 for `disk0`.
    pub index: u16,
    /// The device here, such as `/dev/vda`; the VM sees it under the same name.
    pub device: PathBuf,
    /// Bytes.
    pub size: u64,
    /// The file system of a disk without partition table.
    pub whole: Option<FileSystem>,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
}

/// A partition of a restored disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number: 1 for `sda1`.
    pub number: u32,
    /// The device here, such as `/dev/vda1`.
    pub device: PathBuf,
    /// Bytes.
    pub size: u64,
    /// What it holds.
    pub content: Option<FileSystem>,
}

/// A volume that lies on disks by way of LVM, a software RAID or LUKS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The device here and in the guest, such as `/dev/mapper/vg-root` or `/dev/md127`.
    pub device: PathBuf,
    /// Other names of it: `/dev/vg/root`, `/dev/md/root`.
    pub aliases: Vec<String>,
    /// What makes it.
    pub kind: VolumeKind,
    /// Bytes.
    pub size: u64,
    /// What it holds.
    pub content: Option<FileSystem>,
    /// The kernel's names of the devices below it.
    pub below: Vec<String>,
}

/// What makes a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// A logical volume of LVM.
    Lvm,
    /// A Linux software RAID.
    Raid,
    /// An opened LUKS container.
    Luks,
}

/// Every restored disk of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemDisks {
    /// In plan order.
    pub disks: Vec<RestoredDisk>,
    /// Volumes on them, once they are assembled.
    #[serde(default)]
    pub volumes: Vec<Volume>,
}

impl SystemDisks {
    /// Looks at the disks of this system. A disk whose serial number is `diskN` is that disk of the plan; without such
    /// serials the order of the devices is the plan's order.
    pub fn discover() -> io::Result<Self> {
        Self::discover_in(Path::new("/sys/block"), Path::new("/dev"))
    }

    fn discover_in(sys: &Path, dev: &Path) -> io::Result<Self> {
        let mut names: Vec<String> = fs::read_dir(sys)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| ["sd", "vd", "xvd", "hd", "nvme"].iter().any(|prefix| name.starts_with(prefix)))
            .collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        let mut disks = Vec::new();
        for (order, name) in names.iter().enumerate() {
            let folder = sys.join(name);
            let serial = ["serial", "device/serial"].iter().find_map(|file| line(&folder.join(file)));
            let numbered = serial.and_then(|serial| serial.strip_prefix("disk")?.parse().ok());
            let device = dev.join(name);
            let mut partitions = Vec::new();
            for entry in fs::read_dir(&folder)?.filter_map(Result::ok) {
                let Some(number) = line(&entry.path().join("partition")).and_then(|text| text.parse().ok()) else {
                    continue;
                };
                let device = dev.join(entry.file_name());
                let content = probe(&device)?;
                partitions.push(Partition { number, device, size: sectors(&entry.path()), content });
            }
            partitions.sort_by_key(|partition| partition.number);
            let whole = if partitions.is_empty() { probe(&device)? } else { None };
            let index = numbered.unwrap_or(order as u16);
            disks.push(RestoredDisk { index, device, size: sectors(&folder), whole, partitions });
        }
        disks.sort_by_key(|disk| disk.index);
        Ok(Self { disks, volumes: Vec::new() })
    }

    /// Every file system with its device and its name in plan words (`/dev/disk0p1`).
    pub fn contents(&self) -> impl Iterator<Item = (String, &Path, &FileSystem)> {
        let plain = self.disks.iter().flat_map(|disk| {
            let whole =
                disk.whole.iter().map(|content| (format!("/dev/disk{}", disk.index), disk.device.as_path(), content));
            whole.chain(disk.partitions.iter().filter_map(|partition| {
                let name = format!("/dev/disk{}p{}", disk.index, partition.number);
                Some((name, partition.device.as_path(), partition.content.as_ref()?))
            }))
        });
        let volumes = self.volumes.iter().filter_map(|volume| {
            Some((volume.device.display().to_string(), volume.device.as_path(), volume.content.as_ref()?))
        });
        plain.chain(volumes)
    }

    /// What the device here holds.
    pub fn content_of(&self, device: &Path) -> Option<&FileSystem> {
        self.contents().find(|(_, own, _)| *own == device).map(|(_, _, content)| content)
    }

    /// The device here of what `/etc/fstab` or a plan names: `UUID=`, `LABEL=`, `/dev/disk0p1`, `/dev/sda1`, ...
    pub fn find(&self, spec: &str) -> Option<&Path> {
        let by = |wanted: &dyn Fn(&FileSystem) -> bool| {
            self.contents().find(|(_, _, content)| wanted(content)).map(|(_, device, _)| device)
        };
        if let Some(uuid) = spec.strip_prefix("UUID=") {
            let uuid = uuid.trim_matches('"');
            return by(&|content| content.uuid.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(uuid)));
        }
        if let Some(label) = spec.strip_prefix("LABEL=") {
            return by(&|content| content.label.as_deref() == Some(label.trim_matches('"')));
        }
        if let Some(uuid) = spec.strip_prefix("/dev/disk/by-uuid/") {
            return self.find(&format!("UUID={uuid}"));
        }
        if let Some(label) = spec.strip_prefix("/dev/disk/by-label/") {
            return self.find(&format!("LABEL={label}"));
        }
        if let Some((_, device, _)) =
            self.contents().find(|(name, device, _)| name == spec || device == &Path::new(spec))
        {
            return Some(device);
        }
        if let Some(volume) = self.volumes.iter().find(|volume| volume.aliases.iter().any(|alias| alias == spec)) {
            return Some(&volume.device);
        }
        let name = OldName::parse(spec)?;
        self.at(name).map(|(device, _)| device)
    }

    fn at(&self, name: OldName) -> Option<(&Path, Option<&FileSystem>)> {
        let disk = self.disks.iter().find(|disk| disk.index == name.disk)?;
        match name.partition {
            None => Some((&disk.device, disk.whole.as_ref())),
            Some(number) => disk
                .partitions
                .iter()
                .find(|partition| partition.number == number)
                .map(|partition| (partition.device.as_path(), partition.content.as_ref())),
        }
    }
}

/// Translates the names that a guest's configuration gave its disks into names that hold on any hardware.
pub struct DeviceNames<'a> {
    disks: &'a SystemDisks,
}

impl<'a> DeviceNames<'a> {
    /// For these disks.
    pub fn new(disks: &'a SystemDisks) -> Self {
        Self { disks }
    }

    /// `UUID=...` for a name such as `/dev/sda1` that depends on the disk controller's driver. `None` if the name does
    /// not depend on it, or if there is nothing to take its place: see [`Self::depends_on_hardware`].
    pub fn stable(&self, name: &str) -> Option<String> {
        let content = match OldName::parse(name) {
            Some(name) => self.disks.at(name)?.1,
            None => self.by_slot(name)?,
        };
        // A member of a mirror or of a volume group is found by its own metadata, never by the UUID of what it looks like.
        let content = content.filter(|content| !matches!(content.kind, FsKind::Raid | FsKind::Lvm))?;
        Some(format!("UUID={}", content.uuid.as_deref()?))
    }

    /// What `/dev/disk/by-path/...-part2` and `/dev/disk/by-id/ata-...-part2` name: the slot and the model of the source.
    /// They say which partition, and not on which disk: that is known only where one disk has such a partition.
    fn by_slot(&self, name: &str) -> Option<Option<&FileSystem>> {
        let number = slot_partition(name)??;
        let mut found = self.disks.disks.iter().filter_map(|disk| disk.partitions.iter().find(|p| p.number == number));
        let partition = found.next()?;
        found.next().is_none().then_some(partition.content.as_ref())
    }

    /// The target's own name of a whole disk, such as `/dev/vda` for `/dev/sda`.
    pub fn target_disk(&self, name: &str) -> Option<String> {
        let name = OldName::parse(name)?;
        self.disk_device(name.disk)
    }

    /// The target's own name of a disk by its place.
    pub fn disk_device(&self, index: u16) -> Option<String> {
        let disk = self.disks.disks.iter().find(|disk| disk.index == index)?;
        disk.device.to_str().map(str::to_owned)
    }

    /// Whether the name depends on the disk controller's driver.
    pub fn depends_on_hardware(name: &str) -> bool {
        OldName::parse(name).is_some() || slot_partition(name).is_some()
    }
}

/// For a name by slot or by model of the source's disk: the number of the partition, if it is one.
fn slot_partition(name: &str) -> Option<Option<u32>> {
    let rest = match name.strip_prefix("/dev/disk/by-path/") {
        Some(rest) => rest,
        None => {
            let rest = name.strip_prefix("/dev/disk/by-id/")?;
            // What belongs to LVM, a RAID or device-mapper is named by its own metadata.
            ["ata-", "scsi-", "wwn-", "nvme-", "virtio-", "usb-"]
                .iter()
                .any(|bus| rest.starts_with(bus))
                .then_some(rest)?
        }
    };
    Some(rest.rsplit_once("-part").and_then(|(_, number)| number.parse().ok()))
}

/// A name such as `/dev/sda1` taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OldName {
    disk: u16,
    partition: Option<u32>,
}

impl OldName {
    /// `/dev/sdb2`, `/dev/hda1`, `/dev/xvda1`, `/dev/nvme0n1p1`, `/dev/cciss/c0d0p1`. Letters and numbers count disks
    /// in the order of the source's only controller, which is the plan's order.
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix("/dev/")?;
        let numbered = name
            .strip_prefix("nvme")
            .and_then(|rest| rest.split_once("n1"))
            .or_else(|| name.strip_prefix("cciss/c0d").map(|rest| rest.split_at(digits(rest))));
        if let Some((disk, rest)) = numbered {
            let partition = match rest {
                "" => None,
                rest => Some(rest.strip_prefix('p')?.parse().ok()?),
            };
            return Some(Self { disk: disk.parse().ok()?, partition });
        }
        let rest = ["sd", "hd", "xvd"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
        let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
        if letters == 0 || letters > 2 {
            return None;
        }
        let disk = rest[..letters].bytes().fold(0, |sum, letter| sum * 26 + u16::from(letter - b'a') + 1) - 1;
        let partition = match &rest[letters..] {
            "" => None,
            number => Some(number.parse().ok().filter(|_| !number.starts_with(['0', '+']))?),
        };
        Some(Self { disk, partition })
    }
}

fn digits(text: &str) -> usize {
    text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len()
}

fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn sectors(folder: &Path) -> u64 {
    // The kernel counts 512-byte sectors there, whatever the disk's own sector size is.
    line(&folder.join("size")).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 512
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::guest::FsState;

    /// Two disks as the editors' tests use them: ext4 and swap on the first, ext4 on the second.
    pub(crate) fn two_disks() -> SystemDisks {
        let content =
            |kind, uuid: &str| Some(FileSystem { kind, uuid: Some(uuid.into()), label: None, state: FsState::Usable });
        let partition = |disk: &str, number, content| Partition {
            number,
            device: format!("/dev/{disk}{number}").into(),
            size: 1 << 30,
            content,
        };
        let disk = |index, name: &str, partitions| RestoredDisk {
            index,
            device: format!("/dev/{name}").into(),
            size: 2 << 30,
            whole: None,
            partitions,
        };
        SystemDisks {
            disks: vec![
                disk(
                    0,
                    "vda",
                    vec![
                        partition("vda", 1, content(FsKind::Ext4, "aaaa-1")),
                        partition("vda", 5, content(FsKind::Swap, "aaaa-5")),
                        partition("vda", 6, None),
                    ],
                ),
                disk(1, "vdb", vec![partition("vdb", 1, content(FsKind::Ext4, "bbbb-1"))]),
            ],
            volumes: Vec::new(),
        }
    }

    #[test]
    fn old_names_of_every_driver_are_understood() {
        let parse = |name| OldName::parse(name).map(|name| (name.disk, name.partition));
        assert_eq!(parse("/dev/sda1"), Some((0, Some(1))));
        assert_eq!(parse("/dev/hdc12"), Some((2, Some(12))));
        assert_eq!(parse("/dev/sdaa3"), Some((26, Some(3))));
        assert_eq!(parse("/dev/xvdb"), Some((1, None)));
        assert_eq!(parse("/dev/nvme1n1p2"), Some((1, Some(2))));
        assert_eq!(parse("/dev/cciss/c0d1p5"), Some((1, Some(5))));
        for other in [
            "/dev/vda1",
            "/dev/mapper/vg-root",
            "/dev/sr0",
            "sda1",
            "/dev/sd",
            "/dev/sdaaa1",
            "/dev/sda01",
            "/dev/sda1x",
            "/dev/nvme0n2p1",
            "/dev/sdb\u{e9}",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn names_become_uuids_where_there_is_one() {
        let disks = two_disks();
        let names = DeviceNames::new(&disks);
        assert_eq!(names.stable("/dev/sda5").as_deref(), Some("UUID=aaaa-5"));
        assert_eq!(names.stable("/dev/hdb1").as_deref(), Some("UUID=bbbb-1"));
        assert_eq!(names.stable("/dev/sda6"), None);
        assert_eq!(names.stable("/dev/disk/by-id/ata-MODEL_1-part5").as_deref(), Some("UUID=aaaa-5"));
        assert_eq!(names.stable("/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1"), None, "two disks have a first one");
        assert_eq!(names.stable("/dev/disk/by-id/dm-name-vg-root"), None);
        assert!(DeviceNames::depends_on_hardware("/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part1"));
        assert!(!DeviceNames::depends_on_hardware("/dev/disk/by-uuid/x"));
        assert_eq!(names.target_disk("/dev/sdb").as_deref(), Some("/dev/vdb"));
        assert_eq!(disks.find("UUID=AAAA-1"), Some(Path::new("/dev/vda1")));
        assert_eq!(disks.find("/dev/disk1p1"), Some(Path::new("/dev/vdb1")));
        assert_eq!(disks.find("/dev/sda5"), Some(Path::new("/dev/vda5")));
        assert_eq!(disks.find("LABEL=none"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_survived(name in "/dev/[a-z0-9/\u{e9}]{0,12}") {
            let _ = OldName::parse(&name);
        }
    }
}
