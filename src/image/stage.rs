//! A pack file while it grows: what is appended is gathered and written in long pieces past the page cache, by the
//! thread that filled a piece, while the others go on.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::device::{DirectFile, PAGE, PageBuffer};

/// Bytes that are gathered: a disk wants long writes, and a killed process loses no more than this and what is being
/// written.
const PIECE: usize = 2 << 20;

/// The growing end of a pack.
pub(super) struct Stage {
    file: Arc<DirectFile>,
    /// What is not in the file yet; from a page's begin.
    piece: PageBuffer,
    filled: usize,
    at: u64,
    next: u64,
    flying: BTreeSet<u64>,
    spare: Vec<PageBuffer>,
}

/// A piece on its way to the file; goes there with [`Flight::write`], then back with [`Stage::landed`].
pub(super) struct Flight {
    number: u64,
    file: Arc<DirectFile>,
    piece: PageBuffer,
    at: u64,
}

impl Flight {
    /// Writes the piece; an error says how much of the file is sound.
    pub(super) fn write(&self) -> Result<(), (u64, io::Error)> {
        let (written, outcome) = self.file.write_most_at(&self.piece, self.at);
        outcome.map_err(|error| (self.at + written as u64, error))
    }
}

impl Stage {
    /// Goes on at the end of `file`, which begins with `head` and has nothing else yet.
    pub(super) fn new(file: File, head: &[u8]) -> Self {
        let mut piece = PageBuffer::default();
        piece.resize(PIECE);
        piece[..head.len()].copy_from_slice(head);
        Self {
            file: Arc::new(DirectFile::new(file)),
            piece,
            filled: head.len(),
            at: 0,
            next: 0,
            flying: BTreeSet::new(),
            spare: Vec::new(),
        }
    }

    /// The file; without [`Self::settle`], the end of what was appended may not be in it.
    pub(super) fn file(&self) -> Arc<DirectFile> {
        Arc::clone(&self.file)
    }

    /// Appends bytes; pieces that got full on the way are the caller's to write.
    #[must_use]
    pub(super) fn append(&mut self, parts: [&[u8]; 2]) -> Vec<Flight> {
        let mut flights = Vec::new();
        for mut part in parts {
            while !part.is_empty() {
                let (now, later) = part.split_at(part.len().min(PIECE - self.filled));
                self.piece[self.filled..self.filled + now.len()].copy_from_slice(now);
                self.filled += now.len();
                part = later;
                if self.filled == PIECE {
                    flights.push(self.launch());
                }
            }
        }
        flights
    }

    fn launch(&mut self) -> Flight {
        let mut fresh = self.spare.pop().unwrap_or_default();
        fresh.resize(PIECE);
        let flight = Flight {
            number: self.next,
            file: Arc::clone(&self.file),
            piece: std::mem::replace(&mut self.piece, fresh),
            at: self.at,
        };
        self.flying.insert(self.next);
        (self.next, self.at, self.filled) = (self.next + 1, self.at + PIECE as u64, 0);
        flight
    }

    /// Takes a piece back that was written.
    pub(super) fn landed(&mut self, flight: Flight) {
        self.flying.remove(&flight.number);
        self.spare.push(flight.piece);
    }

    /// Whether pieces that were launched before number `before` are still on their way.
    pub(super) fn is_flying(&self, before: u64) -> bool {
        self.flying.first().is_some_and(|oldest| *oldest < before)
    }

    /// The number of the next piece.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Writes what is gathered, its last page in part: nothing else may be written meanwhile. That page stays here, to
    /// be written whole later. An error says how much of the file is sound.
    pub(super) fn settle(&mut self) -> Result<(), (u64, io::Error)> {
        let (written, outcome) = self.file.write_most_at(&self.piece[..self.filled], self.at);
        outcome.map_err(|error| (self.at + written as u64, error))?;
        let whole = self.filled / PAGE * PAGE;
        self.piece.copy_within(whole..self.filled, 0);
        (self.at, self.filled) = (self.at + whole as u64, self.filled - whole);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::FileExt;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn whatever_is_appended_is_in_the_file_once_it_is_settled(
            lens in proptest::collection::vec((0usize..3 << 20, any::<bool>(), any::<bool>()), 1..8),
        ) {
            let file = tempfile::tempfile().unwrap();
            let mut stage = Stage::new(file.try_clone().unwrap(), b"head");
            let (mut expected, mut late) = (b"head".to_vec(), Vec::new());
            for (number, (len, settle, delay)) in lens.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8 ^ number as u8).collect();
                let (one, two) = bytes.split_at(len / 3);
                let flights = stage.append([one, two]);
                expected.extend_from_slice(&bytes);
                late.extend(flights);
                // Pieces may land late and in any order, but before the end is settled.
                if settle || !delay {
                    while let Some(flight) = late.pop() {
                        prop_assert!(stage.is_flying(stage.next()));
                        flight.write().unwrap();
                        stage.landed(flight);
                    }
                    prop_assert!(!stage.is_flying(stage.next()));
                }
                if settle {
                    stage.settle().unwrap();
                    let mut found = vec![0; expected.len()];
                    file.read_exact_at(&mut found, 0).unwrap();
                    prop_assert!(found == expected);
                    prop_assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
                }
            }
        }
    }
}
