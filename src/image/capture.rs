//! Capture: a source disk becomes an image. What is stored is never stored again; what a killed capture has stored is
//! found by the next one; with an unchanged source not even reading is repeated.

use std::ops::Range;
use std::path::PathBuf;

use super::append::Appender;
use super::begun::{Begun, Finished, begin, drop_unfinished, proves_content, resume};
use super::checkpoint::Checkpoints;
use super::chunk::{ChunkDigest, DiskDigest, chunk_count, is_zero};
use super::codec::{Compression, Encoder};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::format::source_identity;
use super::lock::lock_file;
use super::manifest::{ImageId, Manifest, SourceRecord};
use super::map::MapEntry;
use super::name::DiskName;
use super::pack::Record;
use super::seal::OVERHEAD;
use super::source::{ReadPlan, Reading, Source, changed};
use super::store::Store;
use super::walk::{Piece, Walk};
use crate::hardware::DiskFormat as ImageFormat;
use crate::units::ByteCount;

/// What to capture.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// Whose disk.
    pub disk: DiskName,
    /// Where it is.
    pub source: PathBuf,
    /// Its format.
    pub format: ImageFormat,
    /// What it must be; `None` takes what is there.
    pub identity: Option<String>,
    /// How chunks are stored.
    pub compression: Compression,
    /// What is read of it.
    pub read: ReadPlan,
}

/// What a capture did.
#[derive(Clone, Debug)]
pub struct CaptureReport {
    /// The image.
    pub id: ImageId,
    /// The disk's digest.
    pub digest: DiskDigest,
    /// Bytes of the logical disk.
    pub size: u64,
    /// Bytes read by this run.
    pub read: u64,
    /// Bytes added to the store by this run.
    pub stored: u64,
    /// Bytes of the disk that an earlier, cut-off run had done.
    pub resumed: u64,
    /// Whether the image was there already, so that nothing was done.
    pub present: bool,
    /// How the source was read.
    pub reading: Reading,
}

/// Where the capture of a disk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureState {
    /// There is a finished image.
    Complete(ImageId),
    /// A capture was begun.
    Partial,
    /// Nothing is there.
    Absent,
}

/// Whether the source that `identity` describes is captured, with all that `plan` asks for.
pub fn capture_state(store: &Store, disk: &DiskName, identity: &str, plan: ReadPlan) -> Result<CaptureState> {
    for id in store.image_ids(disk)?.into_iter().rev() {
        let manifest = store.manifest(disk, id)?;
        if manifest.source.identity == identity && plan.is_satisfied_by(&manifest.reading) {
            return Ok(CaptureState::Complete(id));
        }
    }
    Ok(match store.unfinished(disk)?.is_empty() {
        true => CaptureState::Absent,
        false => CaptureState::Partial,
    })
}

/// Drops a disk's unfinished captures; finished images stay. Returns how many there were.
pub fn discard(store: &Store, disk: &DiskName) -> Result<usize> {
    let folder = store.disk_folder(disk);
    if !folder.is_dir() {
        return Ok(0);
    }
    let _lock = lock_file(&folder.join("lock"), &format!("the capture of {disk}"))?;
    let unfinished = store.unfinished(disk)?;
    unfinished.iter().try_for_each(|id| drop_unfinished(store, disk, *id))?;
    Ok(unfinished.len())
}

/// Captures a disk. Run again after any interruption, it goes on where it stopped.
pub fn capture(store: &Store, request: &CaptureRequest, control: &Control<'_>) -> Result<CaptureReport> {
    run(store, request, control).map_err(ImageError::of("capture", &request.disk))
}

fn run(store: &Store, request: &CaptureRequest, control: &Control<'_>) -> Result<CaptureReport> {
    let CaptureRequest { disk, source: path, .. } = request;
    let _lease = store.lease(&format!("capture {disk}"))?;
    let folder = store.disk_folder(disk);
    std::fs::create_dir_all(&folder).map_err(ImageError::file("creating", &folder))?;
    let _lock = lock_file(&folder.join("lock"), &format!("the capture of {disk}"))?;

    let identity = source_identity(path, request.format).map_err(ImageError::file("looking at", path))?;
    if let Some(expected) = &request.identity
        && *expected != identity
    {
        return Err(changed(path, expected, identity));
    }
    if proves_content(&identity)
        && let CaptureState::Complete(id) = capture_state(store, disk, &identity, request.read)?
        // Of a damaged store a finished image may miss chunks: the source is read again, and they come back.
        && store.is_whole(disk, id)?
    {
        return present(store, disk, id);
    }
    let record = SourceRecord { path: path.clone(), format: request.format.name().into(), identity };
    let source = Source::open(path, request.format, request.read, &record)?;
    let appender = Appender::new(store)?;
    let mut begun = match resume(store, disk, &source.origin(), request.read)? {
        Some(begun) => begun,
        None => begin(store, disk, &source.origin())?,
    };
    let job = Job { store, request, source: &source, appender: &appender, control };
    let id = begun.id;
    job.read(&mut begun).and_then(|read| job.finish(begun, read)).inspect_err(|error| {
        // What was read belongs to two states of the source: nobody may go on from there. The chunks stay.
        if matches!(error, ImageError::SourceChanged { .. } | ImageError::SourceShrank { .. }) {
            let _ = drop_unfinished(store, disk, id);
        }
    })
}

fn present(store: &Store, disk: &DiskName, id: ImageId) -> Result<CaptureReport> {
    let manifest = store.manifest(disk, id)?;
    let digest = store
        .digest(&manifest)
        .ok_or_else(|| ImageError::damaged(&store.manifest_path(disk, id), "its digest does not authenticate"))?;
    let (size, reading) = (manifest.size, manifest.reading);
    Ok(CaptureReport { id, digest, size, read: 0, stored: 0, resumed: size, present: true, reading })
}

struct Job<'a> {
    store: &'a Store,
    request: &'a CaptureRequest,
    source: &'a Source<'a>,
    appender: &'a Appender<'a>,
    control: &'a Control<'a>,
}

/// One thread's buffers.
struct Worker {
    content: Vec<u8>,
    sealed: Vec<u8>,
    encoder: Encoder,
}

/// A piece's outcome.
struct Outcome {
    entries: Vec<MapEntry>,
    /// Bytes read for it.
    read: u64,
    unreadable: Vec<Range<u64>>,
}

/// Pieces that may be between reading and the map; results are small, so this bounds time rather than memory.
const WINDOW: usize = 128;

impl Job<'_> {
    /// Reads what is not done; returns bytes read. Whatever happens, what was done in order is checkpointed.
    fn read(&self, begun: &mut Begun) -> Result<u64> {
        let (size, chunk_size) = (self.source.size(), self.store.settings().chunk_size);
        let mut walk = Walk::new(&*self.source.disk, chunk_size, begun.done);
        let mut checkpoints = Checkpoints::new(self.appender);
        let mut read = 0;
        let outcome = fan(
            self.control.thread_count(),
            WINDOW,
            || match self.control.stopped() {
                true => Ok(None),
                false => walk.next().map_err(ImageError::file("reading the map of", &self.request.source)),
            },
            || self.worker(),
            |worker, piece| self.piece(worker, piece),
            |outcome: Outcome| {
                begun.add(&outcome.entries);
                read += outcome.read;
                if !outcome.unreadable.is_empty() {
                    begun.note_unreadable(self.store, outcome.unreadable)?;
                    self.source.check_unreadable(&begun.record.reading)?;
                }
                if checkpoints.add(&mut begun.map, outcome.entries, outcome.read)? {
                    self.source.check_unchanged()?;
                }
                self.control.tick(begun.reached(), size);
                Ok(())
            },
        );
        let kept = checkpoints.write(&mut begun.map);
        outcome.and(kept)?;
        if begun.done < chunk_count(size, chunk_size) {
            return Err(ImageError::Stopped { done: ByteCount(begun.reached()), total: ByteCount(size) });
        }
        Ok(read)
    }

    fn worker(&self) -> Result<Worker> {
        let chunk_size = self.store.settings().chunk_size;
        let encoder = Encoder::new(self.request.compression, chunk_size)
            .map_err(ImageError::file("preparing to store in", self.store.root()))?;
        Ok(Worker { content: Vec::new(), sealed: Vec::with_capacity(chunk_size as usize + OVERHEAD), encoder })
    }

    fn piece(&self, worker: &mut Worker, piece: Piece) -> Result<Outcome> {
        let (first, count, cached) = match piece {
            Piece::Zeros { count } => {
                return Ok(Outcome { entries: vec![MapEntry::Zeros(count)], read: 0, unreadable: Vec::new() });
            }
            Piece::Read { first, count, cached } => (first, count, cached),
        };
        let (size, chunk_size) = (self.source.size(), self.store.settings().chunk_size);
        let offset = first * u64::from(chunk_size);
        let len = (size - offset).min(count * u64::from(chunk_size));
        self.control.pace(len);
        // What was just read is still in the processor's cache when it is hashed, if that follows at once.
        let step = match self.source.disk.reads_cheaply() {
            true => chunk_size as usize,
            false => len as usize,
        };
        let (mut entries, mut unreadable) = (Vec::with_capacity(count as usize), Vec::new());
        for start in (offset..offset + len).step_by(step) {
            worker.content.resize((offset + len - start).min(step as u64) as usize, 0);
            unreadable.extend(self.source.read(&mut worker.content, start)?);
            for content in worker.content.chunks(chunk_size as usize) {
                entries.push(match is_zero(content) {
                    true => MapEntry::Zeros(1),
                    false => MapEntry::Chunk(self.store_chunk(&mut worker.encoder, &mut worker.sealed, content)?),
                });
            }
        }
        if !cached {
            self.source.disk.drop_cache(offset, len);
        }
        Ok(Outcome { entries, read: len, unreadable })
    }

    fn store_chunk(&self, encoder: &mut Encoder, sealed: &mut Vec<u8>, content: &[u8]) -> Result<ChunkDigest> {
        let digest = ChunkDigest::of(content);
        let id = digest.id(&self.store.keys.ids);
        if self.appender.has(&id) {
            return Ok(digest);
        }
        let (codec, encoded) =
            encoder.encode(content).map_err(ImageError::file("compressing for", self.store.root()))?;
        let mut record = Record { id, codec, plain: content.len() as u32, stored: 0 };
        sealed.clear();
        self.store.keys.chunk(&id).seal(&record.place(), encoded, sealed);
        record.stored = sealed.len() as u32;
        self.appender.append(&record, sealed)?;
        Ok(digest)
    }

    /// Ends the map, then writes the manifest: only then is there an image.
    fn finish(&self, begun: Begun, read: u64) -> Result<CaptureReport> {
        self.source.check_unchanged()?;
        let stored = self.appender.stored();
        let Finished { manifest, digest, resumed } = begun.finish(self.store, &self.request.disk, stored)?;
        let Manifest { id, size, reading, .. } = manifest;
        Ok(CaptureReport { id, digest, size, read, stored, resumed, present: false, reading })
    }
}
