//! Packs: append-only files of sealed chunks, each record self-describing, so that an index can always be made again.
//!
//! ```text
//! header (32):  "replpack" | format u32 | 0 u32 | pack id (16)
//! record:       "rpCH" | codec u8 | 0 (3) | plain length u32 | stored length u32 | chunk id (32) | check (8) | sealed bytes
//! ```
//! Numbers are little-endian; `check` is the start of the BLAKE3 of the 48 bytes before it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::chunk::ChunkId;
use super::codec::Codec;
use super::error::{ImageError, Result};
use super::hex;

/// Names a pack; random, so that writers never meet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId(pub(super) [u8; 16]);

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PackId {
    /// Reads the stem of a pack's or index's file name.
    pub(super) fn parse(stem: &str) -> Option<Self> {
        hex::decode_array(stem).map(Self)
    }
}

const FORMAT: u32 = 1;
/// Bytes before the first record.
pub(super) const HEADER_LEN: u64 = 32;
/// Bytes of a record before its sealed bytes.
pub(super) const RECORD_HEADER_LEN: usize = 56;
/// Longest sealed chunk that we believe in; the largest chunk size plus what sealing adds.
pub(super) const MAX_STORED: u32 = (16 << 20) + 4096;

/// What a record's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: ChunkId,
    pub(super) codec: Codec,
    pub(super) plain: u32,
    pub(super) stored: u32,
}

impl Record {
    /// The header's bytes.
    pub(super) fn encode(&self) -> [u8; RECORD_HEADER_LEN] {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[..4].copy_from_slice(b"rpCH");
        bytes[4] = self.codec.code();
        bytes[8..12].copy_from_slice(&self.plain.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.stored.to_le_bytes());
        bytes[16..48].copy_from_slice(&self.id.0);
        let check = blake3::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    /// Reads [`Self::encode`]; `None` for any other bytes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEADER_LEN)?;
        if &bytes[..4] != b"rpCH" || bytes[48..] != blake3::hash(&bytes[..48]).as_bytes()[..8] {
            return None;
        }
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let record = Self {
            id: ChunkId(bytes[16..48].try_into().expect("32 bytes")),
            codec: Codec::from_code(bytes[4])?,
            plain: number(8),
            stored: number(12),
        };
        (record.stored <= MAX_STORED && record.plain <= MAX_STORED).then_some(record)
    }

    /// What is authenticated with the sealed bytes: everything but their length.
    pub(super) fn place(&self) -> [u8; 37] {
        let mut place = [0; 37];
        place[0] = self.codec.code();
        place[1..5].copy_from_slice(&self.plain.to_le_bytes());
        place[5..].copy_from_slice(&self.id.0);
        place
    }

    /// Bytes that the record takes in the pack.
    pub(super) fn len(&self) -> u64 {
        RECORD_HEADER_LEN as u64 + u64::from(self.stored)
    }
}

/// Creates a pack; fails if it is there.
pub(super) fn create(path: &Path, id: PackId) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(ImageError::file("creating", path))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| ImageError::file("locking", path)(error.into()))?;
    file.write_all_at(&header(id), 0).map_err(ImageError::file("writing", path))?;
    Ok(file)
}

/// How pack `id` begins.
pub(super) fn header(id: PackId) -> [u8; HEADER_LEN as usize] {
    let mut bytes = [0; HEADER_LEN as usize];
    bytes[..8].copy_from_slice(b"replpack");
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[16..].copy_from_slice(&id.0);
    bytes
}

/// Whether the file begins as pack `id` does.
pub(super) fn header_is_sound(file: &File, id: PackId) -> bool {
    let mut bytes = [0; HEADER_LEN as usize];
    file.read_exact_at(&mut bytes, 0).is_ok() && bytes == header(id)
}

/// Finds the complete records from `offset` to `len`; ends at the first that is torn or damaged. Returns where it ended.
pub(super) fn scan(file: &File, mut offset: u64, len: u64, mut found: impl FnMut(u64, Record)) -> std::io::Result<u64> {
    let mut header = [0; RECORD_HEADER_LEN];
    while offset.saturating_add(RECORD_HEADER_LEN as u64) <= len {
        file.read_exact_at(&mut header, offset)?;
        let Some(record) = Record::decode(&header) else { break };
        if offset + record.len() > len {
            break;
        }
        found(offset, record);
        offset += record.len();
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> Record {
        Record { id: ChunkId([3; 32]), codec: Codec::Zstd, plain: 4096, stored: 100 }
    }

    proptest! {
        #[test]
        fn a_mutated_header_is_no_header(at in 0..RECORD_HEADER_LEN, flip in 1u8..) {
            let mut bytes = record().encode();
            bytes[at] ^= flip;
            prop_assert_eq!(Record::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_scanned_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let file = tempfile::tempfile().unwrap();
            let one = [&record().encode()[..], &[0; 100], &bytes].concat();
            file.write_all_at(&one, HEADER_LEN).unwrap();
            let mut found = 0;
            let end = scan(&file, HEADER_LEN, HEADER_LEN + one.len() as u64, |_, _| found += 1).unwrap();
            prop_assert_eq!((found, end), (1, HEADER_LEN + record().len()));
        }
    }
}
