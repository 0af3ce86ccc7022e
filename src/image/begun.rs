//! A capture that is under way, and how an earlier one that was cut off is gone on with.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::chunk::{DiskDigest, DiskHasher, chunk_count};
use super::error::{ImageError, Result};
use super::manifest::{self, ImageId, Manifest, Unfinished};
use super::map::{Frame, MapEnd, MapEntry, MapReader, MapWriter};
use super::name::DiskName;
use super::source::{Origin, ReadPlan};
use super::store::Store;

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
    /// What its `.partial` file says.
    pub(super) record: Unfinished,
    path: PathBuf,
}

impl Begun {
    /// Counts and hashes the next entries of the map.
    pub(super) fn add(&mut self, entries: &[MapEntry]) {
        for entry in entries {
            match entry {
                MapEntry::Zeros(count) => self.hasher.zeros(*count),
                MapEntry::Chunk(digest) => {
                    self.hasher.chunk(digest);
                    self.data_chunks += 1;
                }
            }
            self.done += entry.chunks();
        }
    }

    /// Bytes of the disk that are done.
    pub(super) fn reached(&self) -> u64 {
        (self.done * u64::from(self.record.chunk_size)).min(self.record.size)
    }

    /// Records what could not be read, before the map says that it is done.
    pub(super) fn note_unreadable(&mut self, store: &Store, ranges: Vec<Range<u64>>) -> Result<()> {
        self.record.reading.add_unreadable(ranges);
        manifest::write(&self.path, &self.record, &store.keys)
    }
}

/// What a finished capture has become.
pub(super) struct Finished {
    pub(super) manifest: Manifest,
    pub(super) digest: DiskDigest,
    /// Bytes of the disk that were done when this run began.
    pub(super) resumed: u64,
}

impl Begun {
    /// Ends the map, then writes the manifest: only then is there an image. `stored` is what was added to the store.
    pub(super) fn finish(self, store: &Store, disk: &DiskName, stored: u64) -> Result<Finished> {
        let Self { id, hasher, done, data_chunks, resumed, map, record, path } = self;
        let Unfinished { size, chunk_size, source, reading, .. } = record;
        let digest = hasher.finish();
        map.finish(&MapEnd { size, chunks: done, digest }, chunk_size)?;
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
            source,
            reading,
            sealed_digest: Manifest::seal_digest(&store.keys, id, &digest),
            mac: String::new(),
        };
        manifest::write(&store.manifest_path(disk, id), &manifest, &store.keys)?;
        remove(&path)?;
        Ok(Finished { manifest, digest, resumed: (resumed * u64::from(chunk_size)).min(size) })
    }
}

/// Begins anew; older unfinished captures of the disk go.
pub(super) fn begin(store: &Store, disk: &DiskName, source: &Origin<'_>) -> Result<Begun> {
    let (id, size, chunk_size) = (ImageId::new(), source.size, store.settings().chunk_size);
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
        source: source.record.clone(),
        reading: source.reading.clone(),
        ranges: ranges_line(store, source),
        mac: String::new(),
    };
    let map = MapWriter::create(&store.map_path(disk, id), id.bytes(), store.keys.map(&id.bytes()))?;
    let path = store.unfinished_path(disk, id);
    manifest::write(&path, &record, &store.keys)?;
    let hasher = DiskHasher::new(size, chunk_size);
    Ok(Begun { id, hasher, done: 0, data_chunks: 0, resumed: 0, map, record, path })
}

/// The ranges that are read, as a keyed digest: which blocks are in use is nobody else's business.
fn ranges_line(store: &Store, source: &Origin<'_>) -> String {
    store.keys.mac(source.ranges.as_bytes())
}

/// Goes on with a capture of the same, unchanged source, reading the same ranges. Whatever does not fit is dropped: its
/// chunks are in the store.
pub(super) fn resume(store: &Store, disk: &DiskName, source: &Origin<'_>, plan: ReadPlan) -> Result<Option<Begun>> {
    let Some(id) = store.unfinished(disk)?.pop() else { return Ok(None) };
    let (size, chunk_size) = (source.size, store.settings().chunk_size);
    let Ok(record) = store.read_unfinished(disk, id) else { return Ok(None) };
    let same = record.source == *source.record
        && (record.size, record.chunk_size, record.id) == (size, chunk_size, id)
        && (record.reading.mode, &record.reading.regions) == (plan.mode, &source.reading.regions)
        && record.ranges == ranges_line(store, source)
        && plan.is_satisfied_by(&record.reading);
    if !same || !proves_content(&source.record.identity) || store.manifest_path(disk, id).exists() {
        return Ok(None);
    }
    let (path, key) = (store.map_path(disk, id), || store.keys.map(&id.bytes()));
    let Ok(mut frames) = MapReader::open(&path, id.bytes(), key()) else { return Ok(None) };
    let catalog = store.catalog.read().expect("no thread panics while it holds the catalog");
    // A frame whose chunks got lost since ends the resumable part.
    let there = |entry: &MapEntry| match entry {
        MapEntry::Zeros(_) => true,
        MapEntry::Chunk(digest) => catalog.has(&digest.id(&store.keys.ids)),
    };
    let (mut kept, mut chunks) = (Vec::new(), 0u64);
    let (number, len) = loop {
        let before = (frames.number, frames.len);
        // A damaged frame ends it like a torn one does.
        let Ok(Frame::Entries(entries)) = frames.next() else { break before };
        chunks = entries.iter().fold(chunks, |sum, entry| sum.saturating_add(entry.chunks()));
        if chunks > chunk_count(size, chunk_size) || !entries.iter().all(there) {
            break before;
        }
        kept.push(entries);
    };
    drop(catalog);
    let map = MapWriter::resume(&path, id.bytes(), key(), number, len)?;
    let hasher = DiskHasher::new(size, chunk_size);
    let path = store.unfinished_path(disk, id);
    let mut begun = Begun { id, hasher, done: 0, data_chunks: 0, resumed: 0, map, record, path };
    kept.iter().for_each(|entries| begun.add(entries));
    begun.resumed = begun.done;
    Ok(Some(begun))
}

/// Removes an unfinished capture.
pub(super) fn drop_unfinished(store: &Store, disk: &DiskName, id: ImageId) -> Result<()> {
    // A finished image may still have its partial record, if the last step was cut off: then the map is the image's.
    if !store.manifest_path(disk, id).exists() {
        remove(&store.map_path(disk, id))?;
    }
    remove(&store.unfinished_path(disk, id))
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::file("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Whether an equal record proves equal content: a file's time stamp does, a device's serial number does not. Of a disk
/// in an agent the path does: it names the boot, and from then on nobody could write the disk. Of one behind ssh it does,
/// too: it counts what was written.
pub(super) fn proves_content(identity: &str) -> bool {
    ["file ", "agent ", "ssh "].iter().any(|known| identity.starts_with(known))
}
