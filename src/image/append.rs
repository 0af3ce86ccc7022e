//! Adding chunks: each process appends to a pack of its own; `sync` makes them durable, then indexes them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::catalog::{index_path, pack_path, write_entries};
use super::chunk::ChunkId;
use super::deploy::KEPT_IN_CACHE;
use super::error::{ImageError, Result};
use super::index::{self, Location};
use super::key::random;
use super::manifest::sync_folder;
use super::pack::{self, HEADER_LEN, PackId, Record};
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<OpenPack>,
    /// Records that are not indexed yet.
    pending: Vec<(u64, Record)>,
    stored: u64,
}

struct OpenPack {
    id: PackId,
    number: u32,
    path: PathBuf,
    file: File,
    len: u64,
    indexed: u64,
}

impl<'s> Appender<'s> {
    /// Recovers what dead writers left, then appends to a new pack (made when the first chunk comes).
    pub(super) fn new(store: &'s Store) -> Result<Self> {
        store.recover()?;
        Ok(Self { store: Home::Borrowed(store), state: Mutex::new(State::default()) })
    }

    /// As [`Self::new`], for one that lives as long as it wants to.
    pub(super) fn shared(store: Arc<Store>) -> Result<Appender<'static>> {
        store.recover()?;
        Ok(Appender { store: Home::Shared(store), state: Mutex::new(State::default()) })
    }

    /// Whether a chunk needs not be stored.
    pub(super) fn has(&self, id: &ChunkId) -> bool {
        self.store.catalog.read().expect("no thread panics while it holds the catalog").has(id)
    }

    /// Bytes added so far.
    pub(super) fn stored(&self) -> u64 {
        self.state.lock().expect("no thread panics while it appends").stored
    }

    /// Appends a sealed chunk unless another thread just did.
    pub(super) fn append(&self, record: &Record, sealed: &[u8]) -> Result<()> {
        let mut state = self.state.lock().expect("no thread panics while it appends");
        if self.has(&record.id) {
            return Ok(());
        }
        self.append_again(&mut state, record, sealed)
    }

    /// Appends a sealed chunk even if it lies elsewhere already (to empty that pack).
    pub(super) fn copy(&self, record: &Record, sealed: &[u8]) -> Result<()> {
        self.append_again(&mut self.state.lock().expect("no thread panics while it appends"), record, sealed)
    }

    fn append_again(&self, state: &mut State, record: &Record, sealed: &[u8]) -> Result<()> {
        let State { open, pending, stored } = state;
        let open = match open {
            Some(open) => open,
            None => open.insert(self.create()?),
        };
        let offset = open.len;
        let written = open
            .file
            .write_all_at(&record.encode(), offset)
            .and_then(|()| open.file.write_all_at(sealed, offset + pack::RECORD_HEADER_LEN as u64));
        if let Err(error) = written {
            // Best effort: a torn tail is cut when the store is opened next.
            let _ = open.file.set_len(offset);
            return Err(ImageError::file("writing", &open.path)(error));
        }
        open.len += record.len();
        *stored += record.len();
        pending.push((offset, *record));
        let mut catalog = self.store.catalog.write().expect("no thread panics while it holds the catalog");
        catalog.packs[open.number as usize].len = Some(open.len);
        catalog.insert(&record.id, Location { pack: open.number, stored: record.stored, offset });
        Ok(())
    }

    /// Makes everything appended before the call durable and indexed.
    pub(super) fn sync(&self) -> Result<()> {
        let mut state = self.state.lock().expect("no thread panics while it appends");
        let Some(open) = &mut state.open else { return Ok(()) };
        let closing = open.len > PACK_LIMIT;
        let (id, path, first) = (open.id, open.path.clone(), open.indexed);
        let file = open.file.try_clone().map_err(ImageError::file("syncing", &path))?;
        let pending = std::mem::take(&mut state.pending);
        // Others may append while the disk works, unless this pack is to be closed.
        let held = match closing {
            true => Some(state),
            false => {
                drop(state);
                None
            }
        };
        let done = file.sync_data().map_err(ImageError::file("syncing", &path)).and_then(|()| {
            let entries =
                (first..).zip(&pending).flat_map(|(n, (offset, record))| index::encode_entry(id, n, *offset, record));
            write_entries(&index_path(self.store.root(), id), id, first, &entries.collect::<Vec<u8>>())
        });
        let mut state = match held {
            Some(state) => state,
            None => self.state.lock().expect("no thread panics while it appends"),
        };
        if let Err(error) = done {
            // Still unindexed: a later sync tries again.
            let newer = std::mem::take(&mut state.pending);
            state.pending = pending.into_iter().chain(newer).collect();
            return Err(error);
        }
        if state.stored > KEPT_IN_CACHE {
            // Only advice: what is durable need not push others out of the page cache.
            let from = pending.first().map_or(HEADER_LEN, |(offset, _)| *offset);
            let _ = rustix::fs::fadvise(&file, from, None, rustix::fs::Advice::DontNeed);
        }
        let indexed = first + pending.len() as u64;
        let State { open: Some(open), .. } = &mut *state else { return Ok(()) };
        open.indexed = indexed;
        let end = pending.last().map_or(HEADER_LEN, |(offset, record)| offset + record.len());
        let mut catalog = self.store.catalog.write().expect("no thread panics while it holds the catalog");
        let known = &mut catalog.packs[open.number as usize];
        (known.indexed, known.indexed_end) = (indexed, end.max(known.indexed_end));
        if closing {
            state.open = None;
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
        catalog.packs[number as usize].len = Some(HEADER_LEN);
        Ok(OpenPack { id, number, path, file, len: HEADER_LEN, indexed: 0 })
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        // A pack without chunks says nothing.
        let state = self.state.get_mut();
        if let Ok(State { open: Some(open), .. }) = state
            && open.len == HEADER_LEN
        {
            let _ = std::fs::remove_file(index_path(self.store.root(), open.id));
            let _ = std::fs::remove_file(&open.path);
        }
    }
}
