//! A disk seen through its used-block map: everything else is a hole, which is neither read nor stored.

use std::ops::Range;
use std::{io, iter};

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

/// A gap between used ranges that is cheaper to read through than to step over.
const READ_THROUGH: u64 = 32 << 10;

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

    /// The used ranges that touch `range`, cut to it.
    fn used_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let ranges = self.map.ranges.as_slice();
        let first = ranges.partition_point(|used| used.end <= range.start);
        ranges[first..]
            .iter()
            .take_while(move |used| used.start < range.end)
            .map(move |used| used.start.max(range.start)..used.end.min(range.end))
    }

    /// The same ranges, with small gaps between them filled: what is worth one read.
    fn runs_in(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut used = self.used_in(range).peekable();
        std::iter::from_fn(move || {
            let mut run = used.next()?;
            while let Some(next) = used.next_if(|next| next.start - run.end <= READ_THROUGH) {
                run.end = next.end;
            }
            Some(run)
        })
    }
}

impl DiskReader for UsedDisk {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let whole = offset..offset + buffer.len() as u64;
        let place = |range: &Range<u64>| (range.start - offset) as usize..(range.end - offset) as usize;
        let read = |buffer: &mut [u8], run: Range<u64>| self.disk.read_at(&mut buffer[place(&run)], run.start);
        // A gap that cannot be read is no reason to fail: then only what is in use is read.
        if self.runs_in(whole.clone()).try_for_each(|run| read(buffer, run)).is_err() {
            self.used_in(whole.clone()).try_for_each(|run| read(buffer, run))?;
        }
        // Whatever the runs brought along is not in use and does not travel.
        let mut at = whole.start;
        for used in self.used_in(whole.clone()).chain(iter::once(whole.end..whole.end)) {
            buffer[place(&(at..used.start))].fill(0);
            at = used.end;
        }
        Ok(())
    }

    fn reads_cheaply(&self) -> bool {
        self.disk.reads_cheaply()
    }

    fn will_need(&self, offset: u64, len: u64) {
        self.runs_in(offset..offset + len).for_each(|run| self.disk.will_need(run.start, run.end - run.start));
    }

    fn cached(&self, offset: u64, len: u64) -> bool {
        self.runs_in(offset..offset + len).all(|run| self.disk.cached(run.start, run.end - run.start))
    }

    fn drop_cache(&self, offset: u64, len: u64) {
        self.disk.drop_cache(offset, len);
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        match self.used_in(offset..u64::MAX).next() {
            Some(range) if range.start <= offset => {
                let inner = self.disk.extent_at(offset)?;
                Ok(Extent { kind: inner.kind, end: inner.end.min(range.end) })
            }
            Some(range) => Ok(Extent { kind: ExtentKind::Hole, end: range.start }),
            None => Ok(Extent { kind: ExtentKind::Hole, end: self.size() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::map::Region;
    use super::super::ranges::Ranges;
    use super::*;
    use proptest::prelude::*;

    /// A disk of bytes that are never zero.
    struct Bytes(u64);

    fn byte(offset: u64) -> u8 {
        (offset % 251) as u8 + 1
    }

    impl DiskReader for Bytes {
        fn size(&self) -> u64 {
            self.0
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            buffer.iter_mut().zip(offset..).for_each(|(to, at)| *to = byte(at));
            Ok(())
        }

        fn extent_at(&self, _: u64) -> io::Result<Extent> {
            Ok(Extent { kind: ExtentKind::Data, end: self.0 })
        }
    }

    proptest! {
        #[test]
        fn what_is_not_in_use_reads_as_zeros(
            runs in proptest::collection::vec((0u64..300_000, 1u64..60_000), 0..8),
            from in 0u64..299_999, len in 1u64..200_000,
        ) {
            let size = 300_000;
            let ranges = runs.iter().map(|(at, len)| *at..(at + len).min(size)).collect();
            let map = UsedMap { ranges: Ranges::from_unsorted(ranges), regions: Vec::<Region>::new() };
            let disk = UsedDisk { disk: Box::new(Bytes(size)), map };
            let mut buffer = vec![7; len.min(size - from) as usize];
            disk.read_at(&mut buffer, from).unwrap();
            for (found, at) in buffer.iter().zip(from..) {
                let used = disk.map.ranges.contains(at);
                prop_assert_eq!(*found, if used { byte(at) } else { 0 }, "{}", at);
            }
            for at in (from..size).step_by(997) {
                let (used, extent) = (disk.map.ranges.contains(at), disk.extent_at(at).unwrap());
                prop_assert_eq!(extent.kind == ExtentKind::Data, used);
                prop_assert!(extent.end > at);
            }
        }
    }
}
