//! The store's side: batches from a disk elsewhere become an image.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::image::append::Appender;
use crate::image::begun::{Begun, Finished, begin, resume};
use crate::image::chunk::{ChunkDigest, DiskDigest, chunk_count, chunk_len};
use crate::image::codec::{Codec, Decoder};
use crate::image::error::{ImageError, Result};
use crate::image::lock::{Lease, lock_file};
use crate::image::manifest::{ImageId, SourceRecord};
use crate::image::map::MapEntry;
use crate::image::name::DiskName;
use crate::image::pack::Record;
use crate::image::source::{Live, OnReadError, Origin, ReadPlan, Reading, check_unreadable};
use crate::image::store::Store;

use super::batch::{Batch, BatchAnswer, Content, Entry};

/// Which disk is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSource {
    /// The machine and the disk's name in the store.
    pub disk: DiskName,
    /// Where it is: device and path, and what changes whenever its content may have changed. A capture goes on where an
    /// earlier one stopped only if this is the same.
    pub place: String,
    /// What the plan knows the disk by.
    pub identity: String,
    /// Bytes of the disk.
    pub size: u64,
    /// What about bytes that the medium does not give.
    pub on_read_error: OnReadError,
}

/// What a remote capture did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteReport {
    /// The image.
    pub id: ImageId,
    /// The disk's digest.
    pub digest: DiskDigest,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes added to the store.
    pub stored: u64,
    /// Bytes of content that came, as they were encoded.
    pub received: u64,
    /// Bytes of it that the store had already.
    pub repeated: u64,
    /// Bytes of the disk that an earlier, cut-off capture had done.
    pub resumed: u64,
    /// Bytes that the medium did not give; the image has zeros there and names them.
    pub unreadable: u64,
}

/// Chunks that may lie between the oldest unanswered batch and the newest.
const WINDOW: u64 = 16_384;
/// When progress is made durable.
const EVERY_BYTES: u64 = 256 << 20;
const EVERY: Duration = Duration::from_secs(2);

/// A capture under way; shared by threads.
pub struct RemoteCapture {
    store: Arc<Store>,
    disk: DiskName,
    size: u64,
    on_read_error: OnReadError,
    appender: Appender<'static>,
    progress: Mutex<Progress>,
    /// Held by whoever makes progress durable.
    durable: Mutex<()>,
    /// Buffers that no batch uses now.
    spare: Mutex<Vec<Worker>>,
    received: AtomicU64,
    repeated: AtomicU64,
    _lock: std::fs::File,
    _lease: Lease,
}

/// One batch's buffers.
struct Worker {
    decoder: Decoder,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

struct Progress {
    /// `None` once the image is finished.
    begun: Option<Begun>,
    /// Batches that came before their turn.
    parked: BTreeMap<u64, Vec<MapEntry>>,
    /// Entries that are not durable yet.
    waiting: Vec<MapEntry>,
    bytes: u64,
    last: Instant,
}

impl RemoteCapture {
    /// Begins a capture, or goes on with one.
    pub fn open(store: Arc<Store>, source: RemoteSource) -> Result<Self> {
        let RemoteSource { disk, place, identity, size, on_read_error } = source;
        let lease = store.lease(&format!("capture {disk}"))?;
        let folder = store.disk_folder(&disk);
        std::fs::create_dir_all(&folder).map_err(ImageError::file("creating", &folder))?;
        let lock = lock_file(&folder.join("lock"), &format!("the capture of {disk}"))?;
        let appender = Appender::shared(Arc::clone(&store))?;
        let source = SourceRecord { path: PathBuf::from(place), format: "raw".into(), identity };
        let reading = Reading::whole();
        let origin = Origin { record: &source, size, reading: &reading, ranges: blake3::hash(b"") };
        let plan = ReadPlan { mode: reading.mode, on_error: on_read_error };
        let begun = match resume(&store, &disk, &origin, plan)? {
            Some(begun) => begun,
            None => begin(&store, &disk, &origin)?,
        };
        let progress = Progress {
            begun: Some(begun),
            parked: BTreeMap::new(),
            waiting: Vec::new(),
            bytes: 0,
            last: Instant::now(),
        };
        Ok(Self {
            store,
            disk,
            size,
            on_read_error,
            appender,
            progress: Mutex::new(progress),
            durable: Mutex::new(()),
            spare: Mutex::default(),
            received: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            _lock: lock,
            _lease: lease,
        })
    }

    /// Bytes of a chunk.
    pub fn chunk_size(&self) -> u32 {
        self.store.settings().chunk_size
    }

    /// The first chunk that is not done.
    pub fn next_chunk(&self) -> u64 {
        let progress = self.progress.lock().expect("no thread panics while it counts");
        progress.begun.as_ref().map_or(chunk_count(self.size, self.chunk_size()), |begun| begun.done)
    }

    /// Bytes of the disk that are done, and all of them.
    pub fn reached(&self) -> (u64, u64) {
        ((self.next_chunk() * u64::from(self.chunk_size())).min(self.size), self.size)
    }

    /// Bytes of content that came so far, and bytes of it that the store had already.
    pub fn traffic(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.repeated.load(Ordering::Relaxed))
    }

    /// Takes a batch. Contents that are not what they are said to be are an error; nothing of them is kept.
    pub fn take(&self, batch: &Batch<'_>) -> Result<BatchAnswer> {
        let refused = |what: String| Err(ImageError::Refused { what });
        let (total, next) = (chunk_count(self.size, self.chunk_size()), self.next_chunk());
        let Some(end) = batch.chunks().and_then(|chunks| batch.first.checked_add(chunks)).filter(|end| *end <= total)
        else {
            return refused(format!("a batch from chunk {} reaches beyond the disk's {total}", batch.first));
        };
        if batch.first > next + WINDOW {
            return refused(format!("a batch from chunk {} comes too early: {next} is next", batch.first));
        }
        let mut worker = None;
        let mut contents = batch.contents.iter().peekable();
        let (mut lacking, mut entries) = (Vec::new(), Vec::with_capacity(batch.entries.len()));
        let (mut chunk, mut bytes) = (batch.first, 0);
        for (number, entry) in (0u32..).zip(&batch.entries) {
            let content = contents.next_if(|content| content.entry == number);
            match entry {
                Entry::Zeros(count) => {
                    entries.push(MapEntry::Zeros(*count));
                    chunk += count;
                }
                Entry::Chunk(digest) => {
                    let len = chunk_len(self.size, self.chunk_size(), chunk);
                    if !self.store_chunk(digest, content, len, &mut worker)? {
                        lacking.push(number);
                    }
                    entries.push(MapEntry::Chunk(*digest));
                    bytes += len as u64;
                    chunk += 1;
                }
            }
        }
        self.spare.lock().expect("no thread panics while it lends buffers").extend(worker);
        self.check_lost(batch, end)?;
        if !lacking.is_empty() {
            return Ok(BatchAnswer::Lacking(lacking));
        }
        self.advance(batch, end, entries, bytes)?;
        Ok(BatchAnswer::Accepted)
    }

    /// What a sender could not read is what the plan allows, and lies where the batch does.
    fn check_lost(&self, batch: &Batch<'_>, end: u64) -> Result<()> {
        let (Some(first), Some(last)) = (batch.unreadable.first(), batch.unreadable.last()) else { return Ok(()) };
        if self.on_read_error == OnReadError::Fail {
            let what = format!("bytes {} to {} of {} cannot be read", first.start, first.end, self.disk);
            return Err(ImageError::Refused { what });
        }
        let chunk = u64::from(self.chunk_size());
        match first.start >= batch.first * chunk && last.end <= (end * chunk).min(self.size) {
            true => Ok(()),
            false => Err(ImageError::Refused { what: "unreadable bytes lie outside their batch".into() }),
        }
    }

    /// Whether the chunk is in the store now.
    fn store_chunk(
        &self,
        digest: &ChunkDigest,
        content: Option<&Content<'_>>,
        len: usize,
        worker: &mut Option<Worker>,
    ) -> Result<bool> {
        let id = digest.id(&self.store.keys.ids);
        let known = self.appender.has(&id);
        let Some(content) = content else { return Ok(known) };
        self.received.fetch_add(content.bytes.len() as u64, Ordering::Relaxed);
        if known {
            self.repeated.fetch_add(content.bytes.len() as u64, Ordering::Relaxed);
            return Ok(true);
        }
        let Worker { decoder, plain, sealed } = match worker {
            Some(worker) => worker,
            None => worker.insert(self.worker()?),
        };
        // Whoever stores a content under another's digest would change other machines' disks.
        let genuine = match content.codec {
            Codec::Raw => content.bytes.len() == len && ChunkDigest::of(content.bytes) == *digest,
            Codec::Zstd => {
                plain.resize(len, 0);
                decoder.decode(content.codec, content.bytes, plain) && ChunkDigest::of(plain) == *digest
            }
        };
        if !genuine {
            return Err(ImageError::Refused { what: "a chunk's content is not what its digest says".into() });
        }
        let mut record = Record { id, codec: content.codec, plain: len as u32, stored: 0 };
        sealed.clear();
        self.store.keys.chunk(&id).seal(&record.place(), content.bytes, sealed);
        record.stored = sealed.len() as u32;
        self.appender.append(&record, sealed)?;
        Ok(true)
    }

    fn worker(&self) -> Result<Worker> {
        if let Some(worker) = self.spare.lock().expect("no thread panics while it lends buffers").pop() {
            return Ok(worker);
        }
        let decoder = Decoder::new().map_err(ImageError::file("preparing to store in", self.store.root()))?;
        Ok(Worker { decoder, plain: Vec::new(), sealed: Vec::new() })
    }

    /// Counts a batch as done, as soon as all before it are.
    fn advance(&self, batch: &Batch<'_>, end: u64, entries: Vec<MapEntry>, bytes: u64) -> Result<()> {
        let first = batch.first;
        let mut progress = self.progress.lock().expect("no thread panics while it counts");
        let Progress { begun: Some(begun), parked, .. } = &mut *progress else { return Ok(()) };
        // A batch whose answer got lost comes again.
        if end <= begun.done {
            return Ok(());
        }
        if first < begun.done {
            return Err(ImageError::Refused { what: format!("a batch from chunk {first} is half done already") });
        }
        if !batch.unreadable.is_empty() {
            begun.note_unreadable(&self.store, batch.unreadable.clone())?;
            check_unreadable(&self.disk.to_string(), &begun.record.reading)?;
        }
        parked.insert(first, entries);
        progress.bytes += bytes;
        progress.drain();
        let due = progress.bytes >= EVERY_BYTES || progress.last.elapsed() >= EVERY;
        drop(progress);
        // Whoever comes while another one waits for the disk goes on without.
        match self.durable.try_lock() {
            Ok(turn) if due => self.checkpoint(&turn),
            _ => Ok(()),
        }
    }

    /// Makes what is done durable; batches go on being taken in the meantime.
    fn checkpoint(&self, _turn: &MutexGuard<'_, ()>) -> Result<()> {
        let lock = || self.progress.lock().expect("no thread panics while it counts");
        let waiting = {
            let mut progress = lock();
            (progress.bytes, progress.last) = (0, Instant::now());
            std::mem::take(&mut progress.waiting)
        };
        let synced = self.appender.sync();
        let mut progress = lock();
        let durable = synced.and_then(|()| match &mut progress.begun {
            Some(begun) if !waiting.is_empty() => begun.map.append(&waiting),
            _ => Ok(()),
        });
        if durable.is_err() {
            // Still to be made durable, before what came since: a map without them would be another disk's.
            progress.waiting.splice(0..0, waiting);
        }
        durable
    }

    /// Puts another file in the place of the map's, so that a test can have it fail.
    #[cfg(test)]
    pub(super) fn swap_map(&self, file: std::fs::File) -> std::fs::File {
        let mut progress = self.progress.lock().expect("no thread panics while it counts");
        progress.begun.as_mut().expect("it is under way").map.swap(file)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.durable.lock().expect("no thread panics while it makes progress durable")
    }

    /// Makes what is done so far durable, so that a later capture goes on from there.
    pub fn keep(&self) -> Result<()> {
        self.checkpoint(&self.turn())
    }

    /// Ends the map, then writes the manifest: only then is there an image. Every chunk must be done.
    pub fn finish(&self) -> Result<RemoteReport> {
        self.finish_as(None, true)
    }

    /// As [`Self::finish`], for a disk that was in use. Unless it is accepted as it is, an image that is not consistent
    /// gets an identity that no plan asks for: its chunks count, it does not.
    pub fn finish_live(&self, live: Live, accepted: bool) -> Result<RemoteReport> {
        self.finish_as(Some(live), accepted)
    }

    fn finish_as(&self, live: Option<Live>, accepted: bool) -> Result<RemoteReport> {
        let turn = self.turn();
        let mut progress = loop {
            self.checkpoint(&turn)?;
            let progress = self.progress.lock().expect("no thread panics while it counts");
            // A batch may have come in between.
            if progress.waiting.is_empty() {
                break progress;
            }
        };
        let (size, disk) = (self.size, &self.disk);
        let total = chunk_count(size, self.chunk_size());
        match &progress.begun {
            None => return Err(ImageError::Refused { what: format!("the capture of {disk} is finished already") }),
            Some(begun) if begun.done < total => {
                let what = format!("{disk} is not complete: chunk {} of {total} is next", begun.done);
                return Err(ImageError::Refused { what });
            }
            Some(_) => {}
        }
        let mut begun = progress.begun.take().expect("it was just looked at");
        if live.as_ref().is_some_and(|live| !live.consistent) && !accepted {
            begun.record.source.identity.push_str(" (not consistent)");
        }
        begun.record.reading.live = live;
        let unreadable = begun.record.reading.unreadable.iter().map(|range| range.end - range.start).sum();
        let stored = self.appender.stored();
        let Finished { manifest, digest, resumed } = begun.finish(&self.store, disk, stored)?;
        let (received, repeated) = self.traffic();
        Ok(RemoteReport { id: manifest.id, digest, size, stored, received, repeated, resumed, unreadable })
    }
}

impl Progress {
    /// Moves batches whose turn has come from the parking place to the map.
    fn drain(&mut self) {
        let Some(begun) = &mut self.begun else { return };
        while let Some(entries) = self.parked.remove(&begun.done) {
            begun.add(&entries);
            for entry in entries {
                match (self.waiting.last_mut(), entry) {
                    (Some(MapEntry::Zeros(before)), MapEntry::Zeros(count)) => *before += count,
                    _ => self.waiting.push(entry),
                }
            }
        }
    }
}

impl Drop for RemoteCapture {
    fn drop(&mut self) {
        // Only spares the next capture some reading; the chunks are there all the same.
        let _ = self.keep();
    }
}
