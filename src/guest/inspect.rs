//! What lies on disks and which systems they hold, found without starting them and without changing a byte: the facts that
//! a plan, an inventory and a person need.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::detect::{Access, Candidate, DetectError, open, survey};
use super::disks::{SystemDisks, Volume};
use super::linux::facts::{LinuxFacts, linux_facts};
use super::windows::{FoundWindows, WindowsFacts, WindowsSurvey};

/// Everything that was found on a machine's disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInspection {
    /// The disks, their partitions and file systems.
    pub disks: Vec<InspectedDisk>,
    /// Volumes of LVM, software RAID and LUKS.
    pub volumes: Vec<Volume>,
    /// The operating systems, one for each root.
    pub systems: Vec<InspectedSystem>,
    /// What could not be looked into, and why.
    pub closed: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedDisk {
    /// In plan words: `disk0`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `gpt`, `dos`, or none.
    pub scheme: Option<String>,
    /// What lies on it: `/dev/disk0p1` and its file system. A disk without partitions is listed as itself.
    pub contents: Vec<InspectedContent>,
}

/// A partition or a whole disk, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedContent {
    /// In plan words: `/dev/disk0p1`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What it holds, if it is known.
    pub content: Option<super::FileSystem>,
}

/// An operating system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectedSystem {
    /// The root, as `guest.root` names it.
    pub root: String,
    /// The device of the root in plan words.
    pub device: String,
    /// The system's own name.
    pub name: String,
    /// What is known of it.
    pub facts: SystemFacts,
}

/// Facts by family of systems.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "lowercase")]
pub enum SystemFacts {
    /// A Linux system.
    Linux(Box<LinuxFacts>),
    /// A Windows.
    Windows(Box<WindowsFacts>),
}

impl MachineInspection {
    /// Adds what a look for Windows has found on the same disks.
    pub fn add_windows(&mut self, survey: WindowsSurvey) {
        self.systems.extend(survey.found.into_iter().map(|FoundWindows { volume, facts, .. }| InspectedSystem {
            root: volume.clone(),
            device: volume,
            name: facts.product.clone(),
            facts: SystemFacts::Windows(Box::new(facts)),
        }));
        self.closed.extend(survey.closed.iter().map(ToString::to_string));
        self.closed.extend(survey.damaged);
    }
}

/// Looks at the disks of this system. Nothing is written; mounts last as long as the look.
pub fn inspect(folder: &Path) -> Result<MachineInspection, DetectError> {
    let survey = survey(folder)?;
    let mut found = MachineInspection {
        disks: survey.disks.disks.iter().map(|disk| inspected(disk, Path::new("/sys/block"))).collect(),
        volumes: survey.disks.volumes.clone(),
        systems: Vec::new(),
        closed: survey.closed,
    };
    for root in survey.roots {
        match system(folder, &survey.disks, root.clone()) {
            Ok(system) => found.systems.push(system),
            Err(error) => found.closed.push(format!("{root}: {error}")),
        }
    }
    super::release(&survey.disks);
    Ok(found)
}

fn system(folder: &Path, disks: &SystemDisks, root: Candidate) -> Result<InspectedSystem, DetectError> {
    let guest = open(folder, disks.clone(), root, Access::ReadOnly)?;
    let facts = linux_facts(&guest.tree)?;
    let root = &guest.root;
    let mut spec = match &root.uuid {
        Some(uuid) => format!("UUID={uuid}"),
        None => root.name.clone(),
    };
    if let Some(subvolume) = &root.subvolume {
        spec = format!("{spec},{subvolume}");
    }
    Ok(InspectedSystem {
        root: spec,
        device: root.name.clone(),
        name: root.system.clone(),
        facts: SystemFacts::Linux(Box::new(facts)),
    })
}

fn inspected(disk: &super::RestoredDisk, sys: &Path) -> InspectedDisk {
    let name = disk.device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let scheme = scheme(&disk.device).filter(|_| !disk.partitions.is_empty() || sys.join(&name).exists());
    let whole = disk.partitions.is_empty().then(|| InspectedContent {
        name: format!("/dev/disk{}", disk.index),
        size: disk.size,
        content: disk.whole.clone(),
    });
    let parts = disk.partitions.iter().map(|partition| InspectedContent {
        name: format!("/dev/disk{}p{}", disk.index, partition.number),
        size: partition.size,
        content: partition.content.clone(),
    });
    InspectedDisk {
        name: format!("disk{}", disk.index),
        size: disk.size,
        scheme,
        contents: parts.chain(whole).collect(),
    }
}

/// The kind of partition table in the disk's first sectors.
fn scheme(device: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = [0; 4608];
    let mut file = std::fs::File::open(device).ok()?;
    let mut read = 0;
    while read < bytes.len() {
        match file.read(&mut bytes[read..]) {
            Ok(0) | Err(_) => break,
            Ok(more) => read += more,
        }
    }
    scheme_of(&bytes[..read])
}

fn scheme_of(bytes: &[u8]) -> Option<String> {
    let gpt = [512, 4096].iter().any(|at| bytes.get(*at..at + 8) == Some(b"EFI PART"));
    let dos = bytes.get(510..512) == Some(&[0x55, 0xaa]) && bytes.get(446..510)?.chunks(16).any(|entry| entry[4] != 0);
    match () {
        () if gpt => Some("gpt".to_owned()),
        () if dos => Some("dos".to_owned()),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_tables_are_told_apart() {
        let mut bytes = vec![0; 4608];
        assert_eq!(scheme_of(&bytes), None);
        assert_eq!(scheme_of(&bytes[..100]), None);
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(scheme_of(&bytes), None, "a boot sector is no partition table");
        bytes[446 + 4] = 0x83;
        assert_eq!(scheme_of(&bytes).as_deref(), Some("dos"));
        bytes[512..520].copy_from_slice(b"EFI PART");
        assert_eq!(scheme_of(&bytes).as_deref(), Some("gpt"));
    }
}
