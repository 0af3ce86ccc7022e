//! Which file system a partition holds, and its UUID, from its first bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Kinds of content that a partition can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsKind {
    /// ext2, ext3 or ext4 (the ext4 driver mounts all).
    Ext4,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// FAT, such as an EFI system partition.
    Vfat,
    /// NTFS.
    Ntfs,
    /// Swap space.
    Swap,
    /// A physical volume of LVM.
    Lvm,
    /// A LUKS container.
    Luks,
    /// A member of a Linux software RAID.
    Raid,
    /// A member of a ZFS pool.
    Zfs,
    /// A volume that BitLocker has encrypted.
    BitLocker,
}

impl FsKind {
    /// The kernel's name of a file system that the agent can mount and search for a root.
    pub fn mountable(self) -> Option<&'static str> {
        match self {
            Self::Ext4 => Some("ext4"),
            Self::Xfs => Some("xfs"),
            Self::Btrfs => Some("btrfs"),
            Self::Vfat => Some("vfat"),
            Self::Ntfs | Self::Swap | Self::Lvm | Self::Luks | Self::Raid | Self::Zfs | Self::BitLocker => None,
        }
    }

    /// Whether a Linux system's root can lie on it.
    pub fn holds_roots(self) -> bool {
        matches!(self, Self::Ext4 | Self::Xfs | Self::Btrfs)
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "XFS",
            Self::Btrfs => "Btrfs",
            Self::Vfat => "FAT",
            Self::Ntfs => "NTFS",
            Self::Swap => "swap",
            Self::Lvm => "LVM",
            Self::Luks => "LUKS",
            Self::Raid => "RAID member",
            Self::Zfs => "ZFS",
            Self::BitLocker => "BitLocker",
        }
    }
}

/// What a partition holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Its kind.
    pub kind: FsKind,
    /// Its UUID as `/etc/fstab` would name it.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// In what state it was left.
    #[serde(default)]
    pub state: FsState,
}

/// In what state a file system was left, as its superblock says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsState {
    /// Nothing speaks against using it. A journal that is still to be replayed is no damage.
    #[default]
    Usable,
    /// The kernel has found errors in it, and no check has repaired them.
    Damaged,
    /// Swap space that holds the memory of a hibernated machine.
    Hibernated,
}

/// Bytes that are looked at: the Btrfs superblock ends at 68 KiB, the first list of ZFS at 80 KiB.
const WINDOW: u64 = 96 * 1024;

/// Looks at a partition or a file.
pub fn probe(path: &Path) -> io::Result<Option<FileSystem>> {
    let mut file = File::open(path)?;
    let size = file.seek(SeekFrom::End(0))?;
    // A mirror's member may look like the file system on the mirror: its metadata can lie at the end.
    for at in raid_ends(size) {
        let mut magic = [0; 4];
        file.seek(SeekFrom::Start(at))?;
        if file.read_exact(&mut magic).is_ok() && magic == RAID_MAGIC {
            return Ok(Some(FileSystem { kind: FsKind::Raid, uuid: None, label: None, state: FsState::Usable }));
        }
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    Ok(probe_bytes(&bytes))
}

/// Magic number of a software RAID's metadata, as it lies on the disk.
const RAID_MAGIC: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];

/// Where metadata of the versions 1.0 and 0.90 begins on a member of that many bytes.
fn raid_ends(size: u64) -> Vec<u64> {
    let version_1_0 = size.checked_sub(8 << 10).map(|at| at & !0xfff);
    let version_0_90 = (size & !0xffff).checked_sub(64 << 10);
    version_1_0.into_iter().chain(version_0_90).collect()
}

/// Looks at the first 96 KiB of a partition.
pub fn probe_bytes(bytes: &[u8]) -> Option<FileSystem> {
    let at = |offset: usize, len: usize| bytes.get(offset..offset + len);
    let is = |offset: usize, magic: &[u8]| at(offset, magic.len()) == Some(magic);
    let found = |kind, uuid: Option<String>, label: Option<String>| {
        Some(FileSystem { kind, uuid, label, state: FsState::Usable })
    };
    let uuid = |offset| at(offset, 16).and_then(dashed);
    let label = |offset, len| at(offset, len).and_then(text);

    if is(0, b"LUKS\xba\xbe") {
        // The label field is of version 2 only; version 1 has the mode of the cipher there.
        return found(FsKind::Luks, label(168, 40), at(6, 2).filter(|v| *v == [0, 2]).and_then(|_| label(24, 48)));
    }
    if (0..4).any(|sector| is(sector * 512, b"LABELONE")) {
        return found(FsKind::Lvm, None, None);
    }
    // Software RAID, metadata 1.1 at the start and 1.2 at 4 KiB.
    if is(0, &RAID_MAGIC) || is(4096, &RAID_MAGIC) {
        return found(FsKind::Raid, None, None);
    }
    if is(0, b"-FVE-FS-") || is(3, b"-FVE-FS-") {
        return found(FsKind::BitLocker, None, None);
    }
    if is(0, b"XFSB") {
        return found(FsKind::Xfs, uuid(32), label(108, 12));
    }
    for page in [4096, 8192, 16384, 65536] {
        if is(page - 10, b"SWAPSPACE2") {
            return found(FsKind::Swap, uuid(1036), label(1052, 16));
        }
        // A machine that sleeps has put one of these in the place of the usual signature.
        let sleeps = [&b"S1SUSPEND\0"[..], b"S2SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"];
        if sleeps.into_iter().any(|signature| is(page - 10, signature)) {
            let (uuid, label) = (uuid(1036), label(1052, 16));
            return Some(FileSystem { kind: FsKind::Swap, uuid, label, state: FsState::Hibernated });
        }
    }
    if is(1024 + 56, &[0x53, 0xef]) {
        // Bit 1 of the state: errors were detected.
        let damaged = at(1024 + 58, 2).is_some_and(|state| state[0] & 2 != 0);
        let state = if damaged { FsState::Damaged } else { FsState::Usable };
        let (uuid, label) = (uuid(1024 + 104), label(1024 + 120, 16));
        return Some(FileSystem { kind: FsKind::Ext4, uuid, label, state });
    }
    // The uberblocks of ZFS begin 128 KiB into each label; the name-value list before them names the pool.
    if at(16384, 64 << 10).is_some_and(|list| list.windows(9).any(|word| word == b"pool_guid")) {
        return found(FsKind::Zfs, None, None);
    }
    if is(65536 + 64, b"_BHRfS_M") {
        return found(FsKind::Btrfs, uuid(65536 + 32), label(65536 + 299, 256));
    }
    if is(3, b"NTFS    ") {
        let serial = at(72, 8).map(|bytes| bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect());
        return found(FsKind::Ntfs, serial, None);
    }
    if is(510, &[0x55, 0xaa]) {
        let (id, name) = if is(82, b"FAT32   ") {
            (67, 71)
        } else if is(54, b"FAT16   ") || is(54, b"FAT12   ") {
            (39, 43)
        } else {
            return None;
        };
        let serial = at(id, 4).map(|b| format!("{:02X}{:02X}-{:02X}{:02X}", b[3], b[2], b[1], b[0]));
        return found(FsKind::Vfat, serial, label(name, 11).filter(|label| label != "NO NAME"));
    }
    None
}

/// A UUID in its usual form; none if it is all zero.
fn dashed(bytes: &[u8]) -> Option<String> {
    let id = uuid::Uuid::from_slice(bytes).ok()?;
    (!id.is_nil()).then(|| id.hyphenated().to_string())
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_empty_content_is_nothing() {
        assert_eq!(probe_bytes(&[]), None);
        assert_eq!(probe_bytes(&[0; 4096]), None);
    }

    #[test]
    fn members_of_a_mirror_and_sleeping_machines_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("member");
        let mut bytes = vec![0; 1 << 20];
        bytes[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(probe(&path).unwrap().unwrap().kind, FsKind::Ext4);
        for at in raid_ends(bytes.len() as u64) {
            let mut member = bytes.clone();
            member[at as usize..at as usize + 4].copy_from_slice(&RAID_MAGIC);
            std::fs::write(&path, &member).unwrap();
            assert_eq!(probe(&path).unwrap().unwrap().kind, FsKind::Raid, "{at}");
        }
        bytes[1024 + 58] = 3;
        assert_eq!(probe_bytes(&bytes).unwrap().state, FsState::Damaged);
        let mut swap = vec![0; 8192];
        swap[4086..4096].copy_from_slice(b"S1SUSPEND\0");
        let found = probe_bytes(&swap).unwrap();
        assert_eq!((found.kind, found.state), (FsKind::Swap, FsState::Hibernated));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(0u8.., 0..5000)) {
            let _ = probe_bytes(&bytes);
        }
    }
}
