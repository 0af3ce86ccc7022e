//! Cuts a disk into pieces of work, in disk order: runs of whole chunks that lie in holes, and batches of chunks that
//! have to be read. The medium is told of pieces before they are wanted.

use std::collections::VecDeque;

use super::chunk::chunk_count;
use super::format::{DiskReader, Extent, ExtentKind};

/// What to do next. Chunks are counted from the disk's begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Chunks that are known to be zero.
    Zeros {
        /// How many.
        count: u64,
    },
    /// Chunks to read at once.
    Read {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
        /// They were in the page cache before anybody asked for them.
        cached: bool,
    },
}

/// Bytes to read at once.
const BATCH: u64 = 4 << 20;
/// Bytes that the medium is told of in advance.
const AHEAD: u64 = 32 << 20;
/// Pieces that are looked at in advance, however small they are.
const AHEAD_PIECES: usize = 64;

/// Walks a disk.
pub(super) struct Walk<'d> {
    disk: &'d dyn DiskReader,
    chunk_size: u64,
    chunks: u64,
    next: u64,
    extent: Option<Extent>,
    ahead: VecDeque<Piece>,
    ahead_bytes: u64,
}

impl<'d> Walk<'d> {
    /// Starts at chunk `first`.
    pub(super) fn new(disk: &'d dyn DiskReader, chunk_size: u32, first: u64) -> Self {
        let chunks = chunk_count(disk.size(), chunk_size);
        let (ahead, ahead_bytes) = (VecDeque::new(), 0);
        Self { disk, chunk_size: chunk_size.into(), chunks, next: first, extent: None, ahead, ahead_bytes }
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Piece>> {
        while self.ahead_bytes < AHEAD && self.ahead.len() < AHEAD_PIECES {
            let Some(piece) = self.cut()? else { break };
            self.ahead_bytes += self.bytes(&piece);
            self.ahead.push_back(piece);
        }
        let piece = self.ahead.pop_front();
        self.ahead_bytes -= piece.as_ref().map_or(0, |piece| self.bytes(piece));
        Ok(piece)
    }

    fn bytes(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Zeros { .. } => 0,
            Piece::Read { count, .. } => count * self.chunk_size,
        }
    }

    /// Cuts the next piece off.
    fn cut(&mut self) -> std::io::Result<Option<Piece>> {
        if self.next >= self.chunks {
            return Ok(None);
        }
        let first = self.next;
        let extent = self.extent(first * self.chunk_size)?;
        let size = self.disk.size();
        // The last chunk may be short: a hole up to the disk's end covers it whole.
        let whole = match extent.end >= size {
            true => self.chunks,
            false => extent.end / self.chunk_size,
        };
        let count = match extent.kind {
            ExtentKind::Hole if whole > first => {
                self.next = whole;
                return Ok(Some(Piece::Zeros { count: whole - first }));
            }
            ExtentKind::Hole => 1,
            ExtentKind::Data => {
                let most = (BATCH / self.chunk_size).max(1);
                let end = extent.end.div_ceil(self.chunk_size).min(self.chunks);
                (end - first).min(most)
            }
        };
        self.next = first + count;
        let start = first * self.chunk_size;
        let len = (count * self.chunk_size).min(size - start);
        let cached = self.disk.cached(start, len);
        if !cached {
            self.disk.will_need(start, len);
        }
        Ok(Some(Piece::Read { first, count, cached }))
    }

    /// The extent that covers `offset`; asks the disk only when the last answer is used up.
    fn extent(&mut self, offset: u64) -> std::io::Result<Extent> {
        match self.extent {
            Some(extent) if offset < extent.end => Ok(extent),
            _ => {
                let extent = self.disk.extent_at(offset)?;
                // An extent that does not go on would hold us here for ever.
                let extent = match extent.end > offset {
                    true => extent,
                    false => Extent { kind: ExtentKind::Data, end: self.disk.size() },
                };
                self.extent = Some(extent);
                Ok(extent)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk of which only the map matters.
    struct Mapped(Vec<bool>);

    impl DiskReader for Mapped {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Ok(())
        }

        fn extent_at(&self, offset: u64) -> std::io::Result<Extent> {
            let data = self.0[offset as usize];
            let len = self.0[offset as usize..].iter().take_while(|byte| **byte == data).count();
            Ok(Extent { kind: if data { ExtentKind::Data } else { ExtentKind::Hole }, end: offset + len as u64 })
        }
    }

    proptest! {
        #[test]
        fn every_allocated_byte_is_read_and_every_chunk_comes_once(
            runs in proptest::collection::vec((any::<bool>(), 1usize..40), 0..12), chunk_size in 1u32..16, from in 0u64..3,
        ) {
            let map: Vec<bool> = runs.iter().flat_map(|(data, len)| vec![*data; *len]).collect();
            let disk = Mapped(map.clone());
            let (mut walk, mut at) = (Walk::new(&disk, chunk_size, from), from);
            while let Some(piece) = walk.next().unwrap() {
                match piece {
                    Piece::Zeros { count } => {
                        let range = (at * u64::from(chunk_size)) as usize..((at + count) * u64::from(chunk_size)).min(map.len() as u64) as usize;
                        prop_assert!(map[range].iter().all(|data| !data));
                        at += count;
                    }
                    Piece::Read { first, count, .. } => {
                        prop_assert_eq!(first, at);
                        at += count;
                    }
                }
            }
            prop_assert_eq!(at, chunk_count(map.len() as u64, chunk_size).max(from));
        }
    }
}
