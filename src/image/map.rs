//! A chunk map: which chunks a disk is made of, in disk order; written while a capture runs, so that it is the
//! checkpoint to resume from, too.
//!
//! ```text
//! header (32): "replcmap" | format u32 | 0 u32 | image id (16)
//! frame:       "rpMF" | number u32 | sealed length u32 | check (4) | sealed bytes
//! sealed:      entries, each 0x00 count u64 (that many zero chunks) or 0x01 digest (32)
//! last frame:  0xff size u64 | chunk size u32 | chunks u64 | disk digest (32)
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::chunk::{ChunkDigest, DiskDigest};
use super::error::{ImageError, Result};
use super::seal::SealKey;

/// One step of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapEntry {
    /// So many chunks of zeros.
    Zeros(u64),
    /// A stored chunk.
    Chunk(ChunkDigest),
}

impl MapEntry {
    /// Chunks that the entry stands for.
    pub(super) fn chunks(&self) -> u64 {
        match self {
            Self::Zeros(count) => *count,
            Self::Chunk(_) => 1,
        }
    }
}

/// What the last frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapEnd {
    pub(super) size: u64,
    pub(super) chunks: u64,
    pub(super) digest: DiskDigest,
}

const HEADER_LEN: usize = 32;
const FRAME_HEADER_LEN: usize = 16;
/// A frame holds far less; more is damage.
const MAX_FRAME: u32 = 64 << 20;

fn header(image: &[u8; 16]) -> [u8; HEADER_LEN] {
    let mut bytes = [0; HEADER_LEN];
    bytes[..8].copy_from_slice(b"replcmap");
    bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
    bytes[16..].copy_from_slice(image);
    bytes
}

/// Appends to a map.
pub(super) struct MapWriter {
    file: File,
    path: PathBuf,
    key: SealKey,
    image: [u8; 16],
    number: u32,
    len: u64,
}

impl MapWriter {
    /// A new map; fails if the file is there.
    pub(super) fn create(path: &Path, image: [u8; 16], key: SealKey) -> Result<Self> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(ImageError::file("creating", path))?;
        file.write_all(&header(&image)).map_err(ImageError::file("writing", path))?;
        Ok(Self { file, path: path.to_owned(), key, image, number: 0, len: HEADER_LEN as u64 })
    }

    /// Goes on after frame `number`, which ends at `len`; what follows is cut.
    pub(super) fn resume(path: &Path, image: [u8; 16], key: SealKey, number: u32, len: u64) -> Result<Self> {
        let file = OpenOptions::new().write(true).open(path).map_err(ImageError::file("opening", path))?;
        let mut writer = Self { file, path: path.to_owned(), key, image, number, len };
        writer.cut()?;
        Ok(writer)
    }

    /// Puts another file in the place of its own, so that a test can have it fail.
    #[cfg(test)]
    pub(super) fn swap(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    /// Drops what a failed append may have left.
    fn cut(&mut self) -> Result<()> {
        self.file
            .set_len(self.len)
            .and_then(|()| self.file.seek(std::io::SeekFrom::Start(self.len)))
            .map(drop)
            .map_err(ImageError::file("cutting", &self.path))
    }

    /// Appends a frame and makes it durable. The chunks it names must be durable already.
    pub(super) fn append(&mut self, entries: &[MapEntry]) -> Result<()> {
        let mut plain = Vec::with_capacity(entries.len() * 33);
        for entry in entries {
            match entry {
                MapEntry::Zeros(count) => {
                    plain.push(0);
                    plain.extend_from_slice(&count.to_le_bytes());
                }
                MapEntry::Chunk(digest) => {
                    plain.push(1);
                    plain.extend_from_slice(&digest.0);
                }
            }
        }
        self.frame(&plain)
    }

    /// Appends the last frame.
    pub(super) fn finish(mut self, end: &MapEnd, chunk_size: u32) -> Result<()> {
        let mut plain = vec![0xff];
        plain.extend_from_slice(&end.size.to_le_bytes());
        plain.extend_from_slice(&chunk_size.to_le_bytes());
        plain.extend_from_slice(&end.chunks.to_le_bytes());
        plain.extend_from_slice(end.digest.value());
        self.frame(&plain)
    }

    fn frame(&mut self, plain: &[u8]) -> Result<()> {
        let mut bytes = vec![0; FRAME_HEADER_LEN];
        self.key.seal(&place(&self.image, self.number), plain, &mut bytes);
        let sealed = (bytes.len() - FRAME_HEADER_LEN) as u32;
        bytes[..4].copy_from_slice(b"rpMF");
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&sealed.to_le_bytes());
        let check = blake3::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&check.as_bytes()[..4]);
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Best effort: whoever resumes cuts a torn frame anyway.
            let _ = self.cut();
            return Err(ImageError::file("writing", &self.path)(error));
        }
        self.number += 1;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

fn place(image: &[u8; 16], number: u32) -> [u8; 20] {
    let mut place = [0; 20];
    place[..16].copy_from_slice(image);
    place[16..].copy_from_slice(&number.to_le_bytes());
    place
}

/// Reads a map frame by frame.
pub(super) struct MapReader {
    file: BufReader<File>,
    path: PathBuf,
    key: SealKey,
    image: [u8; 16],
    /// Frames read.
    pub(super) number: u32,
    /// Bytes read, all of them sound.
    pub(super) len: u64,
}

/// What a frame holds.
pub(super) enum Frame {
    /// The next entries.
    Entries(Vec<MapEntry>),
    /// The end.
    End(MapEnd),
    /// The file ends here, at a frame's border or within a frame.
    Torn,
}

impl MapReader {
    /// Opens a map and checks its header.
    pub(super) fn open(path: &Path, image: [u8; 16], key: SealKey) -> Result<Self> {
        let file = File::open(path).map_err(ImageError::file("opening", path))?;
        let mut file = BufReader::new(file);
        let mut bytes = [0; HEADER_LEN];
        match file.read_exact(&mut bytes) {
            Ok(()) if bytes == header(&image) => {}
            Ok(()) => return Err(ImageError::damaged(path, "it is not the chunk map of this image")),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(ImageError::damaged(path, "it is too short for a chunk map"));
            }
            Err(error) => return Err(ImageError::file("reading", path)(error)),
        }
        Ok(Self { file, path: path.to_owned(), key, image, number: 0, len: HEADER_LEN as u64 })
    }

    /// Goes to frame `number`, which begins at byte `len`.
    pub(super) fn go_to(&mut self, number: u32, len: u64) -> Result<()> {
        self.file.seek(std::io::SeekFrom::Start(len)).map_err(ImageError::file("reading", &self.path))?;
        (self.number, self.len) = (number, len);
        Ok(())
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Frame> {
        let mut head = [0; FRAME_HEADER_LEN];
        if !self.fill(&mut head)? {
            return Ok(Frame::Torn);
        }
        let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("4 bytes"));
        let sound = &head[..4] == b"rpMF"
            && head[12..] == blake3::hash(&head[..12]).as_bytes()[..4]
            && number(4) == self.number
            && number(8) <= MAX_FRAME;
        if !sound {
            return Err(self.damage("has a damaged header"));
        }
        let mut sealed = vec![0; number(8) as usize];
        if !self.fill(&mut sealed)? {
            return Ok(Frame::Torn);
        }
        let frame = match self.key.open(&place(&self.image, self.number), &mut sealed) {
            Ok(plain) => decode(plain).ok_or_else(|| self.damage("is not a list of chunks"))?,
            Err(_) => return Err(self.damage("does not authenticate")),
        };
        self.number += 1;
        self.len += (FRAME_HEADER_LEN + sealed.len()) as u64;
        Ok(frame)
    }

    fn damage(&self, what: &str) -> ImageError {
        ImageError::damaged(&self.path, format!("frame {} at byte {} {what}", self.number, self.len))
    }

    /// Fills `buffer`; `false` if the file ends before.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.file.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(ImageError::file("reading", &self.path)(error)),
        }
    }

    /// Gives every entry of a finished map to `each` and returns the end, checked against what was given.
    pub(super) fn read_all(mut self, mut each: impl FnMut(MapEntry) -> Result<()>) -> Result<MapEnd> {
        let mut chunks = 0u64;
        loop {
            match self.next()? {
                Frame::Entries(entries) => {
                    for entry in entries {
                        chunks = chunks.saturating_add(entry.chunks());
                        each(entry)?;
                    }
                }
                Frame::End(end) if end.chunks == chunks => return Ok(end),
                Frame::End(_) => {
                    return Err(ImageError::damaged(&self.path, "it lists another number of chunks than it ends with"));
                }
                Frame::Torn => {
                    return Err(ImageError::damaged(
                        &self.path,
                        format!("it ends at byte {}, before its end mark", self.len),
                    ));
                }
            }
        }
    }
}

/// Reads what a frame seals.
pub(super) fn decode(plain: &[u8]) -> Option<Frame> {
    if let Some((0xff, end)) = plain.split_first().map(|(first, rest)| (*first, rest)) {
        let end: [u8; 52] = end.try_into().ok()?;
        let long = |at: usize| u64::from_le_bytes(end[at..at + 8].try_into().expect("8 bytes"));
        let chunk_size = u32::from_le_bytes(end[8..12].try_into().expect("4 bytes"));
        let digest = DiskDigest::from_parts(chunk_size, end[20..].try_into().expect("32 bytes"));
        return Some(Frame::End(MapEnd { size: long(0), chunks: long(12), digest }));
    }
    let (mut entries, mut rest) = (Vec::with_capacity(plain.len() / 33), plain);
    while let Some((kind, tail)) = rest.split_first() {
        let len = match kind {
            0 => 8,
            1 => 32,
            _ => return None,
        };
        let (value, tail) = tail.split_at_checked(len)?;
        entries.push(match kind {
            0 => MapEntry::Zeros(u64::from_le_bytes(value.try_into().expect("8 bytes"))),
            _ => MapEntry::Chunk(ChunkDigest(value.try_into().expect("32 bytes"))),
        });
        rest = tail;
    }
    Some(Frame::Entries(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::seal::Cipher;
    use proptest::prelude::*;

    const IMAGE: [u8; 16] = [5; 16];

    fn key() -> SealKey {
        SealKey::new(Cipher::Aes256Gcm, &[6; 32])
    }

    fn entries() -> Vec<MapEntry> {
        vec![MapEntry::Zeros(3), MapEntry::Chunk(ChunkDigest([1; 32])), MapEntry::Chunk(ChunkDigest([2; 32]))]
    }

    fn written() -> (tempfile::TempDir, PathBuf, MapEnd) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map");
        let mut writer = MapWriter::create(&path, IMAGE, key()).unwrap();
        writer.append(&entries()).unwrap();
        writer.append(&entries()).unwrap();
        let end = MapEnd { size: 1000, chunks: 10, digest: DiskDigest::from_parts(100, [9; 32]) };
        writer.finish(&end, 100).unwrap();
        (folder, path, end)
    }

    fn read(path: &Path) -> Result<(Vec<MapEntry>, MapEnd)> {
        let mut all = Vec::new();
        let end = MapReader::open(path, IMAGE, key())?.read_all(|entry| {
            all.push(entry);
            Ok(())
        })?;
        Ok((all, end))
    }

    #[test]
    fn a_map_reads_back() {
        let (_folder, path, end) = written();
        assert_eq!(read(&path).unwrap(), ([entries(), entries()].concat(), end));
    }

    #[test]
    fn a_torn_map_is_resumed_at_its_last_whole_frame() {
        let (_folder, path, end) = written();
        let full = std::fs::read(&path).unwrap();
        for len in HEADER_LEN..full.len() {
            std::fs::write(&path, &full[..len]).unwrap();
            assert!(read(&path).is_err());
            let mut reader = MapReader::open(&path, IMAGE, key()).unwrap();
            let mut frames = 0;
            while let Frame::Entries(_) = reader.next().unwrap() {
                frames += 1;
            }
            let mut writer = MapWriter::resume(&path, IMAGE, key(), reader.number, reader.len).unwrap();
            for _ in frames..2 {
                writer.append(&entries()).unwrap();
            }
            writer.finish(&end, 100).unwrap();
            assert_eq!(read(&path).unwrap(), ([entries(), entries()].concat(), end));
        }
    }

    proptest! {
        #[test]
        fn a_mutated_map_is_an_error(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let (_folder, path, _) = written();
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(read(&path).is_err());
        }

        #[test]
        fn any_plain_bytes_decode_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
