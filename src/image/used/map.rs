//! From a disk to its used ranges, with a report of what was recognised.

use std::fmt;
use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Where it lies, in bytes.
    pub range: Range<u64>,
    /// What it is.
    pub content: Content,
    /// How many bytes of it are in use.
    pub used: u64,
}

/// What a part of a disk is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Content {
    /// A file system whose allocation map is used.
    Mapped {
        /// `ext`, `xfs`, `btrfs`, `ntfs`, `fat` or `swap`.
        name: String,
    },
    /// Recognised, but read whole: its map is not there to be trusted.
    Whole {
        /// What it is, as far as it is known.
        name: String,
        /// Why it is read whole.
        why: String,
    },
    /// Read whole, because nothing was recognised.
    Unknown,
    /// An LVM2 physical volume, by its logical volumes.
    Volumes {
        /// In the order of the volume group's metadata.
        volumes: Vec<Volume>,
    },
    /// Outside every partition.
    Unpartitioned,
}

/// A logical volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name in the volume group.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapped { name } => write!(f, "{name}, used blocks only"),
            Self::Whole { name, why } => write!(f, "{name}, read whole: {why}"),
            Self::Unknown => write!(f, "not recognised, read whole"),
            Self::Volumes { volumes } => {
                write!(f, "lvm")?;
                let mut between = " (";
                for Volume { name, content } in volumes {
                    write!(f, "{between}{name}: {content}")?;
                    between = "; ";
                }
                if volumes.is_empty() { write!(f, ", no volumes") } else { write!(f, ")") }
            }
            Self::Unpartitioned => write!(f, "outside the partitions"),
        }
    }
}

impl Content {
    /// What was recognised and is read whole nevertheless: `(name, why)`.
    fn fallbacks(&self) -> Vec<(String, &str)> {
        match self {
            Self::Whole { name, why } => vec![(name.clone(), why)],
            Self::Volumes { volumes } => volumes
                .iter()
                .flat_map(|volume| {
                    let named = |(name, why)| (format!("{name} on logical volume {}", volume.name), why);
                    volume.content.fallbacks().into_iter().map(named)
                })
                .collect(),
            Self::Mapped { .. } | Self::Unknown | Self::Unpartitioned => Vec::new(),
        }
    }
}

impl Region {
    /// A line for people about everything in it that had to be read whole although it was recognised.
    pub fn warnings(&self) -> Vec<String> {
        let Range { start, end } = self.range;
        let line = |(name, why)| format!("the {name} at bytes {start} to {end} is read whole: {why}");
        self.content.fallbacks().into_iter().map(line).collect()
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
    let table = match partition::read(disk) {
        Ok(table) => table,
        Err(error) if is_medium_error(&error) => return Ok(all(&whole, "partition table", &unreadable(&error))),
        Err(error) => return Err(error),
    };
    match table {
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

/// Whether the disk could not give the bytes, as opposed to having none there.
pub(crate) fn is_medium_error(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO];
    Errno::from_io_error(error).is_some_and(|found| known.contains(&found))
}

fn unreadable(error: &io::Error) -> String {
    format!("its tables cannot be read ({error})")
}

/// The used ranges of a partition, a logical volume or an unpartitioned disk, relative to it.
fn volume(volume: &dyn ReadAt) -> io::Result<(Ranges, Content)> {
    let found = lvm::read(volume).and_then(|pv| match pv {
        Some(pv) => logical_volumes(volume, pv),
        None => file_system(volume),
    });
    match found {
        Err(error) if is_medium_error(&error) => {
            Ok((everything(volume), Content::Whole { name: "partition".to_owned(), why: unreadable(&error) }))
        }
        found => found,
    }
}

fn everything(volume: &dyn ReadAt) -> Ranges {
    Ranges::one(0..volume.size())
}

fn file_system(volume: &dyn ReadAt) -> io::Result<(Ranges, Content)> {
    for read in [ext::read, xfs::read, btrfs::read, ntfs::read, fat::read, swap::read] {
        match read(volume)? {
            None => {}
            Some(FileSystem::Mapped { name, used }) => {
                return Ok((used, Content::Mapped { name: name.to_owned() }));
            }
            Some(FileSystem::Whole { name, why }) => {
                return Ok((everything(volume), Content::Whole { name: name.to_owned(), why: why.to_owned() }));
            }
        }
    }
    Ok((everything(volume), Content::Unknown))
}

fn logical_volumes(volume: &dyn ReadAt, pv: lvm::Pv) -> io::Result<(Ranges, Content)> {
    let (metadata, end, volumes) = match pv {
        lvm::Pv::Linear { metadata, end, volumes } => (metadata, end, volumes),
        lvm::Pv::Other(why) => {
            return Ok((everything(volume), Content::Whole { name: "lvm".to_owned(), why: why.to_owned() }));
        }
    };
    let mut used = vec![0..metadata, end..volume.size()];
    let mut found = Vec::new();
    for (name, pieces) in volumes {
        let lv = lvm::Lv { volume, pieces: &pieces };
        let (ranges, content) = file_system(&lv)?;
        used.extend(lv.on_volume(ranges.as_slice()));
        found.push(Volume { name, content });
    }
    Ok((Ranges::from_unsorted(used), Content::Volumes { volumes: found }))
}
