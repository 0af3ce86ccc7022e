//! One disk out of several: a snapshot's blocks where its volume lies, what was kept in memory, and the live disk else.

use std::io;
use std::ops::Range;

use crate::image::{DiskReader, Extent, ExtentKind};

/// What stands in for a range of the disk.
pub(super) enum Source {
    /// Bytes that were read before.
    Kept(Vec<u8>),
    /// Another disk, from that offset on.
    Other {
        /// Its number in the list.
        disk: usize,
        /// Where the range begins on it.
        from: u64,
    },
}

/// A disk of which some ranges come from elsewhere.
pub(super) struct Composed {
    live: Box<dyn DiskReader>,
    others: Vec<Box<dyn DiskReader>>,
    /// In order, without overlap.
    ranges: Vec<(Range<u64>, Source)>,
}

impl Composed {
    /// Puts a disk together. Ranges that overlap, or lie outside, are an error that names them.
    pub(super) fn new(
        live: Box<dyn DiskReader>,
        others: Vec<Box<dyn DiskReader>>,
        mut ranges: Vec<(Range<u64>, Source)>,
    ) -> Result<Self, String> {
        ranges.sort_by_key(|(range, _)| range.start);
        let mut before = 0;
        for (range, source) in &ranges {
            let len = range.end.saturating_sub(range.start);
            let held = match source {
                Source::Kept(bytes) => bytes.len() as u64 == len,
                Source::Other { disk, from } => {
                    let size = others.get(*disk).map_or(0, |other| other.size());
                    from.checked_add(len).is_some_and(|end| end <= size)
                }
            };
            if range.start < before || range.is_empty() || range.end > live.size() || !held {
                return Err(format!("bytes {} to {} of the disk cannot come from elsewhere", range.start, range.end));
            }
            before = range.end;
        }
        Ok(Self { live, others, ranges })
    }
}

impl DiskReader for Composed {
    fn size(&self) -> u64 {
        self.live.size()
    }

    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let index = self.ranges.partition_point(|(range, _)| range.end <= offset);
            let next = self.ranges.get(index);
            let inside = next.filter(|(range, _)| range.start <= offset);
            let end = match (inside, next) {
                (Some((range, _)), _) => range.end,
                (None, Some((range, _))) => range.start,
                (None, None) => u64::MAX,
            };
            let len = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let (now, rest) = buffer.split_at_mut(len);
            match inside {
                None => self.live.read_at(now, offset)?,
                Some((range, Source::Kept(bytes))) => {
                    let at = (offset - range.start) as usize;
                    now.copy_from_slice(&bytes[at..at + len]);
                }
                Some((range, Source::Other { disk, from })) => {
                    self.others[*disk].read_at(now, from + offset - range.start)?;
                }
            }
            (buffer, offset) = (rest, offset + len as u64);
        }
        Ok(())
    }

    fn extent_at(&self, _offset: u64) -> io::Result<Extent> {
        Ok(Extent { kind: ExtentKind::Data, end: self.size() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Bytes(Vec<u8>);

    impl DiskReader for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            buffer.copy_from_slice(&self.0[offset as usize..offset as usize + buffer.len()]);
            Ok(())
        }

        fn extent_at(&self, _: u64) -> io::Result<Extent> {
            Ok(Extent { kind: ExtentKind::Data, end: self.size() })
        }
    }

    fn bytes(seed: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|at| (at.wrapping_mul(31) ^ seed.wrapping_mul(97)) as u8).collect()
    }

    proptest! {
        #[test]
        fn each_byte_comes_from_where_it_should(
            lens in proptest::collection::vec((0usize..300, 1usize..300, any::<bool>()), 1..6),
            from in 0usize..3000, len in 1usize..3000,
        ) {
            let (live, other) = (bytes(1, 4000), bytes(2, 4000));
            let (mut expected, mut ranges, mut at, mut taken) = (live.clone(), Vec::new(), 0, 100);
            for (gap, len, kept) in lens {
                at += gap;
                let place = at..at + len;
                let source = if kept {
                    expected[place.clone()].fill(0xEE);
                    Source::Kept(vec![0xEE; len])
                } else {
                    expected[place.clone()].copy_from_slice(&other[taken..taken + len]);
                    Source::Other { disk: 0, from: taken as u64 }
                };
                ranges.push((place.start as u64..place.end as u64, source));
                (at, taken) = (place.end, taken + len);
            }
            // The order in which they are named does not matter.
            ranges.reverse();
            let disk = Composed::new(Box::new(Bytes(live)), vec![Box::new(Bytes(other))], ranges).unwrap();
            let mut found = vec![0; len.min(4000 - from)];
            disk.read_at(&mut found, from as u64).unwrap();
            prop_assert_eq!(&found[..], &expected[from..from + found.len()]);
        }
    }

    #[test]
    fn ranges_that_do_not_fit_are_refused() {
        let make = |ranges| Composed::new(Box::new(Bytes(vec![0; 100])), vec![Box::new(Bytes(vec![0; 10]))], ranges);
        let other = |from| Source::Other { disk: 0, from };
        assert!(make(vec![(0..10, other(0)), (10..12, Source::Kept(vec![1, 2]))]).is_ok());
        assert!(make(vec![(0..10, other(0)), (9..11, Source::Kept(vec![1, 2]))]).is_err(), "they overlap");
        assert!(make(vec![(0..10, other(1))]).is_err(), "the snapshot is shorter");
        assert!(make(vec![(95..105, other(0))]).is_err(), "the disk is shorter");
        assert!(make(vec![(0..3, Source::Kept(vec![1, 2]))]).is_err());
    }
}
