//! Every reader of this module by name, for tests that feed each of them with bytes that no tool ever wrote.

use std::io;

use super::bytes::ReadAt;
use super::map::{FileSystem, used_map};
use super::{btrfs, ext, fat, lvm, ntfs, partition, swap, xfs};

/// A reader; what it finds is checked, not returned.
type Reader = fn(&dyn ReadAt) -> io::Result<()>;

/// The readers.
pub(in crate::image) const READERS: [(&str, Reader); 9] = [
    ("partitions", |disk| partition::read(disk).map(drop)),
    ("ext", |disk| file_system(disk, ext::read(disk)?)),
    ("xfs", |disk| file_system(disk, xfs::read(disk)?)),
    ("btrfs", |disk| file_system(disk, btrfs::read(disk)?)),
    ("ntfs", |disk| file_system(disk, ntfs::read(disk)?)),
    ("fat", |disk| file_system(disk, fat::read(disk)?)),
    ("swap", |disk| file_system(disk, swap::read(disk)?)),
    ("lvm", |disk| lvm::read(disk).map(drop)),
    ("disk", whole),
];

fn whole(disk: &dyn ReadAt) -> io::Result<()> {
    let map = used_map(disk)?;
    check(disk, map.ranges.as_slice());
    Ok(())
}

fn file_system(disk: &dyn ReadAt, found: Option<FileSystem>) -> io::Result<()> {
    if let Some(FileSystem::Mapped { used, .. }) = found {
        check(disk, used.as_slice());
    }
    Ok(())
}

/// Used ranges are in order and within the disk, or a capture would read elsewhere.
fn check(disk: &dyn ReadAt, ranges: &[std::ops::Range<u64>]) {
    assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "ranges overlap: {ranges:?}");
    assert!(ranges.iter().all(|range| range.start < range.end && range.end <= disk.size()), "{ranges:?}");
}
