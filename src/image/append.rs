//! Adding chunks: each process appends to a pack of its own; `sync` makes them durable, then indexes them.
//!
//! Captures into one open store see each other's chunks at once, before those are durable. So an appender remembers
//! whose chunks it relied on, and its `sync` makes those durable, too.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};

use super::catalog::{index_path, pack_path, write_entries};
use super::chunk::ChunkId;
use super::deploy::KEPT_IN_CACHE;
use super::error::{ImageError, Result};
use super::index::{self, Location};
use super::key::random;
use super::manifest::sync_folder;
use super::pack::{self, HEADER_LEN, PackId, Record};
use super::stage::{Flight, Stage};
use super::store::Store;

/// A pack that grows beyond this is closed at the next sync, so that garbage can be collected pack by pack.
const PACK_LIMIT: u64 = 1 << 30;

/// The store that is appended to.
enum Home<'s> {
    Borrowed(&'s Store),
    Shared(Arc<Store>),
}

impl std::ops::Deref for Home<'_> {
    type Target = Store;

    fn deref(&self) -> &Store {
        match self {
            Self::Borrowed(store) => store,
            Self::Shared(store) => store,
        }
    }
}

/// Appends to a store; shared by threads.
pub(super) struct Appender<'s> {
    store: Home<'s>,
    writer: Arc<Writer>,
    /// Packs of others whose chunks this one relied on before they were durable, and up to where.
    relied: Mutex<HashMap<u32, u64>>,
}

/// The writers of a store in this process, by the number of their pack.
pub(super) type Writers = Mutex<HashMap<u32, Weak<Writer>>>;

/// What appends to one pack after another.
#[derive(Default)]
pub(super) struct Writer {
    state: Mutex<State>,
    /// A piece has landed, or a pack is closed.
    landed: Condvar,
    /// Held by whoever syncs: index entries are numbered.
    syncing: Mutex<()>,
    /// The number of the open pack.
    own: AtomicU32,
}

#[derive(Default)]
struct State {
    open: Option<OpenPack>,
    /// Records that are not indexed yet.
    pending: Vec<(u64, Record)>,
    stored: u64,
    /// The open pack is long enough: nobody appends until it is closed.
    closing: bool,
    /// What went wrong. From then on chunks may be missing that callers count on, so nothing is called durable any more.
    broken: Option<Broken>,
}

struct Broken {
    path: PathBuf,
    kind: io::ErrorKind,
    code: Option<i32>,
}

impl Broken {
    fn error(&self) -> ImageError {
        let error = self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        ImageError::file("writing", &self.path)(error)
    }
}

struct OpenPack {
    id: PackId,
    number: u32,
    path: PathBuf,
    stage: Stage,
    len: u64,
    indexed: u64,
}

/// No pack has it.
const NONE: u32 = u32::MAX;

impl<'s> Appender<'s> {
    /// Recovers what dead writers left, then appends to a new pack (made when the first chunk comes).
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        store.recover()?;
        Ok(Self::at(Home::Borrowed(store)))
    }

    /// As [`Self::new`], for one that lives as long as it wants to.
    pub(super) fn shared(store: Arc<Store>) -> Result<Appender<'static>> {
        store.recover()?;
        Ok(Appender::at(Home::Shared(store)))
    }

    fn at(store: Home<'s>) -> Self {
        let writer = Writer { own: AtomicU32::new(NONE), ..Writer::default() };
        Self { store, writer: Arc::new(writer), relied: Mutex::default() }
    }

    /// Whether a chunk needs not be stored.
    pub(super) fn has(&self, id: &ChunkId) -> bool {
        let catalog = self.store.catalog.read().expect("no thread panics while it holds the catalog");
        let Some(location) = catalog.table.get(id).filter(|location| catalog.usable(location)) else { return false };
        let durable = location.end() <= catalog.packs[location.pack as usize].indexed_end;
        if !durable && location.pack != self.writer.own.load(Ordering::Relaxed) {
            let mut relied = self.relied.lock().expect("no thread panics while it notes a pack");
            let end = relied.entry(location.pack).or_default();
            *end = location.end().max(*end);
        }
        true
    }

    /// Bytes added so far.
    pub(super) fn stored(&self) -> u64 {
        self.writer.lock().stored
    }

    /// Appends a sealed chunk unless another thread just did.
    pub(super) fn append(&self, record: &Record, sealed: &[u8]) -> Result<()> {
        let state = self.writer.lock();
        if self.has(&record.id) {
            return Ok(());
        }
        self.append_again(state, record, sealed)
    }

    /// Appends a sealed chunk even if it lies elsewhere already (to empty that pack).
    pub(super) fn copy(&self, record: &Record, sealed: &[u8]) -> Result<()> {
        self.append_again(self.writer.lock(), record, sealed)
    }

    fn append_again(&self, state: MutexGuard<'_, State>, record: &Record, sealed: &[u8]) -> Result<()> {
        let closed = self.writer.landed.wait_while(state, |state| state.closing);
        let mut state = closed.expect("no thread panics while it appends");
        if let Some(broken) = &state.broken {
            return Err(broken.error());
        }
        if state.open.is_none() {
            state.open = Some(self.create()?);
        }
        let State { open: Some(open), pending, stored, .. } = &mut *state else { unreachable!("it was just opened") };
        let offset = open.len;
        let flights = open.stage.append([&record.encode(), sealed]);
        open.len += record.len();
        *stored += record.len();
        pending.push((offset, *record));
        let mut catalog = self.store.catalog.write().expect("no thread panics while it holds the catalog");
        catalog.packs[open.number as usize].len = Some(open.len);
        catalog.insert(&record.id, Location { pack: open.number, stored: record.stored, offset });
        drop(catalog);
        drop(state);
        flights.into_iter().try_for_each(|flight| self.writer.fly(flight, &self.store))
    }

    /// Makes everything appended before the call durable and indexed, and all chunks that [`Self::has`] told of.
    pub(super) fn sync(&self) -> Result<()> {
        self.writer.sync(&self.store)?;
        let relied = std::mem::take(&mut *self.relied.lock().expect("no thread panics while it notes a pack"));
        for (number, end) in relied {
            let durable = || {
                let catalog = self.store.catalog.read().expect("no thread panics while it holds the catalog");
                let pack = &catalog.packs[number as usize];
                (pack.indexed_end >= end, pack.id)
            };
            if durable().0 {
                continue;
            }
            let writer =
                self.store.writers.lock().expect("no thread panics while it lists writers").get(&number).cloned();
            if let Some(writer) = writer.and_then(|writer| writer.upgrade()) {
                writer.sync(&self.store)?;
            }
            if let (false, id) = durable() {
                let what =
                    "chunks that this capture shares with another one were lost with that one's pack; run it again";
                return Err(ImageError::damaged(&pack_path(self.store.root(), id), what));
            }
        }
        Ok(())
    }

    /// Creates a pack under a name that nobody looks at, locks it, then gives it its own name.
    fn create(&self) -> Result<OpenPack> {
        let id = PackId(random());
        let root = self.store.root();
        let (path, draft) = (pack_path(root, id), root.join("packs").join(format!(".new-{id}")));
        let file = pack::create(&draft, id)?;
        std::fs::rename(&draft, &path).map_err(ImageError::file("creating", &path))?;
        sync_folder(&root.join("packs"))?;
        write_entries(&index_path(root, id), id, 0, &[])?;
        sync_folder(&root.join("index"))?;
        let mut catalog = self.store.catalog.write().expect("no thread panics while it holds the catalog");
        let number = catalog.number(id);
        (catalog.packs[number as usize].len, catalog.packs[number as usize].growing) = (Some(HEADER_LEN), true);
        drop(catalog);
        self.writer.own.store(number, Ordering::Relaxed);
        let mut writers = self.store.writers.lock().expect("no thread panics while it lists writers");
        writers.retain(|_, writer| writer.strong_count() > 0);
        writers.insert(number, Arc::downgrade(&self.writer));
        Ok(OpenPack { id, number, path, stage: Stage::new(file, &pack::header(id)), len: HEADER_LEN, indexed: 0 })
    }
}

impl Writer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it appends")
    }

    /// Writes a piece that got full.
    fn fly(&self, flight: Flight, store: &Store) -> Result<()> {
        let outcome = flight.write();
        let mut state = self.lock();
        if let Some(open) = &mut state.open {
            open.stage.landed(flight);
        }
        let outcome = match outcome {
            Ok(()) => Ok(()),
            Err((sound, error)) => Err(self.give_up(&mut state, sound, error, store)),
        };
        self.landed.notify_all();
        outcome
    }

    /// After a failed write: what is in the file up to `sound` stays, for others to find; the rest was never there.
    fn give_up(&self, state: &mut State, sound: u64, error: io::Error, store: &Store) -> ImageError {
        if let Some(broken) = &state.broken {
            return broken.error();
        }
        let Some(open) = state.open.take() else { return ImageError::file("writing", store.root())(error) };
        let mut catalog = store.catalog.write().expect("no thread panics while it holds the catalog");
        let known = &mut catalog.packs[open.number as usize];
        (known.len, known.growing) = (known.len.map(|len| len.min(sound)), false);
        drop(catalog);
        // Best effort: a torn tail is cut when the store is opened next.
        let _ = open.stage.file().file().set_len(sound);
        state.pending.clear();
        let broken = Broken { path: open.path, kind: error.kind(), code: error.raw_os_error() };
        let error = broken.error();
        state.broken = Some(broken);
        error
    }

    fn sync(&self, store: &Store) -> Result<()> {
        let _turn = self.syncing.lock().expect("no thread panics while it syncs");
        let mut state = self.lock();
        if let Some(broken) = &state.broken {
            return Err(broken.error());
        }
        let Some(open) = &mut state.open else { return Ok(()) };
        // No piece can be launched while we hold the state; those on their way are waited for.
        let before = open.stage.next();
        if let Err((sound, error)) = open.stage.settle() {
            let error = self.give_up(&mut state, sound, error, store);
            self.landed.notify_all();
            return Err(error);
        }
        let (id, number, first) = (open.id, open.number, open.indexed);
        let file = open.stage.file();
        let closing = open.len > PACK_LIMIT;
        state.closing = closing;
        let pending = std::mem::take(&mut state.pending);
        let flying = |state: &mut State| state.open.as_ref().is_some_and(|open| open.stage.is_flying(before));
        let state = self.landed.wait_while(state, flying).expect("no thread panics while it appends");
        let lost = state.broken.as_ref().map(Broken::error);
        // Others may append while the disk works, unless this pack is to be closed.
        drop(state);
        let done = match (lost, file.file().sync_data()) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => {
                let entries = (first..)
                    .zip(&pending)
                    .flat_map(|(n, (offset, record))| index::encode_entry(id, n, *offset, record));
                write_entries(&index_path(store.root(), id), id, first, &entries.collect::<Vec<u8>>())
            }
            // What the disk did not take once, it may call durable the next time although it is lost.
            (None, Err(error)) => {
                let sound = pending.first().map_or(HEADER_LEN, |(offset, _)| *offset);
                Err(self.give_up(&mut self.lock(), sound, error, store))
            }
        };
        let mut state = self.lock();
        state.closing = false;
        self.landed.notify_all();
        if let Err(error) = done {
            if state.broken.is_none() {
                // Still unindexed: a later sync tries again.
                let newer = std::mem::take(&mut state.pending);
                state.pending = pending.into_iter().chain(newer).collect();
            }
            return Err(error);
        }
        if state.stored > KEPT_IN_CACHE && !file.is_direct() {
            // Only advice: what is durable need not push others out of the page cache.
            let from = pending.first().map_or(HEADER_LEN, |(offset, _)| *offset);
            let _ = rustix::fs::fadvise(file.file(), from, None, rustix::fs::Advice::DontNeed);
        }
        let indexed = first + pending.len() as u64;
        let end = pending.last().map_or(HEADER_LEN, |(offset, record)| offset + record.len());
        let mut catalog = store.catalog.write().expect("no thread panics while it holds the catalog");
        let known = &mut catalog.packs[number as usize];
        (known.indexed, known.indexed_end) = (indexed, end.max(known.indexed_end));
        match (&mut state.open, closing) {
            (Some(open), false) => open.indexed = indexed,
            (open, _) => {
                known.growing = false;
                *open = None;
            }
        }
        Ok(())
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        let number = self.writer.own.load(Ordering::Relaxed);
        if number == NONE || std::thread::panicking() {
            return;
        }
        // Only spares the next writer some work, but for others who rely on these chunks.
        let _ = self.writer.sync(&self.store);
        let open = self.writer.lock().open.take();
        let mut catalog = self.store.catalog.write().expect("no thread panics while it holds the catalog");
        let known = &mut catalog.packs[number as usize];
        known.growing = false;
        if let Some(open) = open {
            match open.len == HEADER_LEN {
                // A pack without chunks says nothing.
                true => {
                    let _ = std::fs::remove_file(index_path(self.store.root(), open.id));
                    let _ = std::fs::remove_file(&open.path);
                }
                false => known.len = open.stage.file().file().metadata().ok().map(|meta| meta.len()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::codec::Codec;
    use crate::image::seal::Cipher;
    use crate::image::store::StoreSettings;
    use std::os::unix::fs::FileExt;

    fn chunk(store: &Store, number: u8) -> (Record, Vec<u8>) {
        let (id, plain) = (ChunkId([number; 32]), vec![number; 70_000]);
        let (mut record, mut sealed) =
            (Record { id, codec: Codec::Raw, plain: plain.len() as u32, stored: 0 }, Vec::new());
        store.keys.chunk(&id).seal(&record.place(), &plain, &mut sealed);
        record.stored = sealed.len() as u32;
        (record, sealed)
    }

    fn has(store: &Store, record: &Record) -> bool {
        store.catalog.read().unwrap().has(&record.id)
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("store"), StoreSettings::new(Cipher::None), None).unwrap();
        (folder, store)
    }

    #[test]
    fn whoever_relies_on_anothers_chunk_makes_it_durable() {
        let (_folder, store) = store();
        let (one, two) = (Appender::new(&store).unwrap(), Appender::new(&store).unwrap());
        let (record, sealed) = chunk(&store, 1);
        one.append(&record, &sealed).unwrap();
        // Gathered, not written: another process sees nothing of it, the other appender does.
        assert!(!has(&Store::open(store.root(), None).unwrap(), &record));
        assert!(two.has(&record.id));
        two.sync().unwrap();
        assert!(has(&Store::open(store.root(), None).unwrap(), &record));
        // A look at the folder in between changes nothing about what is still gathered.
        let (record, sealed) = chunk(&store, 2);
        one.append(&record, &sealed).unwrap();
        drop(store.lease("look").unwrap());
        assert!(has(&store, &record));
        drop(one);
        assert!(has(&Store::open(store.root(), None).unwrap(), &record));
    }

    #[test]
    fn a_pack_that_is_lost_is_lost_for_all_who_rely_on_it() {
        let (_folder, store) = store();
        let (one, two, three) =
            (Appender::new(&store).unwrap(), Appender::new(&store).unwrap(), Appender::new(&store).unwrap());
        let ((record, sealed), (later, bytes)) = (chunk(&store, 1), chunk(&store, 2));
        one.append(&record, &sealed).unwrap();
        one.sync().unwrap();
        one.append(&later, &bytes).unwrap();
        assert!(two.has(&record.id) && two.has(&later.id) && three.has(&record.id));
        let full = || io::Error::from_raw_os_error(28);
        one.writer.give_up(&mut one.writer.lock(), HEADER_LEN + record.len(), full(), &store);
        let errors = [one.append(&later, &bytes), one.sync()].map(|outcome| outcome.unwrap_err());
        assert!(errors.iter().all(|error| matches!(error, ImageError::StoreFull { .. })), "{errors:?}");
        assert!(matches!(two.sync().unwrap_err(), ImageError::StoreFull { .. }));
        // What was durable stays; what was not is stored again by whoever needs it.
        three.sync().unwrap();
        assert!(three.has(&record.id) && !three.has(&later.id));
        three.append(&later, &bytes).unwrap();
        three.sync().unwrap();
        drop(one);
        assert!(two.has(&later.id));
        two.sync().unwrap();
        let again = Store::open(store.root(), None).unwrap();
        assert!(has(&again, &record) && has(&again, &later));
    }

    #[test]
    fn many_threads_append_while_the_pack_is_synced() {
        let (_folder, store) = store();
        let one = Appender::new(&store).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let (one, store) = (&one, &store);
                scope.spawn(move || {
                    for number in 0..50 {
                        let (record, sealed) = chunk(store, thread * 50 + number);
                        one.append(&record, &sealed).unwrap();
                        if number % 10 == thread {
                            one.sync().unwrap();
                        }
                    }
                });
            }
        });
        one.sync().unwrap();
        let again = Store::open(store.root(), None).unwrap();
        assert!((0..200).all(|number| has(&again, &chunk(&store, number).0)));
        // Every record is there once and sound.
        let packs = again.catalog.read().unwrap();
        let pack = &packs.packs[0];
        let file = std::fs::File::open(pack_path(store.root(), pack.id)).unwrap();
        let mut found = Vec::new();
        let end = pack::scan(&file, HEADER_LEN, pack.len.unwrap(), |offset, record| found.push((offset, record)));
        assert_eq!((found.len(), end.unwrap()), (200, pack.indexed_end));
        for (offset, record) in found {
            let mut sealed = vec![0; record.stored as usize];
            file.read_exact_at(&mut sealed, offset + pack::RECORD_HEADER_LEN as u64).unwrap();
            assert!(store.keys.chunk(&record.id).open(&record.place(), &mut sealed).is_ok());
        }
    }
}
