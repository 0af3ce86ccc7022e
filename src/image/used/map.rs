//! From a disk to its used ranges, with a report of what was recognised.

use std::fmt;
use std::io;
use std::ops::Range;

use super::bytes::{ReadAt, Slice};
use super::partition::{self, Table};
use super::ranges::Ranges;
use super::{btrfs, ext, fat, lvm, ntfs, swap, xfs};

/// The first and last bytes of a longer unpartitioned gap that are kept: boot loaders embed themselves at its
/// beginning, backup tables and software RAID records lie at its end.
const GAP_KEPT: u64 = 1 << 20;

/// What is in use on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedMap {
    /// The ranges to read.
    pub ranges: Ranges,
    /// What was recognised, in disk order.
    pub regions: Vec<Region>,
}

/// One part of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Where it lies, in bytes.
    pub range: Range<u64>,
    /// What it is.
    pub content: Content,
    /// How many bytes of it are in use.
    pub used: u64,
}

/// What a part of a disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A file system whose allocation map is used.
    Mapped {
        /// `ext`, `xfs`, `ntfs`, `fat`, `swap`, or `lvm` with the names of its volumes' contents.
        name: String,
    },
    /// Read whole.
    Whole {
        /// What it is, as far as it is known.
        name: String,
        /// Why it is read whole.
        why: String,
    },
    /// Outside every partition.
    Unpartitioned,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped { name } => write!(f, "{name}, used blocks only"),
            Self::Whole { name, why } => write!(f, "{name}, read whole: {why}"),
            Self::Unpartitioned => write!(f, "outside the partitions"),
        }
    }
}

/// What a file system reader found in a volume.
pub(super) enum FileSystem {
    /// Its map, relative to the volume.
    Mapped { name: &'static str, used: Ranges },
    /// It was recognised, but its map must not be trusted.
    Whole { name: &'static str, why: &'static str },
}

/// Finds what is in use on a disk.
///
/// # Errors
/// If the disk cannot be read. A damaged structure is no error: what it describes is then used whole.
pub fn used_map(disk: &dyn ReadAt) -> io::Result<UsedMap> {
    let whole = 0..disk.size();
    match partition::read(disk)? {
        Table::Damaged(why) => Ok(all(&whole, "partition table", why)),
        Table::None => {
            let (used, content) = volume(disk)?;
            Ok(UsedMap { regions: vec![Region { range: whole, content, used: used.bytes() }], ranges: used })
        }
        Table::Partitions { partitions, tables } => partitioned(disk, &partitions, tables),
    }
}

fn all(whole: &Range<u64>, name: &str, why: &str) -> UsedMap {
    let content = Content::Whole { name: name.to_owned(), why: why.to_owned() };
    UsedMap {
        ranges: Ranges::from_unsorted(vec![whole.clone()]),
        regions: vec![Region { range: whole.clone(), content, used: whole.end }],
    }
}

fn partitioned(disk: &dyn ReadAt, partitions: &[Range<u64>], tables: Vec<Range<u64>>) -> io::Result<UsedMap> {
    let mut used = tables;
    let mut regions = Vec::new();
    for gap in Ranges::from_unsorted(partitions.to_vec()).complement(0..disk.size()).as_slice() {
        // Everything before the first partition is kept: boot loaders live there.
        let kept = if gap.start == 0 {
            vec![gap.clone()]
        } else {
            vec![gap.start..gap.end.min(gap.start + GAP_KEPT), gap.end.saturating_sub(GAP_KEPT).max(gap.start)..gap.end]
        };
        let kept = Ranges::from_unsorted(kept);
        regions.push(Region { range: gap.clone(), content: Content::Unpartitioned, used: kept.bytes() });
        used.extend_from_slice(kept.as_slice());
    }
    for partition in partitions {
        let (ranges, content) = volume(&Slice { disk, range: partition.clone() })?;
        regions.push(Region { range: partition.clone(), content, used: ranges.bytes() });
        used.extend(ranges.shifted(partition.start));
    }
    regions.sort_by_key(|region| region.range.start);
    Ok(UsedMap { ranges: Ranges::from_unsorted(used), regions })
}

/// The used ranges of a partition, a logical volume or an unpartitioned disk, relative to it.
fn volume(volume: &dyn ReadAt) -> io::Result<(Ranges, Content)> {
    if let Some(pv) = lvm::read(volume)? {
        return logical_volumes(volume, pv);
    }
    file_system(volume)
}

fn file_system(volume: &dyn ReadAt) -> io::Result<(Ranges, Content)> {
    let whole = || Ranges::one(0..volume.size());
    for read in [ext::read, xfs::read, btrfs::read, ntfs::read, fat::read, swap::read] {
        match read(volume)? {
            None => {}
            Some(FileSystem::Mapped { name, used }) => {
                return Ok((used, Content::Mapped { name: name.to_owned() }));
            }
            Some(FileSystem::Whole { name, why }) => {
                return Ok((whole(), Content::Whole { name: name.to_owned(), why: why.to_owned() }));
            }
        }
    }
    let content =
        Content::Whole { name: "unknown content".to_owned(), why: "no file system was recognised".to_owned() };
    Ok((whole(), content))
}

fn logical_volumes(volume: &dyn ReadAt, pv: lvm::Pv) -> io::Result<(Ranges, Content)> {
    let (metadata, end, volumes) = match pv {
        lvm::Pv::Linear { metadata, end, volumes } => (metadata, end, volumes),
        lvm::Pv::Other(why) => {
            let content = Content::Whole { name: "lvm".to_owned(), why: why.to_owned() };
            return Ok((Ranges::one(0..volume.size()), content));
        }
    };
    let mut used = vec![0..metadata, end..volume.size()];
    let mut names = Vec::new();
    for (name, pieces) in &volumes {
        let lv = lvm::Lv { volume, pieces };
        let (ranges, content) = file_system(&lv)?;
        used.extend(lv.on_volume(ranges.as_slice()));
        names.push(format!("{name}: {content}"));
    }
    let content = Content::Mapped { name: format!("lvm ({})", names.join("; ")) };
    Ok((Ranges::from_unsorted(used), content))
}
