//! Adding chunks: each process appends to a pack of its own; `sync` makes them durable, then indexes them.
//!
//! Captures into one open store see each other's chunks at once, before those are durable. So an appender remembers
//! whose chunks it relied on, and its `sync` makes those durable, too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::catalog::{index_path, pack_path, write_entries};
use super::chunk::ChunkId;
use super::error::{ImageError, Result};
use super::index::Location;
use super::key::random;
use super::manifest::sync_folder;
use super::pack::{self, HEADER_LEN, PackId, Record};
use super::pack_writer::{NONE, OpenPack, State, Writer};
use super::stage::Stage;
use super::store::Store;

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
    use std::io;
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
