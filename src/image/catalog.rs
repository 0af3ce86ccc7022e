//! Which packs there are and what lies in them: read from the index files, made again from the packs where an index is
//! torn, damaged or missing. Also the one way to read a chunk back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::chunk::{ChunkDigest, ChunkId};
use super::codec::{Codec, Decoder};
use super::error::{ImageError, Result};
use super::index::{self, ChunkTable, ENTRY_LEN, INDEX_HEADER_LEN, Location};
use super::manifest::entries;
use super::pack::{self, HEADER_LEN, PackId, RECORD_HEADER_LEN, Record};
use super::store::Store;

/// What is known of one pack.
#[derive(Debug)]
pub(super) struct PackState {
    pub(super) id: PackId,
    /// Bytes of the pack file; `None` if it is not there.
    pub(super) len: Option<u64>,
    /// Whether this process appends to it: then its length here counts what is not in the file yet.
    pub(super) growing: bool,
    /// Sound entries of its index file.
    pub(super) indexed: u64,
    /// Where the last indexed record ends.
    pub(super) indexed_end: u64,
    /// Where the last record ends that was found without an index.
    scanned_end: u64,
}

impl PackState {
    /// Where the last record ends that anything tells of and that is there.
    pub(super) fn readable(&self) -> u64 {
        self.len.unwrap_or(0).min(self.indexed_end.max(self.scanned_end))
    }
}

/// Every pack and every chunk.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) packs: Vec<PackState>,
    numbers: HashMap<PackId, u32>,
    pub(super) table: ChunkTable,
}

/// Packs that this process has open.
pub(super) type PackFiles = HashMap<u32, Arc<File>>;

impl Catalog {
    /// Looks at the folders again: new packs, new index entries, packs that went away.
    pub(super) fn refresh(&mut self, root: &Path) -> Result<()> {
        let (packs, indexes) = listed_packs(root)?;
        // Garbage collection may have taken packs away since the last look.
        for state in &mut self.packs {
            state.len = state.len.filter(|_| packs.contains(&state.id));
        }
        let mut ids: Vec<PackId> = packs.union(&indexes).copied().collect();
        ids.sort();
        for id in ids {
            let number = self.number(id);
            if self.packs[number as usize].growing {
                continue;
            }
            let path = pack_path(root, id);
            self.packs[number as usize].len = match std::fs::metadata(&path) {
                Ok(meta) => Some(meta.len()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(ImageError::file("reading", &path)(error)),
            };
            if indexes.contains(&id) {
                self.read_index(root, number)?;
            }
            let state = &self.packs[number as usize];
            if state.len.is_some_and(|len| len > state.indexed_end.max(state.scanned_end)) {
                self.scan_tail(&path, number)?;
            }
        }
        Ok(())
    }

    /// The number of a pack in this process; a new one if it was not known.
    pub(super) fn number(&mut self, id: PackId) -> u32 {
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let number = u32::try_from(self.packs.len()).expect("fewer packs than 2^32");
        self.packs.push(PackState {
            id,
            len: None,
            growing: false,
            indexed: 0,
            indexed_end: HEADER_LEN,
            scanned_end: HEADER_LEN,
        });
        self.numbers.insert(id, number);
        number
    }

    /// Whether the bytes of a location are there, as far as lengths tell.
    pub(super) fn usable(&self, location: &Location) -> bool {
        self.packs[location.pack as usize].len.is_some_and(|len| location.end() <= len)
    }

    /// A chunk that needs not be stored again.
    pub(super) fn has(&self, id: &ChunkId) -> bool {
        self.table.get(id).is_some_and(|location| self.usable(&location))
    }

    /// Adds a chunk; a location that can be read replaces one that cannot.
    pub(super) fn insert(&mut self, id: &ChunkId, location: Location) {
        let usable = self.usable(&location);
        let packs = &self.packs;
        self.table
            .insert(id, location, |known| usable && packs[known.pack as usize].len.is_none_or(|len| known.end() > len));
    }

    /// Reads entries that were appended since the last look.
    fn read_index(&mut self, root: &Path, number: u32) -> Result<()> {
        let id = self.packs[number as usize].id;
        let path = index_path(root, id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(ImageError::file("reading", &path)(error)),
        };
        let mut header = [0; INDEX_HEADER_LEN];
        if file.read_exact_at(&mut header, 0).is_err() || header != index::header(id) {
            return Ok(());
        }
        let mut buffer = vec![0; ENTRY_LEN * 4096];
        loop {
            let first = self.packs[number as usize].indexed;
            let at = INDEX_HEADER_LEN as u64 + first * ENTRY_LEN as u64;
            let len = read_up_to(&file, &mut buffer, at).map_err(ImageError::file("reading", &path))?;
            let mut found = Vec::new();
            let sound = index::decode_entries(id, first, &buffer[..len], |offset, record| found.push((offset, record)));
            for (offset, record) in found {
                self.insert(&record.id, Location { pack: number, stored: record.stored, offset });
                let state = &mut self.packs[number as usize];
                state.indexed_end = state.indexed_end.max(offset + record.len());
            }
            self.packs[number as usize].indexed += sound;
            if sound < 4096 {
                return Ok(());
            }
        }
    }

    /// Finds records that no index entry tells of, unless a writer is still at work there.
    fn scan_tail(&mut self, path: &Path, number: u32) -> Result<()> {
        let Ok(file) = File::open(path) else { return Ok(()) };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            return Ok(());
        }
        let state = &self.packs[number as usize];
        if !pack::header_is_sound(&file, state.id) {
            return Ok(());
        }
        let (from, len) = (state.indexed_end.max(state.scanned_end), state.len.unwrap_or(0));
        let mut found = Vec::new();
        let end = pack::scan(&file, from, len, |offset, record| found.push((offset, record)))
            .map_err(ImageError::file("reading", path))?;
        for (offset, record) in found {
            self.insert(&record.id, Location { pack: number, stored: record.stored, offset });
        }
        self.packs[number as usize].scanned_end = end;
        Ok(())
    }
}

/// The packs that are there, and those that have an index.
pub(super) fn listed_packs(root: &Path) -> Result<(HashSet<PackId>, HashSet<PackId>)> {
    Ok((listed(&root.join("packs"), "pack")?, listed(&root.join("index"), "idx")?))
}

/// Where the records of a pack begin by its index, sorted; the entries behind a damaged one count, too.
pub(super) fn known_offsets(root: &Path, id: PackId) -> Result<Vec<u64>> {
    let path = index_path(root, id);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::file("reading", &path)(error)),
    };
    let mut offsets = Vec::new();
    let entries = bytes.get(INDEX_HEADER_LEN..).unwrap_or_default();
    for (number, entry) in (0..).zip(entries.chunks_exact(ENTRY_LEN)) {
        index::decode_entries(id, number, entry, |offset, _| offsets.push(offset));
    }
    offsets.sort_unstable();
    Ok(offsets)
}

/// The ids of files `ID.EXTENSION`.
fn listed(folder: &Path, extension: &str) -> Result<HashSet<PackId>> {
    Ok(entries(folder)?
        .iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| PackId::parse(path.file_stem()?.to_str()?))
        .collect())
}

pub(super) fn pack_path(root: &Path, id: PackId) -> PathBuf {
    root.join("packs").join(format!("{id}.pack"))
}

pub(super) fn index_path(root: &Path, id: PackId) -> PathBuf {
    root.join("index").join(format!("{id}.idx"))
}

/// Reads until the buffer is full or the file ends.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], at + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// A chunk's place in its disk, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) chunk: u64,
    pub(super) chunk_size: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {} (byte {} of the disk)", self.chunk, self.chunk * u64::from(self.chunk_size))
    }
}

/// A record that was read and authenticated.
struct Opened<'b> {
    pack: PackId,
    offset: u64,
    codec: Codec,
    encoded: &'b [u8],
}

impl Opened<'_> {
    fn damaged(&self, place: Place, what: &'static str) -> ImageError {
        ImageError::DamagedChunk { pack: self.pack, offset: self.offset, chunk: place.to_string(), what }
    }
}

/// One thread's means to read chunks.
pub(super) struct ChunkReader<'s> {
    store: &'s Store,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl<'s> ChunkReader<'s> {
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        let decoder = Decoder::new().map_err(ImageError::file("preparing to read", store.root()))?;
        Ok(Self { store, decoder, buffer: Vec::new() })
    }

    /// Where a chunk lies; an error says what is missing.
    pub(super) fn locate(&self, digest: &ChunkDigest, place: Place) -> Result<Location> {
        let id = digest.id(&self.store.keys.ids);
        let catalog = self.store.catalog.read().expect("no thread panics while it holds the catalog");
        let location = catalog.table.get(&id).ok_or_else(|| ImageError::MissingChunk { chunk: place.to_string() })?;
        let state = &catalog.packs[location.pack as usize];
        match state.len {
            None => Err(ImageError::MissingPack { pack: state.id, chunk: place.to_string() }),
            Some(has) if location.end() > has => {
                Err(ImageError::TruncatedPack { pack: state.id, chunk: place.to_string(), has, needs: location.end() })
            }
            Some(_) => Ok(location),
        }
    }

    /// Reads a chunk and proves that its content is what `digest` says.
    pub(super) fn read(&mut self, digest: &ChunkDigest, place: Place, out: &mut [u8]) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.open_record(&mut buffer, digest, place, out.len()).and_then(|found| {
            if !self.decoder.decode(found.codec, found.encoded, out) {
                return Err(found.damaged(place, "does not decompress"));
            }
            match ChunkDigest::of(out) == *digest {
                true => Ok(()),
                false => Err(found.damaged(place, "has another content than its digest")),
            }
        });
        self.buffer = buffer;
        outcome
    }

    /// A chunk of `len` bytes as it is encoded: authenticated with the store's keys, but not decoded. Whoever decodes it
    /// compares it with its digest.
    pub(super) fn encoded<R>(
        &mut self,
        digest: &ChunkDigest,
        (place, len): (Place, usize),
        take: impl FnOnce(Codec, &[u8]) -> R,
    ) -> Result<R> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.open_record(&mut buffer, digest, place, len).map(|found| take(found.codec, found.encoded));
        self.buffer = buffer;
        outcome
    }

    /// Reads a chunk's record into `buffer` and opens it.
    fn open_record<'b>(
        &self,
        buffer: &'b mut Vec<u8>,
        digest: &ChunkDigest,
        place: Place,
        len: usize,
    ) -> Result<Opened<'b>> {
        let location = self.locate(digest, place)?;
        let (pack, file) = self.open(&location)?;
        let id = digest.id(&self.store.keys.ids);
        let damaged = |what| ImageError::DamagedChunk { pack, offset: location.offset, chunk: place.to_string(), what };
        buffer.resize(RECORD_HEADER_LEN + location.stored as usize, 0);
        file.read_exact_at(buffer, location.offset)
            .map_err(ImageError::file("reading", &pack_path(self.store.root(), pack)))?;
        let (header, sealed) = buffer.split_at_mut(RECORD_HEADER_LEN);
        let record = Record::decode(header).ok_or_else(|| damaged("has a damaged header"))?;
        if record.id != id || record.stored != location.stored || record.plain as usize != len {
            return Err(damaged("is not the chunk that the index promises"));
        }
        let key = self.store.keys.chunk(&id);
        let encoded = key.open(&record.place(), sealed).map_err(|_| damaged("does not authenticate"))?;
        Ok(Opened { pack, offset: location.offset, codec: record.codec, encoded })
    }

    fn open(&self, location: &Location) -> Result<(PackId, Arc<File>)> {
        let id = self.store.catalog.read().expect("no thread panics while it holds the catalog").packs
            [location.pack as usize]
            .id;
        let mut files = self.store.files.lock().expect("no thread panics while it opens a pack");
        if let Some(file) = files.get(&location.pack) {
            return Ok((id, Arc::clone(file)));
        }
        // A store of many packs must not use up the process's file descriptors.
        if files.len() >= 64 {
            files.clear();
        }
        let path = pack_path(self.store.root(), id);
        let file = Arc::new(File::open(&path).map_err(ImageError::file("opening", &path))?);
        files.insert(location.pack, Arc::clone(&file));
        Ok((id, file))
    }
}

impl Store {
    /// Before writing: what a dead writer appended but did not index is authenticated and indexed, and a torn tail is
    /// cut. Packs of living writers are left alone.
    pub(super) fn recover(&self) -> Result<()> {
        let candidates: Vec<u32> = {
            let mut catalog = self.catalog.write().expect("no thread panics while it holds the catalog");
            catalog.refresh(self.root())?;
            (0..)
                .zip(&catalog.packs)
                .filter(|(_, pack)| pack.len.is_some_and(|len| len != pack.indexed_end))
                .map(|(n, _)| n)
                .collect()
        };
        candidates.into_iter().try_for_each(|number| self.recover_pack(number))
    }

    fn recover_pack(&self, number: u32) -> Result<()> {
        let root = self.root().to_owned();
        let mut catalog = self.catalog.write().expect("no thread panics while it holds the catalog");
        let id = catalog.packs[number as usize].id;
        let path = pack_path(&root, id);
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { return Ok(()) };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(());
        }
        // Whoever held the lock before may have recovered it already.
        catalog.read_index(&root, number)?;
        let state = &catalog.packs[number as usize];
        let len = file.metadata().map_err(ImageError::file("reading", &path))?.len();
        // Shorter than indexed is damage that reading names; never write there.
        if len <= state.indexed_end || !pack::header_is_sound(&file, id) {
            return Ok(());
        }
        let mut found = Vec::new();
        let mut end = pack::scan(&file, state.indexed_end, len, |offset, record| found.push((offset, record)))
            .map_err(ImageError::file("reading", &path))?;
        let mut sealed = Vec::new();
        for at in 0..found.len() {
            let (offset, record) = found[at];
            sealed.resize(record.stored as usize, 0);
            file.read_exact_at(&mut sealed, offset + RECORD_HEADER_LEN as u64)
                .map_err(ImageError::file("reading", &path))?;
            if self.keys.chunk(&record.id).open(&record.place(), &mut sealed).is_err() {
                end = offset;
                found.truncate(at);
                break;
            }
        }
        file.set_len(end).and_then(|()| file.sync_data()).map_err(ImageError::file("cutting", &path))?;
        let first = state.indexed;
        let bytes: Vec<u8> = (first..)
            .zip(&found)
            .flat_map(|(n, (offset, record))| index::encode_entry(id, n, *offset, record))
            .collect();
        write_entries(&index_path(&root, id), id, first, &bytes)?;
        for (offset, record) in &found {
            catalog.insert(&record.id, Location { pack: number, stored: record.stored, offset: *offset });
        }
        let state = &mut catalog.packs[number as usize];
        (state.len, state.indexed, state.indexed_end) =
            (Some(end), first + found.len() as u64, end.max(state.indexed_end));
        Ok(())
    }
}

/// Writes entries at their place in an index file and makes them durable; what was behind them is cut.
pub(super) fn write_entries(path: &Path, id: PackId, first: u64, bytes: &[u8]) -> Result<()> {
    let at = INDEX_HEADER_LEN as u64 + first * ENTRY_LEN as u64;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(ImageError::file("opening", path))?;
    file.set_len(at)
        .and_then(|()| file.write_all_at(&index::header(id), 0))
        .and_then(|()| file.write_all_at(bytes, at))
        .and_then(|()| file.sync_data())
        .map_err(ImageError::file("writing", path))
}
