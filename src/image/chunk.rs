//! Chunks: a fixed, aligned grid over the disk, digests of their content, ids that only the key's holder can compute.

use std::fmt;
use std::io::Read;

use super::hex;

/// BLAKE3 of a chunk's content. Never stored in the clear in an encrypted store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkDigest(pub(super) [u8; 32]);

/// Keyed BLAKE3 of a [`ChunkDigest`]: the chunk's address in the store, unique per store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkId(pub(super) [u8; 32]);

impl ChunkDigest {
    /// Hashes a chunk's content.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// The address of this content under a store's id key.
    pub(super) fn id(&self, key: &[u8; 32]) -> ChunkId {
        ChunkId(*blake3::keyed_hash(key, &self.0).as_bytes())
    }
}

impl fmt::Debug for ChunkDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..8]))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..8]))
    }
}

/// The digest of a whole logical disk, holes read as zeros; anyone can compute it from the disk alone.
/// Written `b3tree:CHUNKSIZE:HEX`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DiskDigest {
    chunk_size: u32,
    value: [u8; 32],
}

impl DiskDigest {
    /// From its parts, as a map's trailer has them.
    pub(super) fn from_parts(chunk_size: u32, value: [u8; 32]) -> Self {
        Self { chunk_size, value }
    }

    /// The 32 bytes.
    pub(super) fn value(&self) -> &[u8; 32] {
        &self.value
    }
}

impl fmt::Display for DiskDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b3tree:{}:{}", self.chunk_size, hex::encode(&self.value))
    }
}

impl fmt::Debug for DiskDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Computes a [`DiskDigest`] from the chunks' digests, in disk order.
pub struct DiskHasher {
    hasher: blake3::Hasher,
    size: u64,
    chunk_size: u32,
    zero: ChunkDigest,
    next: u64,
}

impl DiskHasher {
    /// For a disk of `size` bytes cut into chunks of `chunk_size`.
    pub fn new(size: u64, chunk_size: u32) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"replant disk digest 1\0");
        hasher.update(&size.to_le_bytes());
        hasher.update(&chunk_size.to_le_bytes());
        Self { hasher, size, chunk_size, zero: ChunkDigest::of(&vec![0; chunk_size as usize]), next: 0 }
    }

    /// The next chunk, by its digest.
    pub fn chunk(&mut self, digest: &ChunkDigest) {
        self.hasher.update(&digest.0);
        self.next += 1;
    }

    /// The next `count` chunks are zeros.
    pub fn zeros(&mut self, count: u64) {
        // Many at once: a hole of terabytes is hashed in a moment.
        const BLOCK: u64 = 512;
        let whole = (self.size / u64::from(self.chunk_size)).saturating_sub(self.next).min(count);
        let blocks = whole / BLOCK;
        if blocks > 0 {
            let block = self.zero.0.repeat(BLOCK as usize);
            for _ in 0..blocks {
                self.hasher.update(&block);
            }
            self.next += blocks * BLOCK;
        }
        for _ in blocks * BLOCK..count {
            let digest = self.zero_digest(self.next);
            self.chunk(&digest);
        }
    }

    /// The digest of chunk `index` if it is all zeros; the last chunk may be short.
    fn zero_digest(&self, index: u64) -> ChunkDigest {
        match chunk_len(self.size, self.chunk_size, index) {
            len if len == self.chunk_size as usize => self.zero,
            len => ChunkDigest::of(&vec![0; len]),
        }
    }

    /// The digest, once every chunk was given.
    pub fn finish(self) -> DiskDigest {
        DiskDigest { chunk_size: self.chunk_size, value: *self.hasher.finalize().as_bytes() }
    }
}

/// Computes the digest of a disk of `size` bytes from its content alone.
pub fn digest_disk(mut content: impl Read, size: u64, chunk_size: u32) -> std::io::Result<DiskDigest> {
    let mut hasher = DiskHasher::new(size, chunk_size);
    let mut buffer = vec![0; chunk_size as usize];
    for index in 0..chunk_count(size, chunk_size) {
        let chunk = &mut buffer[..chunk_len(size, chunk_size, index)];
        content.read_exact(chunk)?;
        hasher.chunk(&ChunkDigest::of(chunk));
    }
    Ok(hasher.finish())
}

/// Chunks that cover `size` bytes.
pub(super) fn chunk_count(size: u64, chunk_size: u32) -> u64 {
    size.div_ceil(u64::from(chunk_size))
}

/// Bytes in chunk `index`; the last one may be short.
pub(super) fn chunk_len(size: u64, chunk_size: u32, index: u64) -> usize {
    let start = index * u64::from(chunk_size);
    size.saturating_sub(start).min(u64::from(chunk_size)) as usize
}

/// Whether all bytes are zero. Comparing a slice with itself shifted by one runs at memory speed.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.first().is_none_or(|first| *first == 0)
        && bytes[..bytes.len().saturating_sub(1)] == bytes[bytes.len().min(1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_test_sees_every_byte() {
        assert!(is_zero(&[]) && is_zero(&[0]) && is_zero(&[0; 4097]) && !is_zero(&[1]));
        for at in [0, 1, 63, 64, 4095, 4096] {
            let mut bytes = vec![0; 4097];
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
        }
    }

    #[test]
    fn long_holes_count_every_chunk_of_them() {
        for (chunks, tail, before) in [(511, 0, 0), (512, 0, 0), (1024, 5, 0), (2000, 1, 3), (700, 63, 600)] {
            let size = (chunks + before) * 64 + tail;
            let mut hasher = DiskHasher::new(size, 64);
            hasher.zeros(before);
            hasher.zeros(chunk_count(size, 64) - before);
            assert_eq!(hasher.finish(), digest_disk(std::io::repeat(0), size, 64).unwrap());
        }
    }

    #[test]
    fn holes_and_written_zeros_have_one_digest() {
        let disk = [vec![7; 100], vec![0; 250], vec![9; 3]].concat();
        let read = digest_disk(&disk[..], disk.len() as u64, 64).unwrap();
        let mut hasher = DiskHasher::new(disk.len() as u64, 64);
        for (index, chunk) in disk.chunks(64).enumerate() {
            match is_zero(chunk) {
                true => hasher.zeros(1),
                false => hasher.chunk(&ChunkDigest::of(chunk)),
            }
            assert_eq!(chunk.len(), chunk_len(disk.len() as u64, 64, index as u64));
        }
        assert_eq!(hasher.finish(), read);
        assert_ne!(read, digest_disk(&disk[..352], 352, 64).unwrap());
    }
}
