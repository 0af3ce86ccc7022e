//! The store's side of a deploy elsewhere: an image's map in parts, and the contents of its chunks. Only chunks of this
//! image are given, by their place in the disk: nobody can ask the store for a content whose digest he guesses.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::image::catalog::{ChunkReader, Place};
use crate::image::chunk::{ChunkDigest, DiskDigest, DiskHasher, chunk_count, chunk_len};
use crate::image::control::Control;
use crate::image::error::{ImageError, Result};
use crate::image::lock::Lease;
use crate::image::manifest::{ImageId, Manifest};
use crate::image::map::{Frame, MapEntry, MapReader};
use crate::image::name::DiskName;
use crate::image::store::Store;

use super::batch::Entry;
use super::parts::{Contents, MapPart, Wanted};

/// Bytes of chunks in one answer at most, unless one chunk alone is larger.
const MOST_BYTES: u64 = 8 << 20;
/// Frames of the map that are kept in memory.
const RECENT: usize = 16;

/// The entries of a frame, each with the chunk that it begins at.
type Placed = Arc<Vec<(u64, MapEntry)>>;

/// An image that is given to a machine elsewhere; shared by threads.
pub struct RemoteImage {
    store: Arc<Store>,
    manifest: Manifest,
    digest: DiskDigest,
    /// Where each frame of the map lies, by the first chunk that it tells of.
    frames: Vec<FramePlace>,
    recent: Mutex<VecDeque<(usize, Placed)>>,
    sent: AtomicU64,
    _lease: Lease,
}

#[derive(Clone, Copy)]
struct FramePlace {
    first: u64,
    number: u32,
    at: u64,
}

impl RemoteImage {
    /// Opens an image and proves that its map makes the digest that the manifest promises. `None` takes that of the newest
    /// sealed set, else the newest.
    pub fn open(store: Arc<Store>, disk: &DiskName, image: Option<ImageId>) -> Result<Self> {
        let lease = store.lease(&format!("deploy {disk}"))?;
        let manifest = store.chosen(disk, image)?;
        let digest = store.believed_digest(&manifest)?;
        let frames = frames(&store, &manifest, digest)?;
        let (recent, sent) = (Mutex::new(VecDeque::new()), AtomicU64::new(0));
        Ok(Self { store, manifest, digest, frames, recent, sent, _lease: lease })
    }

    /// Its id.
    pub fn id(&self) -> ImageId {
        self.manifest.id
    }

    /// The disk's digest.
    pub fn digest(&self) -> DiskDigest {
        self.digest
    }

    /// Bytes of the disk.
    pub fn size(&self) -> u64 {
        self.manifest.size
    }

    /// Bytes of a chunk.
    pub fn chunk_size(&self) -> u32 {
        self.manifest.chunk_size
    }

    /// Bytes of content that were given so far, as they were encoded.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The map from chunk `first` on, as much as goes into a part.
    pub fn map(&self, first: u64) -> Result<MapPart> {
        let total = chunk_count(self.size(), self.chunk_size());
        if first >= total {
            let what = format!("the map was asked for chunk {first}, and the disk has {total}");
            return Err(ImageError::Refused { what });
        }
        let (mut entries, mut next): (Vec<Entry>, u64) = (Vec::new(), first);
        while next < total && entries.len() < MapPart::MOST {
            let frame = self.frame_of(next)?;
            let begin = frame.partition_point(|(chunk, _)| *chunk <= next) - 1;
            for (chunk, entry) in &frame[begin..] {
                if entries.len() == MapPart::MOST {
                    break;
                }
                let end = chunk + entry.chunks();
                match (entry, entries.last_mut()) {
                    (MapEntry::Zeros(_), Some(Entry::Zeros(before))) => *before += end - next,
                    (MapEntry::Zeros(_), _) => entries.push(Entry::Zeros(end - next)),
                    (MapEntry::Chunk(digest), _) => entries.push(Entry::Chunk(*digest)),
                }
                next = end;
            }
        }
        Ok(MapPart { first, entries })
    }

    /// The contents of chunks, encoded, in the form of [`Contents`].
    pub fn contents(&self, wanted: &Wanted, control: &Control<'_>) -> Result<Vec<u8>> {
        let (size, chunk_size) = (self.size(), self.chunk_size());
        let total = chunk_count(size, chunk_size);
        if let Some(chunk) = wanted.0.iter().find(|chunk| **chunk >= total) {
            let what = format!("chunk {chunk} was asked for, and the disk has {total}");
            return Err(ImageError::Refused { what });
        }
        let bytes: u64 = wanted.0.iter().map(|chunk| chunk_len(size, chunk_size, *chunk) as u64).sum();
        if wanted.0.len() > 1 && bytes > MOST_BYTES {
            return Err(ImageError::Refused { what: format!("{bytes} bytes of chunks are too much for one request") });
        }
        let mut reader = ChunkReader::new(&self.store)?;
        let mut answer = Vec::with_capacity(bytes as usize / 2 + 64);
        Contents::begin(wanted.0.len(), &mut answer);
        for chunk in &wanted.0 {
            let digest = self.digest_of(*chunk)?;
            let place = Place { chunk: *chunk, chunk_size };
            let len = chunk_len(size, chunk_size, *chunk);
            let sent = reader.encoded(&digest, (place, len), |codec, content| {
                Contents::push(&mut answer, codec, content);
                content.len() as u64
            })?;
            control.pace(len as u64);
            self.sent.fetch_add(sent, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// The digest of one of the disk's chunks.
    fn digest_of(&self, chunk: u64) -> Result<ChunkDigest> {
        let frame = self.frame_of(chunk)?;
        match frame[frame.partition_point(|(first, _)| *first <= chunk) - 1].1 {
            MapEntry::Chunk(digest) => Ok(digest),
            MapEntry::Zeros(_) => {
                let what = format!("chunk {chunk} was asked for, and it is zeros");
                Err(ImageError::Refused { what })
            }
        }
    }

    /// The frame that tells of a chunk; each entry with the chunk that it begins at.
    fn frame_of(&self, chunk: u64) -> Result<Placed> {
        // The first frame begins at chunk 0.
        let index = self.frames.partition_point(|frame| frame.first <= chunk) - 1;
        let known = |recent: &VecDeque<(usize, Placed)>| {
            recent.iter().find(|(known, _)| *known == index).map(|(_, frame)| Arc::clone(frame))
        };
        if let Some(frame) = known(&self.recent.lock().expect("no thread panics while it looks")) {
            return Ok(frame);
        }
        let FramePlace { first, number, at } = self.frames[index];
        let mut reader = map_reader(&self.store, &self.manifest)?;
        reader.go_to(number, at)?;
        let Frame::Entries(entries) = reader.next()? else {
            return Err(ImageError::damaged(&self.store.map_path(&self.manifest.name()?, self.id()), "it has changed"));
        };
        let mut next = first;
        let placed = entries.into_iter().map(|entry| {
            next += entry.chunks();
            (next - entry.chunks(), entry)
        });
        let frame = Arc::new(placed.collect::<Vec<_>>());
        let mut recent = self.recent.lock().expect("no thread panics while it looks");
        recent.push_back((index, Arc::clone(&frame)));
        if recent.len() > RECENT {
            recent.pop_front();
        }
        Ok(frame)
    }
}

fn map_reader(store: &Store, manifest: &Manifest) -> Result<MapReader> {
    let path = store.map_path(&manifest.name()?, manifest.id);
    MapReader::open(&path, manifest.id.bytes(), store.keys.map(&manifest.id.bytes()))
}

/// Reads the whole map once: it must make the digest. Returns where its frames lie.
fn frames(store: &Store, manifest: &Manifest, promised: DiskDigest) -> Result<Vec<FramePlace>> {
    let Manifest { size, chunk_size, .. } = *manifest;
    let mut reader = map_reader(store, manifest)?;
    let mut hasher = DiskHasher::new(size, chunk_size);
    let (mut frames, mut chunk, total) = (Vec::new(), 0u64, chunk_count(size, chunk_size));
    let wrong = |what: &str| match manifest.name() {
        Ok(name) => ImageError::damaged(&store.map_path(&name, manifest.id), what),
        Err(error) => error,
    };
    loop {
        let (number, at) = (reader.number, reader.len);
        match reader.next()? {
            Frame::Entries(entries) if entries.is_empty() => {}
            Frame::Entries(entries) => {
                frames.push(FramePlace { first: chunk, number, at });
                for entry in entries {
                    chunk = chunk.saturating_add(entry.chunks());
                    if chunk > total {
                        return Err(wrong("it lists more chunks than the disk has"));
                    }
                    match entry {
                        MapEntry::Zeros(count) => hasher.zeros(count),
                        MapEntry::Chunk(digest) => hasher.chunk(&digest),
                    }
                }
            }
            Frame::Torn => return Err(wrong("it ends before its end mark")),
            Frame::End(_) if chunk == total && hasher.finish() == promised => return Ok(frames),
            Frame::End(_) => return Err(wrong("it does not make the digest that the manifest promises")),
        }
    }
}
