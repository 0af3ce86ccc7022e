//! Where chunks lie. On disk one index file per pack; in memory one sorted table, 32 bytes a chunk, plus a small hash
//! table of what this process added.
//!
//! ```text
//! header (32): "replindx" | format u32 | 0 u32 | pack id (16)
//! entry (64):  chunk id (32) | offset u64 | stored u32 | plain u32 | codec u8 | 0 (7) | check (8)
//! ```
//! `check` binds the entry to its pack and its place in the file; reading ends at the first entry whose check fails.

use std::collections::HashMap;

use super::chunk::ChunkId;
use super::pack::{HEADER_LEN, PackId, Record};

/// Bytes before the first entry.
pub(super) const INDEX_HEADER_LEN: usize = 32;
/// Bytes of an entry.
pub(super) const ENTRY_LEN: usize = 64;

/// The header of pack `id`'s index file.
pub(super) fn header(id: PackId) -> [u8; INDEX_HEADER_LEN] {
    let mut bytes = [0; INDEX_HEADER_LEN];
    bytes[..8].copy_from_slice(b"replindx");
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    bytes[16..].copy_from_slice(&id.0);
    bytes
}

/// Entry number `number` of pack `pack`'s index file.
pub(super) fn encode_entry(pack: PackId, number: u64, offset: u64, record: &Record) -> [u8; ENTRY_LEN] {
    let mut bytes = [0; ENTRY_LEN];
    bytes[..32].copy_from_slice(&record.id.0);
    bytes[32..40].copy_from_slice(&offset.to_le_bytes());
    bytes[40..44].copy_from_slice(&record.stored.to_le_bytes());
    bytes[44..48].copy_from_slice(&record.plain.to_le_bytes());
    bytes[48] = record.codec.code();
    let check = check(pack, number, &bytes[..56]);
    bytes[56..].copy_from_slice(&check);
    bytes
}

/// What binds an entry to its pack and place.
pub(super) fn check(pack: PackId, number: u64, entry: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&pack.0);
    hasher.update(&number.to_le_bytes());
    hasher.update(entry);
    hasher.finalize().as_bytes()[..8].try_into().expect("8 of 32 bytes")
}

/// Reads entries from `bytes`, the first of them being number `first`; ends at the first that is torn or damaged and
/// returns how many were sound.
pub(super) fn decode_entries(pack: PackId, first: u64, bytes: &[u8], mut found: impl FnMut(u64, Record)) -> u64 {
    let mut sound = 0;
    for entry in bytes.chunks_exact(ENTRY_LEN) {
        if entry[56..] != check(pack, first + sound, &entry[..56]) {
            break;
        }
        let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 bytes"));
        let Some(codec) = super::codec::Codec::from_code(entry[48]) else { break };
        let offset = u64::from_le_bytes(entry[32..40].try_into().expect("8 bytes"));
        let id = ChunkId(entry[..32].try_into().expect("32 bytes"));
        if offset < HEADER_LEN || number(40) > super::pack::MAX_STORED {
            break;
        }
        found(offset, Record { id, codec, plain: number(44), stored: number(40) });
        sound += 1;
    }
    sound
}

/// Where a chunk lies: a pack by its number in this process, and its record there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) pack: u32,
    pub(super) stored: u32,
    pub(super) offset: u64,
}

impl Location {
    /// First byte after the record.
    pub(super) fn end(&self) -> u64 {
        self.offset + super::pack::RECORD_HEADER_LEN as u64 + u64::from(self.stored)
    }
}

/// The first half of a chunk id: 128 bits of a keyed hash, so two chunks never share it by accident, and the record
/// that it leads to has the whole id.
type Key = [u8; 16];

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    location: Location,
}

/// Chunk id to location.
#[derive(Debug, Default)]
pub(super) struct ChunkTable {
    sorted: Vec<Entry>,
    fresh: HashMap<Key, Location>,
}

/// Fresh entries that are worth sorting in.
const MERGE_AT: usize = 65_536;

impl ChunkTable {
    /// Where `id` lies.
    pub(super) fn get(&self, id: &ChunkId) -> Option<Location> {
        let key = key(id);
        if let Some(location) = self.fresh.get(&key) {
            return Some(*location);
        }
        let at = self.sorted.binary_search_by(|entry| entry.key.cmp(&key)).ok()?;
        Some(self.sorted[at].location)
    }

    /// Adds a chunk; `better` decides whether a new location replaces the known one.
    pub(super) fn insert(&mut self, id: &ChunkId, location: Location, better: impl FnOnce(&Location) -> bool) {
        if self.get(id).is_some_and(|known| !better(&known)) {
            return;
        }
        self.fresh.insert(key(id), location);
        if self.fresh.len() >= MERGE_AT.max(self.sorted.len() / 4) {
            self.merge();
        }
    }

    /// Sorts the fresh entries in; the newest location of a key stays.
    fn merge(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for entry in &mut self.sorted {
            if let Some(location) = fresh.get(&entry.key) {
                entry.location = *location;
            }
        }
        let known = self.sorted.len();
        self.sorted.reserve_exact(fresh.len());
        for (key, location) in fresh {
            if self.sorted[..known].binary_search_by(|entry| entry.key.cmp(&key)).is_err() {
                self.sorted.push(Entry { key, location });
            }
        }
        self.sorted.sort_unstable_by_key(|entry| entry.key);
    }

    /// Chunks known.
    #[cfg(test)]
    fn len(&self) -> usize {
        let again = self.fresh.keys().filter(|key| self.sorted.binary_search_by(|entry| entry.key.cmp(key)).is_ok());
        self.sorted.len() + self.fresh.len() - again.count()
    }
}

fn key(id: &ChunkId) -> Key {
    id.0[..16].try_into().expect("16 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::Codec;
    use proptest::prelude::*;

    fn id(number: u64) -> ChunkId {
        ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    fn location(offset: u64) -> Location {
        Location { pack: 0, stored: 1, offset }
    }

    #[test]
    fn the_table_finds_every_chunk_across_merges() {
        let mut table = ChunkTable::default();
        let count = 3 * MERGE_AT as u64;
        for number in 0..count {
            table.insert(&id(number), location(number), |_| false);
        }
        table.insert(&id(5), location(99), |_| false);
        table.insert(&id(6), location(99), |_| true);
        table.merge();
        assert_eq!(table.len() as u64, count);
        for number in (0..count).step_by(97) {
            assert_eq!(table.get(&id(number)), Some(location(number)));
        }
        assert_eq!(table.get(&id(5)), Some(location(5)));
        assert_eq!(table.get(&id(6)), Some(location(99)));
        assert_eq!(table.get(&id(count)), None);
    }

    #[test]
    fn a_chunk_costs_less_than_64_bytes_in_memory() {
        // One sorted entry, and at worst a quarter as many hashed ones at half load.
        let hashed = (size_of::<Key>() + size_of::<Location>() + 1) * 2 * 8 / 7;
        assert!(size_of::<Entry>() + hashed / 4 < 64, "{}", size_of::<Entry>() + hashed / 4);
    }

    proptest! {
        #[test]
        fn a_mutated_entry_ends_the_reading(at in 0..2 * ENTRY_LEN, flip in 1u8..) {
            let pack = PackId([1; 16]);
            let record = Record { id: id(1), codec: Codec::Zstd, plain: 9, stored: 7 };
            let mut bytes = [encode_entry(pack, 4, 32, &record), encode_entry(pack, 5, 95, &record)].concat();
            bytes[at] ^= flip;
            prop_assert_eq!(decode_entries(pack, 4, &bytes, |_, _| ()), (at / ENTRY_LEN) as u64);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode_entries(PackId([1; 16]), 0, &bytes, |_, _| ()), 0);
        }
    }
}
