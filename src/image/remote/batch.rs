//! A batch: what a run of chunks is made of, with the contents that the receiver lacks. Little-endian bytes:
//!
//! ```text
//! batch:   "rpB1" | first chunk u64 | number of entries u32 | entries | contents until the end
//! entry:   0x00 count u64 (so many chunks of zeros)  or  0x01 digest (32)
//!          with ranges that the medium did not give, and that are zeros: "rpB2" | ... | entries | number of ranges u32 |
//!          first byte u64 and end u64 of each, in order | contents until the end
//! content: number of its entry u32 | codec u8 | length u32 | bytes
//! answer:  0x00 (accepted)  or  0x01 | number u32 | numbers of the entries that are lacking, u32 each
//! ```

use std::ops::Range;

use crate::image::chunk::ChunkDigest;
use crate::image::codec::Codec;

/// Longest batch in bytes that is read; senders make shorter ones.
pub const MAX_BATCH: usize = 40 << 20;
/// Entries of a batch at most.
pub(super) const MAX_ENTRIES: usize = 4096;
const MAGIC: &[u8; 4] = b"rpB1";
const MAGIC_UNREADABLE: &[u8; 4] = b"rpB2";
/// Unreadable ranges of a batch at most.
const MAX_UNREADABLE: usize = 16_384;

/// One step of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// So many chunks of zeros.
    Zeros(u64),
    /// A chunk with this digest.
    Chunk(ChunkDigest),
}

impl Entry {
    /// Chunks that it stands for.
    pub(super) fn chunks(&self) -> u64 {
        match self {
            Self::Zeros(count) => *count,
            Self::Chunk(_) => 1,
        }
    }
}

/// The content of an entry's chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// Which entry.
    pub(super) entry: u32,
    /// How it is encoded.
    pub(super) codec: Codec,
    /// The encoded bytes.
    pub(super) bytes: &'a [u8],
}

/// A batch, read or to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// The disk's chunk that the first entry begins at.
    pub first: u64,
    /// What the chunks are.
    pub entries: Vec<Entry>,
    /// Bytes of the disk that the medium did not give; the chunks have zeros there.
    pub unreadable: Vec<Range<u64>>,
    /// Contents of entries, in their order.
    pub contents: Vec<Content<'a>>,
}

/// The receiver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchAnswer {
    /// All is there.
    Accepted,
    /// The contents of these entries are lacking; nothing of the batch counts as done.
    Lacking(Vec<u32>),
}

/// Why bytes are no batch or no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// They end too early, or are something else.
    #[error("the bytes are no batch: {0}")]
    Malformed(&'static str),
    /// There is too much in it.
    #[error("the batch is too large")]
    TooLarge,
}

/// Takes bytes off the front.
pub(super) struct Taker<'a>(pub(super) &'a [u8]);

impl<'a> Taker<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(BatchError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BatchError> {
        Ok(self.take(N)?.try_into().expect("so many bytes were taken"))
    }

    /// A number of things, from 1 to `most`.
    pub(super) fn count(&mut self, most: usize) -> Result<usize, BatchError> {
        match u32::from_le_bytes(self.array()?) as usize {
            count if count == 0 || count > most => Err(BatchError::Malformed("it has no entries, or too many")),
            count => Ok(count),
        }
    }

    /// Entries with their number before them.
    pub(super) fn entries(&mut self) -> Result<Vec<Entry>, BatchError> {
        let count = self.count(MAX_ENTRIES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(match self.array()? {
                [0u8] => match u64::from_le_bytes(self.array()?) {
                    0 => return Err(BatchError::Malformed("an entry stands for nothing")),
                    count => Entry::Zeros(count),
                },
                [1] => Entry::Chunk(ChunkDigest(self.array()?)),
                _ => return Err(BatchError::Malformed("an entry is of no known kind")),
            });
        }
        Ok(entries)
    }

    /// One encoded content, without the number of its entry.
    pub(super) fn content(&mut self) -> Result<(Codec, &'a [u8]), BatchError> {
        let [codec] = self.array()?;
        let codec = Codec::from_code(codec).ok_or(BatchError::Malformed("a content has no known encoding"))?;
        let len = u32::from_le_bytes(self.array()?) as usize;
        Ok((codec, self.take(len)?))
    }

    /// Nothing may follow.
    pub(super) fn end<T>(&self, read: T) -> Result<T, BatchError> {
        match self.0.is_empty() {
            true => Ok(read),
            false => Err(BatchError::Malformed("it goes on after its end")),
        }
    }
}

impl<'a> Batch<'a> {
    /// Reads [`Self::encode`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        if bytes.len() > MAX_BATCH {
            return Err(BatchError::TooLarge);
        }
        let mut rest = Taker(bytes);
        let begins = rest.take(4)?;
        if begins != MAGIC && begins != MAGIC_UNREADABLE {
            return Err(BatchError::Malformed("it does not begin as one"));
        }
        let first = u64::from_le_bytes(rest.array()?);
        let entries = rest.entries()?;
        let mut unreadable: Vec<Range<u64>> = Vec::new();
        if begins == MAGIC_UNREADABLE {
            for _ in 0..rest.count(MAX_UNREADABLE)? {
                let range = u64::from_le_bytes(rest.array()?)..u64::from_le_bytes(rest.array()?);
                if range.is_empty() || unreadable.last().is_some_and(|last| last.end >= range.start) {
                    return Err(BatchError::Malformed("its unreadable ranges are in no order"));
                }
                unreadable.push(range);
            }
        }
        let mut contents: Vec<Content<'a>> = Vec::new();
        while !rest.0.is_empty() {
            let entry = u32::from_le_bytes(rest.array()?);
            let (codec, bytes) = rest.content()?;
            let in_order = contents.last().is_none_or(|last| last.entry < entry);
            if !in_order || !matches!(entries.get(entry as usize), Some(Entry::Chunk(_))) {
                return Err(BatchError::Malformed("a content belongs to no entry"));
            }
            contents.push(Content { entry, codec, bytes });
        }
        Ok(Self { first, entries, unreadable, contents })
    }

    /// The bytes of the batch.
    pub fn encode(&self) -> Vec<u8> {
        let contents: usize = self.contents.iter().map(|content| 9 + content.bytes.len()).sum();
        let mut bytes = Vec::with_capacity(16 + self.entries.len() * 33 + contents);
        bytes.extend_from_slice(if self.unreadable.is_empty() { MAGIC } else { MAGIC_UNREADABLE });
        bytes.extend_from_slice(&self.first.to_le_bytes());
        push_entries(&mut bytes, &self.entries);
        if !self.unreadable.is_empty() {
            bytes.extend_from_slice(&(self.unreadable.len() as u32).to_le_bytes());
            for range in &self.unreadable {
                bytes.extend_from_slice(&range.start.to_le_bytes());
                bytes.extend_from_slice(&range.end.to_le_bytes());
            }
        }
        for content in &self.contents {
            push_content(&mut bytes, content.entry, content.codec, content.bytes);
        }
        bytes
    }

    /// Chunks that the entries stand for; `None` if that is no number.
    pub fn chunks(&self) -> Option<u64> {
        self.entries.iter().try_fold(0u64, |sum, entry| sum.checked_add(entry.chunks()))
    }
}

/// Appends entries with their number before them.
pub(super) fn push_entries(bytes: &mut Vec<u8>, entries: &[Entry]) {
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for entry in entries {
        match entry {
            Entry::Zeros(count) => {
                bytes.push(0);
                bytes.extend_from_slice(&count.to_le_bytes());
            }
            Entry::Chunk(digest) => {
                bytes.push(1);
                bytes.extend_from_slice(&digest.0);
            }
        }
    }
}

/// Appends a content to a batch that is written already.
pub(super) fn push_content(bytes: &mut Vec<u8>, entry: u32, codec: Codec, content: &[u8]) {
    bytes.extend_from_slice(&entry.to_le_bytes());
    push_encoded(bytes, codec, content);
}

/// Appends an encoded content alone.
pub(super) fn push_encoded(bytes: &mut Vec<u8>, codec: Codec, content: &[u8]) {
    bytes.push(codec.code());
    bytes.extend_from_slice(&(content.len() as u32).to_le_bytes());
    bytes.extend_from_slice(content);
}

impl BatchAnswer {
    /// The bytes of the answer.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Accepted => vec![0],
            Self::Lacking(entries) => {
                let mut bytes = vec![1];
                bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
                entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_le_bytes()));
                bytes
            }
        }
    }

    /// Reads [`Self::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        let mut rest = Taker(bytes);
        let answer = match rest.array()? {
            [0u8] => Self::Accepted,
            [1] => {
                let count = rest.count(MAX_ENTRIES)?;
                Self::Lacking((0..count).map(|_| rest.array().map(u32::from_le_bytes)).collect::<Result<_, _>>()?)
            }
            _ => return Err(BatchError::Malformed("an answer is of no known kind")),
        };
        rest.end(answer)
    }
}
