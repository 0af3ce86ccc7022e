//! An image as a stream: its map in disk order, its chunks decoded side by side.

use std::sync::Mutex;

use super::catalog::{ChunkReader, Place};
use super::chunk::{DiskHasher, chunk_len};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::manifest::Manifest;
use super::map::{Frame, MapEntry, MapReader};
use super::store::Store;
use crate::units::ByteCount;

/// A step of the map with the chunk that it begins at.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) chunk: u64,
    pub(super) entry: MapEntry,
}

/// A step's bytes; none for zeros.
pub(super) type Decoded = (Step, Option<Vec<u8>>);

/// Buffers that were written and can be filled again: fresh memory costs more than decoding a good part of a chunk.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// One of `len` bytes, with whatever is in it.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self.0.lock().expect("no thread panics while it takes a buffer").pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Gives one back.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        self.0.lock().expect("no thread panics while it gives a buffer").push(buffer);
    }
}

/// Decoded bytes in flight.
const WINDOW_BYTES: u64 = 64 << 20;
/// An image that is read.
#[derive(Clone, Copy)]
pub(super) struct Stream<'a> {
    pub(super) store: &'a Store,
    pub(super) manifest: &'a Manifest,
    pub(super) control: &'a Control<'a>,
}

impl Stream<'_> {
    /// Streams the map through `select` to threads and on to `sink`, and proves that the map makes the digest that the
    /// manifest promises.
    pub(super) fn steps<R: Send>(
        &self,
        mut select: impl FnMut(Step) -> Option<Step> + Send,
        work: impl Fn(&mut ChunkReader<'_>, Step) -> Result<R> + Sync,
        sink: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let Manifest { id, size, chunk_size, .. } = *self.manifest;
        let path = self.store.map_path(&self.manifest.name()?, id);
        let mut frames = MapReader::open(&path, id.bytes(), self.store.keys.map(&id.bytes()))?;
        let mut hasher = Some(DiskHasher::new(size, chunk_size));
        let (mut chunk, total) = (0u64, self.manifest.data_chunks + self.manifest.zero_chunks);
        let promised = self.store.believed_digest(self.manifest)?;
        let (mut entries, mut stopped) = (Vec::new().into_iter(), false);
        let wrong = |what: &str| ImageError::damaged(&path, what);
        let next = || loop {
            if self.control.stopped() {
                stopped = true;
                return Ok(None);
            }
            if let Some(entry) = entries.next() {
                let step = Step { chunk, entry };
                chunk = chunk.saturating_add(entry.chunks());
                let Some(hasher) = hasher.as_mut().filter(|_| chunk <= total) else {
                    return Err(wrong("it lists more chunks than the disk has"));
                };
                match entry {
                    MapEntry::Zeros(count) => hasher.zeros(count),
                    MapEntry::Chunk(digest) => hasher.chunk(&digest),
                }
                match select(step) {
                    Some(step) => return Ok(Some(step)),
                    None => continue,
                }
            }
            match frames.next()? {
                Frame::Entries(more) => entries = more.into_iter(),
                Frame::Torn => return Err(wrong("it ends before its end mark")),
                Frame::End(end) => {
                    let computed = hasher.take().map(DiskHasher::finish);
                    return match end.digest == promised
                        && computed == Some(promised)
                        && chunk == total
                        && end.size == size
                    {
                        true => Ok(None),
                        false => Err(wrong("it does not make the digest that the manifest promises")),
                    };
                }
            }
        };
        let window = (WINDOW_BYTES / u64::from(chunk_size)).max(4) as usize;
        fan(self.control.thread_count(), window, next, || ChunkReader::new(self.store), work, sink)?;
        match stopped {
            true => Err(ImageError::Stopped { done: ByteCount(self.offset(chunk)), total: ByteCount(size) }),
            false => Ok(()),
        }
    }

    /// A step's bytes, proved to be what was captured.
    pub(super) fn decode(&self, reader: &mut ChunkReader<'_>, buffers: &Buffers, step: Step) -> Result<Decoded> {
        let MapEntry::Chunk(digest) = step.entry else { return Ok((step, None)) };
        let len = chunk_len(self.manifest.size, self.manifest.chunk_size, step.chunk);
        self.control.pace(len as u64);
        let mut bytes = buffers.take(len);
        reader.read(&digest, self.place(step.chunk), &mut bytes)?;
        Ok((step, Some(bytes)))
    }

    pub(super) fn place(&self, chunk: u64) -> Place {
        Place { chunk, chunk_size: self.manifest.chunk_size }
    }

    /// Where a chunk begins.
    pub(super) fn offset(&self, chunk: u64) -> u64 {
        chunk.saturating_mul(self.manifest.chunk_size.into()).min(self.manifest.size)
    }
}
