//! An image as a stream: its map in disk order, cut into runs that are worth one write, their chunks decoded side by side.

use std::sync::Mutex;

use super::catalog::{ChunkReader, Place};
use super::chunk::{ChunkDigest, DiskHasher};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::manifest::Manifest;
use super::map::{Frame, MapEntry, MapReader};
use super::store::Store;
use crate::device::PageBuffer;
use crate::units::ByteCount;

/// A step of the map with the chunk that it begins at.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) chunk: u64,
    pub(super) entry: MapEntry,
}

/// Steps that follow one another on the disk and are worked on at once.
pub(super) struct Run {
    /// The first chunk.
    pub(super) chunk: u64,
    pub(super) content: Content,
}

/// What a run consists of.
pub(super) enum Content {
    /// So many chunks of zeros.
    Zeros(u64),
    /// Chunks of data.
    Data(Vec<ChunkDigest>),
}

impl Run {
    /// A run that goes on with whatever fits.
    pub(super) fn of(step: Step) -> Self {
        let content = match step.entry {
            MapEntry::Zeros(count) => Content::Zeros(count),
            MapEntry::Chunk(digest) => Content::Data(vec![digest]),
        };
        Self { chunk: step.chunk, content }
    }

    /// The chunk after the last.
    pub(super) fn end(&self) -> u64 {
        self.chunk.saturating_add(match &self.content {
            Content::Zeros(count) => *count,
            Content::Data(digests) => digests.len() as u64,
        })
    }

    /// Takes in the next step, if it continues this run's data.
    fn extend(&mut self, step: Step) -> Option<Step> {
        let end = self.end();
        match (&mut self.content, step.entry) {
            (Content::Data(digests), MapEntry::Chunk(digest)) if step.chunk == end => {
                digests.push(digest);
                None
            }
            _ => Some(step),
        }
    }
}

/// A run's bytes; none for zeros.
pub(super) type Decoded = (Run, Option<PageBuffer>);

/// Buffers that were written and can be filled again: fresh memory costs more than decoding a good part of a chunk.
#[derive(Default)]
pub(super) struct Buffers(Mutex<Vec<PageBuffer>>);

impl Buffers {
    /// One of `len` bytes, with whatever is in it.
    pub(super) fn take(&self, len: usize) -> PageBuffer {
        let mut buffer = self.0.lock().expect("no thread panics while it takes a buffer").pop().unwrap_or_default();
        buffer.resize(len);
        buffer
    }

    /// Gives one back.
    pub(super) fn give(&self, buffer: PageBuffer) {
        self.0.lock().expect("no thread panics while it gives a buffer").push(buffer);
    }
}

/// Decoded bytes in flight.
const WINDOW_BYTES: u64 = 64 << 20;
/// Bytes of a run of data: a disk wants long writes.
const RUN_BYTES: u64 = 4 << 20;

/// An image that is read.
#[derive(Clone, Copy)]
pub(super) struct Stream<'a> {
    pub(super) store: &'a Store,
    pub(super) manifest: &'a Manifest,
    pub(super) control: &'a Control<'a>,
}

impl Stream<'_> {
    /// Streams the map through `select` to threads and on to `sink`, and proves that the map makes the digest that the
    /// manifest promises. `waiting` more threads than usual make up for those that wait for a disk.
    pub(super) fn runs<R: Send>(
        &self,
        waiting: usize,
        mut select: impl FnMut(Step) -> Option<Step> + Send,
        work: impl Fn(&mut ChunkReader<'_>, Run) -> Result<R> + Sync,
        sink: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let Manifest { id, size, chunk_size, .. } = *self.manifest;
        let path = self.store.map_path(&self.manifest.name()?, id);
        let mut frames = MapReader::open(&path, id.bytes(), self.store.keys.map(&id.bytes()))?;
        let mut hasher = Some(DiskHasher::new(size, chunk_size));
        let (mut chunk, total) = (0u64, self.manifest.data_chunks + self.manifest.zero_chunks);
        let promised = self.store.believed_digest(self.manifest)?;
        let (mut entries, mut stopped, mut ended) = (Vec::new().into_iter(), false, false);
        let wrong = |what: &str| ImageError::damaged(&path, what);
        let mut step = || loop {
            if ended || self.control.stopped() {
                stopped |= !ended;
                ended = true;
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
                    ended = true;
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
        // The step that did not fit into the last run.
        let mut left = None;
        let most = self.most();
        let next = || {
            let first = match left.take() {
                Some(step) => Some(step),
                None => step()?,
            };
            let Some(first) = first else { return Ok(None) };
            let mut run = Run::of(first);
            while left.is_none() && run.end() - run.chunk < most && matches!(run.content, Content::Data(_)) {
                match step()? {
                    Some(step) => left = run.extend(step),
                    None => break,
                }
            }
            Ok(Some(run))
        };
        let window = (WINDOW_BYTES / (most * u64::from(chunk_size))).max(4) as usize;
        fan(self.control.thread_count() + waiting, window, next, || ChunkReader::new(self.store), work, sink)?;
        match stopped {
            true => Err(ImageError::Stopped { done: ByteCount(self.offset(chunk)), total: ByteCount(size) }),
            false => Ok(()),
        }
    }

    /// Chunks of data in one run.
    fn most(&self) -> u64 {
        (RUN_BYTES / u64::from(self.manifest.chunk_size)).max(1)
    }

    /// Makes runs of steps that were kept.
    pub(super) fn joined(&self, steps: Vec<Step>) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for step in steps {
            let rest = match runs.last_mut().filter(|run| run.end() - run.chunk < self.most()) {
                Some(run) => run.extend(step),
                None => Some(step),
            };
            runs.extend(rest.map(Run::of));
        }
        runs
    }

    /// A run's bytes, proved to be what was captured.
    pub(super) fn decode(&self, reader: &mut ChunkReader<'_>, buffers: &Buffers, run: Run) -> Result<Decoded> {
        let Content::Data(digests) = &run.content else { return Ok((run, None)) };
        let mut bytes = buffers.take((self.offset(run.end()) - self.offset(run.chunk)) as usize);
        let parts = bytes.chunks_mut(self.manifest.chunk_size as usize);
        for ((chunk, digest), part) in (run.chunk..).zip(digests).zip(parts) {
            self.control.pace(part.len() as u64);
            reader.read(digest, self.place(chunk), part)?;
        }
        Ok((run, Some(bytes)))
    }

    pub(super) fn place(&self, chunk: u64) -> Place {
        Place { chunk, chunk_size: self.manifest.chunk_size }
    }

    /// Where a chunk begins.
    pub(super) fn offset(&self, chunk: u64) -> u64 {
        chunk.saturating_mul(self.manifest.chunk_size.into()).min(self.manifest.size)
    }
}
