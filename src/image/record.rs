//! Walking a pack record by record, past damage: every record that a header, or an older index, tells of.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::chunk::ChunkDigest;
use super::codec::Decoder;
use super::key::Keys;
use super::pack::{HEADER_LEN, RECORD_HEADER_LEN, Record};

/// What lies at a place of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A chunk whose content is proven.
    Sound(Record),
    /// A chunk whose header is sound, but its content is not what was stored.
    Damaged(Record),
    /// Bytes that are no record.
    Garbage,
}

/// A pack, walked from some place on.
pub(super) struct PackWalk<'a> {
    file: &'a File,
    keys: &'a Keys,
    /// Where records begin by an older index, sorted: where to go on after a damaged header.
    known: &'a [u64],
    decoder: Decoder,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    at: u64,
    len: u64,
}

/// Bytes that are searched at once for the next header.
const SEARCH: u64 = 1 << 20;

impl<'a> PackWalk<'a> {
    /// From `at`, which is a record's begin, to `len`.
    pub(super) fn new(file: &'a File, keys: &'a Keys, known: &'a [u64], at: u64, len: u64) -> io::Result<Self> {
        let decoder = Decoder::new()?;
        Ok(Self { file, keys, known, decoder, buffer: Vec::new(), plain: Vec::new(), at: at.max(HEADER_LEN), len })
    }

    /// The next thing: where it begins, where it ends, what it is. `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, u64, Found)>> {
        if self.at >= self.len {
            return Ok(None);
        }
        let start = self.at;
        let found = match self.record_at(start)? {
            Some(record) => {
                self.at = start + record.len();
                match self.proves(&record, start)? {
                    true => Found::Sound(record),
                    false => Found::Damaged(record),
                }
            }
            None => {
                self.at = self.next_header(start + 1)?;
                Found::Garbage
            }
        };
        Ok(Some((start, self.at, found)))
    }

    /// The whole record at `at`, by its header.
    fn record_at(&self, at: u64) -> io::Result<Option<Record>> {
        if at.saturating_add(RECORD_HEADER_LEN as u64) > self.len {
            return Ok(None);
        }
        let mut header = [0; RECORD_HEADER_LEN];
        self.file.read_exact_at(&mut header, at)?;
        Ok(Record::decode(&header).filter(|record| at + record.len() <= self.len))
    }

    /// Reads, authenticates and decodes a record, and compares its content with its id.
    fn proves(&mut self, record: &Record, at: u64) -> io::Result<bool> {
        self.buffer.resize(record.stored as usize, 0);
        self.file.read_exact_at(&mut self.buffer, at + RECORD_HEADER_LEN as u64)?;
        let key = self.keys.chunk(&record.id);
        let Ok(encoded) = key.open(&record.place(), &mut self.buffer) else { return Ok(false) };
        self.plain.resize(record.plain as usize, 0);
        let decoded = self.decoder.decode(record.codec, encoded, &mut self.plain);
        Ok(decoded && ChunkDigest::of(&self.plain).id(&self.keys.ids) == record.id)
    }

    /// Where the next record begins: where a header is found, at the latest where an older index says.
    fn next_header(&mut self, from: u64) -> io::Result<u64> {
        for known in &self.known[self.known.partition_point(|known| *known < from)..] {
            if self.record_at(*known)?.is_some() {
                return self.search(from, *known);
            }
        }
        self.search(from, self.len)
    }

    /// The first header in a range, or its end.
    fn search(&mut self, mut from: u64, end: u64) -> io::Result<u64> {
        while from < end {
            // Windows overlap by a mark's length, so that none is cut in two.
            let len = (end - from).min(SEARCH + 3) as usize;
            self.buffer.resize(len, 0);
            self.file.read_exact_at(&mut self.buffer, from)?;
            let marks = self.buffer.windows(4).enumerate().filter(|(_, mark)| *mark == b"rpCH");
            let marks: Vec<u64> = marks.map(|(at, _)| from + at as u64).collect();
            for at in marks {
                if self.record_at(at)?.is_some() {
                    return Ok(at);
                }
            }
            from += SEARCH;
        }
        Ok(end)
    }
}
