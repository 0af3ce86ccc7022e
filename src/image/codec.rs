//! Compression of a chunk: zstd at its fastest regular level, dropped when it does not pay.

use serde::{Deserialize, Serialize};

/// What a capture does with chunks before sealing them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// zstd where it pays.
    #[default]
    Zstd,
    /// Stored as they are.
    None,
}

/// How a stored chunk is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
}

impl Codec {
    /// The byte that stands for it in a record.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    /// Reads [`Self::code`].
    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The level whose speed keeps up with disks on a few cores; higher ones save little on disk images.
const LEVEL: i32 = 1;

/// A chunk from this size on is judged by a sample first.
const SAMPLED_FROM: usize = 256 << 10;
/// A sample has a piece of every so many bytes of the chunk.
const SAMPLE_EVERY: usize = 64 << 10;
/// And each is so long: a page, as files begin at pages.
const SAMPLE_LEN: usize = 4096;

/// Whether so much less is worth decompressing later: at least a sixteenth.
fn pays(encoded: usize, plain: usize) -> bool {
    encoded + plain / 16 <= plain
}

/// One thread's compressor.
pub(super) struct Encoder {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    buffer: Vec<u8>,
    sample: Vec<u8>,
}

impl Encoder {
    /// For chunks of at most `chunk_size` bytes.
    pub(super) fn new(compression: Compression, chunk_size: u32) -> std::io::Result<Self> {
        let zstd = match compression {
            Compression::Zstd => Some(zstd::bulk::Compressor::new(LEVEL)?),
            Compression::None => None,
        };
        let buffer = vec![0; zstd::zstd_safe::compress_bound(chunk_size as usize)];
        Ok(Self { zstd, buffer, sample: Vec::new() })
    }

    /// Encodes a chunk, unless a sample of it or the result says that it does not pay.
    pub(super) fn encode<'a>(&'a mut self, content: &'a [u8]) -> std::io::Result<(Codec, &'a [u8])> {
        let Some(zstd) = &mut self.zstd else { return Ok((Codec::Raw, content)) };
        if content.len() >= SAMPLED_FROM {
            self.sample.clear();
            for piece in content.chunks_exact(SAMPLE_EVERY) {
                self.sample.extend_from_slice(&piece[..SAMPLE_LEN]);
            }
            let len = zstd.compress_to_buffer(&self.sample[..], &mut self.buffer[..])?;
            // A sample shrinks less than the whole, which repeats more: only what does not shrink at all is left out.
            if len + self.sample.len() / 128 >= self.sample.len() {
                return Ok((Codec::Raw, content));
            }
        }
        let len = zstd.compress_to_buffer(content, &mut self.buffer[..])?;
        Ok(match pays(len, content.len()) {
            true => (Codec::Zstd, &self.buffer[..len]),
            false => (Codec::Raw, content),
        })
    }
}

/// One thread's decompressor.
pub(super) struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// A decompressor.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: zstd::bulk::Decompressor::new()? })
    }

    /// Decodes into exactly `out`; `false` if the bytes are not the encoding of so many.
    pub(super) fn decode(&mut self, codec: Codec, encoded: &[u8], out: &mut [u8]) -> bool {
        match codec {
            Codec::Raw if encoded.len() == out.len() => {
                out.copy_from_slice(encoded);
                true
            }
            Codec::Raw => false,
            Codec::Zstd => {
                let len = out.len();
                self.zstd.decompress_to_buffer(encoded, out).is_ok_and(|decoded| decoded == len)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_is_kept_as_it_is() {
        let mut encoder = Encoder::new(Compression::Zstd, 4096).unwrap();
        let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().take_bytes(4096);
        assert_eq!(encoder.encode(&noise).unwrap().0, Codec::Raw);
        let text = vec![b'a'; 4096];
        let (codec, encoded) = encoder.encode(&text).unwrap();
        assert_eq!(codec, Codec::Zstd);
        let mut out = vec![0; 4096];
        assert!(Decoder::new().unwrap().decode(codec, encoded, &mut out));
        assert_eq!(out, text);
        assert!(!Decoder::new().unwrap().decode(codec, encoded, &mut [0; 4095]));
    }

    #[test]
    fn a_chunk_that_shrinks_in_a_part_is_compressed_for_it() {
        for len in [256 << 10, 1 << 20] {
            let mut encoder = Encoder::new(Compression::Zstd, 1 << 20).unwrap();
            let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().take_bytes(len);
            assert_eq!(encoder.encode(&noise).unwrap().0, Codec::Raw);
            for quarter in 0..4 {
                let mut mixed = noise.clone();
                mixed[quarter * len / 4..(quarter + 1) * len / 4].fill(b'a');
                let (codec, encoded) = encoder.encode(&mixed).unwrap();
                assert_eq!(codec, Codec::Zstd, "quarter {quarter} of {len}");
                assert!(encoded.len() < len / 5 * 4);
            }
        }
    }

    trait TakeBytes {
        fn take_bytes(self, len: usize) -> Vec<u8>;
    }

    impl TakeBytes for blake3::OutputReader {
        fn take_bytes(mut self, len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            self.fill(&mut bytes);
            bytes
        }
    }
}
