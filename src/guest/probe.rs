//! Which file system a partition holds, and its UUID, from its first bytes.

use std::fs::File;
use std::io::{self, Read};
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
}

impl FsKind {
    /// The kernel's name of a file system that the agent can mount and search for a root.
    pub fn mountable(self) -> Option<&'static str> {
        match self {
            Self::Ext4 => Some("ext4"),
            Self::Xfs => Some("xfs"),
            Self::Btrfs => Some("btrfs"),
            Self::Vfat => Some("vfat"),
            Self::Ntfs | Self::Swap | Self::Lvm | Self::Luks | Self::Raid => None,
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
}

/// Bytes that are looked at: the Btrfs superblock ends at 68 KiB.
const WINDOW: u64 = 68 * 1024;

/// Looks at a partition or a file.
pub fn probe(path: &Path) -> io::Result<Option<FileSystem>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(WINDOW).read_to_end(&mut bytes)?;
    Ok(probe_bytes(&bytes))
}

/// Looks at the first 68 KiB of a partition.
pub fn probe_bytes(bytes: &[u8]) -> Option<FileSystem> {
    let at = |offset: usize, len: usize| bytes.get(offset..offset + len);
    let is = |offset: usize, magic: &[u8]| at(offset, magic.len()) == Some(magic);
    let found = |kind, uuid: Option<String>, label: Option<String>| Some(FileSystem { kind, uuid, label });
    let uuid = |offset| at(offset, 16).and_then(dashed);
    let label = |offset, len| at(offset, len).and_then(text);

    if is(0, b"LUKS\xba\xbe") {
        return found(FsKind::Luks, label(168, 40), None);
    }
    if (0..4).any(|sector| is(sector * 512, b"LABELONE")) {
        return found(FsKind::Lvm, None, None);
    }
    // Software RAID, metadata 1.1 at the start and 1.2 at 4 KiB.
    if is(0, &[0xfc, 0x4e, 0x2b, 0xa9]) || is(4096, &[0xfc, 0x4e, 0x2b, 0xa9]) {
        return found(FsKind::Raid, None, None);
    }
    if is(0, b"XFSB") {
        return found(FsKind::Xfs, uuid(32), label(108, 12));
    }
    for page in [4096, 8192, 16384, 65536] {
        if is(page - 10, b"SWAPSPACE2") {
            return found(FsKind::Swap, uuid(1036), label(1052, 16));
        }
    }
    if is(1024 + 56, &[0x53, 0xef]) {
        return found(FsKind::Ext4, uuid(1024 + 104), label(1024 + 120, 16));
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

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(0u8.., 0..5000)) {
            let _ = probe_bytes(&bytes);
        }
    }
}
