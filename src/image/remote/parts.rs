//! What travels when an image becomes a disk elsewhere. Little-endian bytes, entries and contents as in a batch:
//!
//! ```text
//! map part: "rpM1" | first chunk u64 | number of entries u32 | entries
//! wanted:   "rpW1" | number u32 | numbers of chunks in the disk, u64 each, ascending
//! contents: "rpC1" | number u32 | codec u8 | length u32 | bytes, for each chunk that was wanted
//! ```

use crate::image::codec::Codec;

use super::batch::{BatchError, Entry, MAX_ENTRIES, Taker, push_encoded, push_entries};

/// Chunks of one request at most.
pub const MOST_WANTED: usize = 256;
/// Longest list of wanted chunks.
pub const MAX_WANTED: usize = 8 + 8 * MOST_WANTED;

/// A part of an image's map, from chunk `first` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapPart {
    /// The disk's chunk that the first entry begins at.
    pub first: u64,
    /// What the chunks are.
    pub entries: Vec<Entry>,
}

impl MapPart {
    /// Entries of one part at most.
    pub(super) const MOST: usize = MAX_ENTRIES;

    /// The bytes of the part.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + 33 * self.entries.len());
        bytes.extend_from_slice(b"rpM1");
        bytes.extend_from_slice(&self.first.to_le_bytes());
        push_entries(&mut bytes, &self.entries);
        bytes
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut rest = Taker(bytes);
        if rest.take(4)? != b"rpM1" {
            return Err(BatchError::Malformed("it does not begin as a part of a map"));
        }
        let first = u64::from_le_bytes(rest.array()?);
        let entries = rest.entries()?;
        rest.end(Self { first, entries })
    }
}

/// Which chunks are wanted, by their place in the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(pub Vec<u64>);

impl Wanted {
    /// The bytes of the list.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 8 * self.0.len());
        bytes.extend_from_slice(b"rpW1");
        bytes.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        self.0.iter().for_each(|chunk| bytes.extend_from_slice(&chunk.to_le_bytes()));
        bytes
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut rest = Taker(bytes);
        if rest.take(4)? != b"rpW1" {
            return Err(BatchError::Malformed("it does not begin as a list of chunks"));
        }
        let count = rest.count(MOST_WANTED)?;
        let chunks: Vec<u64> =
            (0..count).map(|_| rest.array().map(u64::from_le_bytes)).collect::<Result<_, BatchError>>()?;
        if !chunks.is_sorted_by(|one, two| one < two) {
            return Err(BatchError::Malformed("its chunks do not ascend"));
        }
        rest.end(Self(chunks))
    }
}

/// Contents of chunks, encoded, in the order in which they were wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents<'a>(pub(super) Vec<(Codec, &'a [u8])>);

impl<'a> Contents<'a> {
    /// Begins the bytes of so many contents; [`Self::push`] adds each.
    pub(super) fn begin(count: usize, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(b"rpC1");
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }

    /// Adds one.
    pub(super) fn push(bytes: &mut Vec<u8>, codec: Codec, content: &[u8]) {
        push_encoded(bytes, codec, content);
    }

    /// Reads what `begin` and `push` write.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut rest = Taker(bytes);
        if rest.take(4)? != b"rpC1" {
            return Err(BatchError::Malformed("it does not begin as contents"));
        }
        let count = rest.count(MOST_WANTED)?;
        let contents = (0..count).map(|_| rest.content()).collect::<Result<_, _>>()?;
        rest.end(Self(contents))
    }
}
