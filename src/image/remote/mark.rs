//! How far a disk is that an image is being put on, kept on the disk itself: in its first MiB, which is written last. So
//! it is still known after the machine, its agent and the controller are gone, and a disk that has it does not boot.
//!
//! ```text
//! 4 KiB at byte 4096 and at byte 8192, written in turn:
//! "replant deploy 1" | image id (16) | size u64 | chunk size u32 | turn u64 | next chunk u64 | BLAKE3 of all that (32)
//! ```

use crate::image::manifest::ImageId;

/// Where the first mark lies; the second follows.
pub(super) const AT: u64 = 4096;
/// Bytes of one mark.
pub(super) const LEN: usize = 4096;
const MAGIC: &[u8; 16] = b"replant deploy 1";
const HEAD: usize = 16 + 16 + 8 + 4 + 8 + 8;

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The image.
    pub(super) image: ImageId,
    /// Bytes of it.
    pub(super) size: u64,
    /// Bytes of a chunk.
    pub(super) chunk_size: u32,
    /// Counts marks; the higher one of two holds.
    pub(super) turn: u64,
    /// Every chunk before this one is durable, except those of the first MiB.
    pub(super) next_chunk: u64,
}

impl Mark {
    /// Where this mark is written.
    pub(super) fn offset(&self) -> u64 {
        AT + (self.turn % 2) * LEN as u64
    }

    /// Fills one block.
    pub(super) fn encode(&self, block: &mut [u8]) {
        block.fill(0);
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&self.image.bytes());
        head.extend_from_slice(&self.size.to_le_bytes());
        head.extend_from_slice(&self.chunk_size.to_le_bytes());
        head.extend_from_slice(&self.turn.to_le_bytes());
        head.extend_from_slice(&self.next_chunk.to_le_bytes());
        let check = blake3::hash(&head);
        block[..HEAD].copy_from_slice(&head);
        block[HEAD..HEAD + 32].copy_from_slice(check.as_bytes());
    }

    /// Reads one block; anything else than a sound mark is none.
    pub(super) fn decode(block: &[u8]) -> Option<Self> {
        let head = block.get(..HEAD)?;
        let sound = head.starts_with(MAGIC) && block.get(HEAD..HEAD + 32)? == blake3::hash(head).as_bytes();
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("8 bytes"));
        sound.then(|| Self {
            image: ImageId::from_bytes(head[16..32].try_into().expect("16 bytes")),
            size: long(32),
            chunk_size: u32::from_le_bytes(head[40..44].try_into().expect("4 bytes")),
            turn: long(44),
            next_chunk: long(52),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_any_flipped_bit_makes_it_none() {
        let mark = Mark { image: ImageId::new(), size: 9 << 30, chunk_size: 1 << 20, turn: 7, next_chunk: 1234 };
        let mut block = vec![1; LEN];
        mark.encode(&mut block);
        assert_eq!((Mark::decode(&block), mark.offset()), (Some(mark), AT + LEN as u64));
        for at in 0..HEAD + 32 {
            block[at] ^= 1;
            assert_eq!(Mark::decode(&block), None, "byte {at}");
            block[at] ^= 1;
        }
        assert_eq!(Mark::decode(&block[..50]), None);
        assert_eq!(Mark::decode(&[0; LEN]), None);
    }
}
