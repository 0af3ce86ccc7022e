//! A disk seen through its used-block map: everything else is a hole, which is neither read nor stored.

use std::io;
use std::ops::Range;

use super::bytes::ReadAt;
use super::map::{UsedMap, used_map};
use crate::image::format::{DiskReader, Extent, ExtentKind};

/// A disk of which only the used ranges show; the rest reads as zeros.
pub struct UsedDisk {
    disk: Box<dyn DiskReader>,
    map: UsedMap,
}

struct Whole<'a>(&'a dyn DiskReader);

impl ReadAt for Whole<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.0.size());
        if end.is_none() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the disk"));
        }
        self.0.read_at(buffer, offset)
    }
}

impl UsedDisk {
    /// Reads the disk's tables and allocation maps.
    ///
    /// # Errors
    /// If the disk cannot be read.
    pub fn new(disk: Box<dyn DiskReader>) -> io::Result<Self> {
        let map = used_map(&Whole(&*disk))?;
        Ok(Self { disk, map })
    }

    /// What is in use, and what was recognised.
    pub fn map(&self) -> &UsedMap {
        &self.map
    }

    /// The first used range that ends behind `offset`.
    fn range_at(&self, offset: u64) -> Option<&Range<u64>> {
        let ranges = self.map.ranges.as_slice();
        ranges.get(ranges.partition_point(|range| range.end <= offset))
    }
}

impl DiskReader for UsedDisk {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset + buffer.len() as u64;
        let mut at = offset;
        while at < end {
            let used = self.range_at(at).map_or(end..end, |range| range.start.clamp(at, end)..range.end.min(end));
            let place = |position: u64| (position - offset) as usize;
            buffer[place(at)..place(used.start)].fill(0);
            if used.start < used.end {
                self.disk.read_at(&mut buffer[place(used.start)..place(used.end)], used.start)?;
            }
            at = used.end.max(used.start);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        match self.range_at(offset) {
            Some(range) if range.start <= offset => {
                let inner = self.disk.extent_at(offset)?;
                Ok(Extent { kind: inner.kind, end: inner.end.min(range.end) })
            }
            Some(range) => Ok(Extent { kind: ExtentKind::Hole, end: range.start }),
            None => Ok(Extent { kind: ExtentKind::Hole, end: self.size() }),
        }
    }
}
