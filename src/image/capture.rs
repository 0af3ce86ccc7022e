//! Capture: a source disk becomes an image. What is stored is never stored again; what a killed capture has stored is
//! found by the next one; with an unchanged source not even reading is repeated.

use std::path::{Path, PathBuf};

use super::append::Appender;
use super::checkpoint::Checkpoints;
use super::chunk::{ChunkDigest, DiskDigest, DiskHasher, chunk_count, chunk_len, is_zero};
use super::codec::{Compression, Encoder};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::format::{DiskReader, ImageFormat, open_source};
use super::lock::lock_file;
use super::manifest::{self, ImageId, Manifest, SourceRecord, Unfinished};
use super::map::{Frame, MapEnd, MapEntry, MapReader, MapWriter};
use super::name::DiskName;
use super::pack::Record;
use super::seal::OVERHEAD;
use super::store::Store;
use super::walk::{Piece, Walk};
use crate::device;
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

/// Whether the source that `identity` describes is captured.
pub fn capture_state(store: &Store, disk: &DiskName, identity: &str) -> Result<CaptureState> {
    for id in store.image_ids(disk)?.into_iter().rev() {
        if store.manifest(disk, id)?.source.identity == identity {
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

fn drop_unfinished(store: &Store, disk: &DiskName, id: ImageId) -> Result<()> {
    // A finished image may still have its partial record, if the last step was cut off: then the map is the image's.
    if !store.manifest_path(disk, id).exists() {
        remove(&store.map_path(disk, id))?;
    }
    remove(&store.unfinished_path(disk, id))
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::file("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Whether an equal record proves equal content: a file's time stamp does, a device's serial number does not. Of a disk
/// in an agent the path does: it names the boot, and from then on nobody could write the disk.
fn proves_content(identity: &str) -> bool {
    identity.starts_with("file ") || identity.starts_with("agent ")
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

    let identity = device::identity(path).map_err(ImageError::file("looking at", path))?;
    if let Some(expected) = &request.identity
        && *expected != identity
    {
        return Err(changed(path, expected, identity));
    }
    if proves_content(&identity)
        && let CaptureState::Complete(id) = capture_state(store, disk, &identity)?
    {
        return present(store, disk, id);
    }
    let reader = open_source(path, request.format)?;
    let appender = Appender::new(store)?;
    let source = SourceRecord { path: path.clone(), format: request.format.name().into(), identity };
    let mut begun = match resume(store, disk, &source, reader.size())? {
        Some(begun) => begun,
        None => begin(store, disk, &source, reader.size())?,
    };
    let job = Job { store, request, source: &source, reader: &*reader, appender: &appender, control };
    let id = begun.id;
    job.read(&mut begun).and_then(|read| job.finish(begun, read)).inspect_err(|error| {
        // What was read belongs to two states of the source: nobody may go on from there. The chunks stay.
        if matches!(error, ImageError::SourceChanged { .. } | ImageError::SourceShrank { .. }) {
            let _ = drop_unfinished(store, disk, id);
        }
    })
}

fn changed(path: &Path, expected: &str, found: String) -> ImageError {
    ImageError::SourceChanged { path: path.to_owned(), expected: expected.to_owned(), found }
}

fn present(store: &Store, disk: &DiskName, id: ImageId) -> Result<CaptureReport> {
    let manifest = store.manifest(disk, id)?;
    let digest = store
        .digest(&manifest)
        .ok_or_else(|| ImageError::damaged(&store.manifest_path(disk, id), "its digest does not authenticate"))?;
    Ok(CaptureReport { id, digest, size: manifest.size, read: 0, stored: 0, resumed: manifest.size, present: true })
}

/// A capture that is under way.
pub(super) struct Begun {
    pub(super) id: ImageId,
    pub(super) hasher: DiskHasher,
    /// Chunks done, in disk order.
    pub(super) done: u64,
    pub(super) data_chunks: u64,
    /// Chunks done when this run began.
    pub(super) resumed: u64,
    pub(super) map: MapWriter,
}

pub(super) fn begin(store: &Store, disk: &DiskName, source: &SourceRecord, size: u64) -> Result<Begun> {
    let (id, chunk_size) = (ImageId::new(), store.settings().chunk_size);
    for old in store.unfinished(disk)? {
        drop_unfinished(store, disk, old)?;
    }
    let record = Unfinished {
        format: manifest::FORMAT,
        id,
        machine: disk.machine().into(),
        disk: disk.disk().into(),
        size,
        chunk_size,
        source: source.clone(),
        mac: String::new(),
    };
    let map = MapWriter::create(&store.map_path(disk, id), id.bytes(), store.keys.map(&id.bytes()))?;
    manifest::write(&store.unfinished_path(disk, id), &record, &store.keys)?;
    Ok(Begun { id, hasher: DiskHasher::new(size, chunk_size), done: 0, data_chunks: 0, resumed: 0, map })
}

/// Goes on with a capture of the same, unchanged source. Whatever does not fit is dropped: its chunks are in the store.
pub(super) fn resume(store: &Store, disk: &DiskName, source: &SourceRecord, size: u64) -> Result<Option<Begun>> {
    let Some(id) = store.unfinished(disk)?.pop() else { return Ok(None) };
    let chunk_size = store.settings().chunk_size;
    let Ok(record) = store.read_unfinished(disk, id) else { return Ok(None) };
    let same = record.source == *source && record.size == size && record.chunk_size == chunk_size && record.id == id;
    if !same || !proves_content(&source.identity) || store.manifest_path(disk, id).exists() {
        return Ok(None);
    }
    let (path, key) = (store.map_path(disk, id), || store.keys.map(&id.bytes()));
    let Ok(mut frames) = MapReader::open(&path, id.bytes(), key()) else { return Ok(None) };
    let mut hasher = DiskHasher::new(size, chunk_size);
    let (mut done, mut data_chunks) = (0u64, 0);
    let catalog = store.catalog.read().expect("no thread panics while it holds the catalog");
    let (number, len) = loop {
        let before = (frames.number, frames.len);
        // A damaged frame ends the resumable part like a torn one does.
        let Ok(Frame::Entries(entries)) = frames.next() else { break before };
        // So does a frame whose chunks got lost since.
        let there = |entry: &MapEntry| match entry {
            MapEntry::Zeros(_) => true,
            MapEntry::Chunk(digest) => catalog.has(&digest.id(&store.keys.ids)),
        };
        let chunks = entries.iter().fold(done, |sum, entry| sum.saturating_add(entry.chunks()));
        if chunks > chunk_count(size, chunk_size) || !entries.iter().all(there) {
            break before;
        }
        for entry in &entries {
            match entry {
                MapEntry::Zeros(count) => hasher.zeros(*count),
                MapEntry::Chunk(digest) => {
                    hasher.chunk(digest);
                    data_chunks += 1;
                }
            }
        }
        done = chunks;
    };
    drop(catalog);
    let map = MapWriter::resume(&path, id.bytes(), key(), number, len)?;
    Ok(Some(Begun { id, hasher, done, data_chunks, resumed: done, map }))
}

struct Job<'a> {
    store: &'a Store,
    request: &'a CaptureRequest,
    source: &'a SourceRecord,
    reader: &'a dyn DiskReader,
    appender: &'a Appender<'a>,
    control: &'a Control<'a>,
}

/// One thread's buffers.
struct Worker {
    content: Vec<u8>,
    sealed: Vec<u8>,
    encoder: Encoder,
}

/// A piece's outcome: entries of the map, and bytes read for it.
type Outcome = (Vec<MapEntry>, u64);

/// Pieces that may be between reading and the map; results are small, so this bounds time rather than memory.
const WINDOW: usize = 128;

impl Job<'_> {
    /// Reads what is not done; returns bytes read. Whatever happens, what was done in order is checkpointed.
    fn read(&self, begun: &mut Begun) -> Result<u64> {
        let (size, chunk_size) = (self.reader.size(), self.store.settings().chunk_size);
        let mut walk = Walk::new(self.reader, chunk_size, begun.done);
        let mut checkpoints = Checkpoints::new(self.appender, &mut begun.map);
        let (hasher, done, data_chunks) = (&mut begun.hasher, &mut begun.done, &mut begun.data_chunks);
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
            |(entries, bytes): Outcome| {
                for entry in &entries {
                    match entry {
                        MapEntry::Zeros(count) => hasher.zeros(*count),
                        MapEntry::Chunk(digest) => {
                            hasher.chunk(digest);
                            *data_chunks += 1;
                        }
                    }
                    *done += entry.chunks();
                }
                read += bytes;
                let reached = (*done * u64::from(chunk_size)).min(size);
                if checkpoints.add(entries, bytes)? {
                    self.check_source()?;
                }
                self.control.tick(reached, size);
                Ok(())
            },
        );
        let kept = checkpoints.write();
        outcome.and(kept)?;
        let (reached, total) = (begun.done, chunk_count(size, chunk_size));
        if reached < total {
            return Err(ImageError::Stopped {
                done: ByteCount(reached * u64::from(chunk_size)),
                total: ByteCount(size),
            });
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
        let (first, count) = match piece {
            Piece::Zeros { count } => return Ok((vec![MapEntry::Zeros(count)], 0)),
            Piece::Read { first, count } => (first, count),
        };
        let (size, chunk_size) = (self.reader.size(), self.store.settings().chunk_size);
        let offset = first * u64::from(chunk_size);
        let len = (size - offset).min(count * u64::from(chunk_size));
        self.control.pace(len);
        worker.content.resize(len as usize, 0);
        self.reader.read_at(&mut worker.content, offset).map_err(|error| self.read_error(error))?;
        let mut entries = Vec::with_capacity(count as usize);
        for index in 0..count {
            let start = index as usize * chunk_size as usize;
            let content = &worker.content[start..start + chunk_len(size, chunk_size, first + index)];
            entries.push(match is_zero(content) {
                true => MapEntry::Zeros(1),
                false => MapEntry::Chunk(self.store_chunk(&mut worker.encoder, &mut worker.sealed, content)?),
            });
        }
        Ok((entries, len))
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

    /// A read past the end means that the source shrank.
    fn read_error(&self, error: std::io::Error) -> ImageError {
        let path = &self.request.source;
        let shrank = match error.kind() == std::io::ErrorKind::UnexpectedEof {
            true => open_source(path, self.request.format).map(|now| now.size()).ok(),
            false => None,
        };
        match shrank.filter(|now| *now < self.reader.size()) {
            Some(found) => ImageError::SourceShrank { path: path.clone(), expected: self.reader.size(), found },
            None => ImageError::file("reading", path)(error),
        }
    }

    /// The source must be at the end what it was at the begin; otherwise the image would mix two states.
    fn check_source(&self) -> Result<()> {
        let path = &self.request.source;
        let now = device::identity(path).map_err(ImageError::file("looking at", path))?;
        if now == self.source.identity {
            return Ok(());
        }
        if let Ok(again) = open_source(path, self.request.format)
            && again.size() < self.reader.size()
        {
            return Err(ImageError::SourceShrank {
                path: path.clone(),
                expected: self.reader.size(),
                found: again.size(),
            });
        }
        Err(changed(path, &self.source.identity, now))
    }

    /// Ends the map, then writes the manifest: only then is there an image.
    fn finish(&self, begun: Begun, read: u64) -> Result<CaptureReport> {
        self.check_source()?;
        let Begun { id, hasher, done, data_chunks, resumed, map } = begun;
        let (size, chunk_size, disk) = (self.reader.size(), self.store.settings().chunk_size, &self.request.disk);
        let digest = hasher.finish();
        map.finish(&MapEnd { size, chunks: done, digest }, chunk_size)?;
        let stored = self.appender.stored();
        let manifest = Manifest {
            format: manifest::FORMAT,
            id,
            machine: disk.machine().into(),
            disk: disk.disk().into(),
            size,
            chunk_size,
            data_chunks,
            zero_chunks: done - data_chunks,
            stored_bytes: stored,
            captured: jiff::Timestamp::now().to_string(),
            tool: concat!("replant ", env!("CARGO_PKG_VERSION")).into(),
            source: self.source.clone(),
            sealed_digest: Manifest::seal_digest(&self.store.keys, id, &digest),
            mac: String::new(),
        };
        manifest::write(&self.store.manifest_path(disk, id), &manifest, &self.store.keys)?;
        remove(&self.store.unfinished_path(disk, id))?;
        let resumed = (resumed * u64::from(chunk_size)).min(size);
        Ok(CaptureReport { id, digest, size, read, stored, resumed, present: false })
    }
}
