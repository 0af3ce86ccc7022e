//! What an appender writes with: one pack after another, each synced, then indexed. The first failed write ends it.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Condvar, Mutex, MutexGuard, Weak};

use super::catalog::{index_path, write_entries};
use super::deploy::KEPT_IN_CACHE;
use super::error::{ImageError, Result};
use super::index;
use super::pack::{HEADER_LEN, PackId, Record};
use super::stage::{Flight, Stage};
use super::store::Store;

/// A pack that grows beyond this is closed at the next sync, so that garbage can be collected pack by pack.
const PACK_LIMIT: u64 = 1 << 30;

/// The writers of a store in this process, by the number of their pack.
pub(super) type Writers = Mutex<HashMap<u32, Weak<Writer>>>;

/// What appends to one pack after another.
#[derive(Default)]
pub(super) struct Writer {
    pub(super) state: Mutex<State>,
    /// A piece has landed, or a pack is closed.
    pub(super) landed: Condvar,
    /// Held by whoever syncs: index entries are numbered.
    pub(super) syncing: Mutex<()>,
    /// The number of the open pack.
    pub(super) own: AtomicU32,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) open: Option<OpenPack>,
    /// Records that are not indexed yet.
    pub(super) pending: Vec<(u64, Record)>,
    pub(super) stored: u64,
    /// The open pack is long enough: nobody appends until it is closed.
    pub(super) closing: bool,
    /// What went wrong. From then on chunks may be missing that callers count on, so nothing is called durable any more.
    pub(super) broken: Option<Broken>,
}

pub(super) struct Broken {
    pub(super) path: PathBuf,
    pub(super) kind: io::ErrorKind,
    pub(super) code: Option<i32>,
}

impl Broken {
    pub(super) fn error(&self) -> ImageError {
        let error = self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error);
        ImageError::file("writing", &self.path)(error)
    }
}

pub(super) struct OpenPack {
    pub(super) id: PackId,
    pub(super) number: u32,
    pub(super) path: PathBuf,
    pub(super) stage: Stage,
    pub(super) len: u64,
    pub(super) indexed: u64,
}

/// No pack has it.
pub(super) const NONE: u32 = u32::MAX;

impl Writer {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it appends")
    }

    /// Writes a piece that got full.
    pub(super) fn fly(&self, flight: Flight, store: &Store) -> Result<()> {
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
    pub(super) fn give_up(&self, state: &mut State, sound: u64, error: io::Error, store: &Store) -> ImageError {
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

    pub(super) fn sync(&self, store: &Store) -> Result<()> {
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
