//! Collecting garbage: first a plan, then, alone in the store, exactly what a fresh plan says. Nothing that a finished
//! image or an unfinished capture refers to is ever removed.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::append::Appender;
use super::catalog::{index_path, pack_path};
use super::error::{ImageError, Result};
use super::lock::Lease;
use super::manifest::{disks_below, entries};
use super::map::{Frame, MapEntry, MapReader};
use super::pack::{self, PackId, RECORD_HEADER_LEN};
use super::store::Store;

/// What would be, or was, removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcPlan {
    /// Packs without any chunk in use.
    pub remove: Vec<PackId>,
    /// Packs mostly out of use: their chunks in use move to a new pack first.
    pub repack: Vec<PackId>,
    /// Maps without a manifest, drafts that were never finished, indexes of packs that are gone and not missed.
    pub strays: Vec<PathBuf>,
    /// Bytes in use.
    pub live: u64,
    /// Bytes that are given back.
    pub freed: u64,
}

impl GcPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.repack.is_empty() && self.strays.is_empty()
    }
}

/// Says what could be removed now. Others may work in the store meanwhile.
pub fn plan_garbage(store: &Store) -> Result<GcPlan> {
    let live = live_chunks(store)?;
    store.catalog.write().expect("no thread panics while it holds the catalog").refresh(store.root())?;
    let usage = usage(store, &live)?;
    plan(store, &usage)
}

/// Removes garbage; refused while anybody else works in the store. Returns what was removed.
pub fn collect_garbage(store: &Store) -> Result<GcPlan> {
    let _alone = Lease::alone(&store.lock_folder())?;
    store.recover()?;
    let live = live_chunks(store)?;
    let usage = usage(store, &live)?;
    let plan = plan(store, &usage)?;
    if !plan.repack.is_empty() {
        let appender = Appender::new(store)?;
        for id in &plan.repack {
            move_live(store, *id, &usage, &appender)?;
        }
        appender.sync()?;
    }
    for id in plan.remove.iter().chain(&plan.repack) {
        // The index first: a pack without an index can be read, an index without its pack promises what is gone.
        remove(&index_path(store.root(), *id))?;
        remove(&pack_path(store.root(), *id))?;
    }
    plan.strays.iter().try_for_each(|path| remove(path))?;
    store.files.lock().expect("no thread panics while it opens a pack").clear();
    store.catalog.write().expect("no thread panics while it holds the catalog").refresh(store.root())?;
    Ok(plan)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::file("removing", path)(error)),
        _ => Ok(()),
    }
}

type Id = [u8; 32];

/// Every chunk that any map names. A map that cannot be read ends the work: what it needs is not known.
fn live_chunks(store: &Store) -> Result<HashSet<Id>> {
    let mut live = HashSet::new();
    let mut add = |entry| {
        if let MapEntry::Chunk(digest) = entry {
            live.insert(digest.id(&store.keys.ids).0);
        }
    };
    for (disk, _) in disks_below(&store.images())? {
        for id in store.image_ids(&disk)? {
            let map = MapReader::open(&store.map_path(&disk, id), id.bytes(), store.keys.map(&id.bytes()));
            map.and_then(|map| {
                map.read_all(|entry| {
                    add(entry);
                    Ok(())
                })
            })
            .map_err(ImageError::of("find what is in use by", &disk))?;
        }
        for id in store.unfinished(&disk)? {
            let path = store.map_path(&disk, id);
            if !path.exists() {
                continue;
            }
            // A torn or damaged end is what the capture itself would drop.
            let Ok(mut map) = MapReader::open(&path, id.bytes(), store.keys.map(&id.bytes())) else { continue };
            while let Ok(Frame::Entries(entries)) = map.next() {
                entries.into_iter().for_each(&mut add);
            }
        }
    }
    Ok(live)
}

/// What a pack holds.
#[derive(Default)]
struct PackUsage {
    len: Option<u64>,
    /// Where the chunks in use lie.
    live: Vec<u64>,
    live_bytes: u64,
}

fn usage(store: &Store, live: &HashSet<Id>) -> Result<HashMap<PackId, PackUsage>> {
    let catalog = store.catalog.read().expect("no thread panics while it holds the catalog");
    let mut usage: HashMap<PackId, PackUsage> = HashMap::new();
    for state in &catalog.packs {
        usage.insert(state.id, PackUsage { len: state.len, ..PackUsage::default() });
    }
    for id in live {
        if let Some(location) = catalog.table.get(&super::chunk::ChunkId(*id)) {
            let pack = usage.entry(catalog.packs[location.pack as usize].id).or_default();
            pack.live.push(location.offset);
            pack.live_bytes += RECORD_HEADER_LEN as u64 + u64::from(location.stored);
        }
    }
    Ok(usage)
}

fn plan(store: &Store, usage: &HashMap<PackId, PackUsage>) -> Result<GcPlan> {
    let mut plan = GcPlan::default();
    for (id, pack) in usage {
        plan.live += pack.live_bytes;
        match pack.len {
            Some(len) if pack.live.is_empty() => {
                plan.remove.push(*id);
                plan.freed += len;
            }
            // Half is where moving costs less than it frees. A damaged pack stays as it is: it may yet be repaired.
            Some(len) if pack.live_bytes < (len - pack::HEADER_LEN.min(len)) / 2 && sound(store, *id, pack) => {
                plan.repack.push(*id);
                plan.freed += len - pack.live_bytes;
            }
            // An index that names chunks in use stays, so that errors can say which pack is missing.
            None if pack.live.is_empty() && index_path(store.root(), *id).exists() => {
                plan.strays.push(index_path(store.root(), *id))
            }
            _ => {}
        }
    }
    plan.remove.sort();
    plan.repack.sort();
    plan.strays.extend(strays(store)?);
    plan.strays.sort();
    Ok(plan)
}

/// Whether every chunk in use can be read as it was written.
fn sound(store: &Store, id: PackId, usage: &PackUsage) -> bool {
    let Ok(file) = std::fs::File::open(pack_path(store.root(), id)) else { return false };
    let mut sealed = Vec::new();
    usage.live.iter().all(|offset| {
        let mut header = [0; RECORD_HEADER_LEN];
        let Some(record) = file.read_exact_at(&mut header, *offset).ok().and_then(|()| pack::Record::decode(&header))
        else {
            return false;
        };
        sealed.resize(record.stored as usize, 0);
        file.read_exact_at(&mut sealed, offset + RECORD_HEADER_LEN as u64).is_ok()
            && store.keys.chunk(&record.id).open(&record.place(), &mut sealed).is_ok()
    })
}

/// Copies a pack's chunks in use, sealed as they are.
fn move_live(store: &Store, id: PackId, usage: &HashMap<PackId, PackUsage>, appender: &Appender<'_>) -> Result<()> {
    let path = pack_path(store.root(), id);
    let file = std::fs::File::open(&path).map_err(ImageError::file("opening", &path))?;
    let mut live = usage.get(&id).map_or_else(Vec::new, |pack| pack.live.clone());
    live.sort_unstable();
    let (mut header, mut sealed) = ([0; RECORD_HEADER_LEN], Vec::new());
    for offset in live {
        file.read_exact_at(&mut header, offset).map_err(ImageError::file("reading", &path))?;
        let record = pack::Record::decode(&header)
            .ok_or_else(|| ImageError::damaged(&path, format!("the record at byte {offset} has a damaged header")))?;
        sealed.resize(record.stored as usize, 0);
        file.read_exact_at(&mut sealed, offset + RECORD_HEADER_LEN as u64)
            .map_err(ImageError::file("reading", &path))?;
        appender.copy(&record, &sealed)?;
    }
    Ok(())
}

/// Files that nothing refers to: maps without a manifest or a partial record, drafts.
fn strays(store: &Store) -> Result<Vec<PathBuf>> {
    let mut strays = Vec::new();
    let draft = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".new-"));
    for (_, folder) in disks_below(&store.images())? {
        for path in entries(&folder)? {
            let orphan = path.extension().is_some_and(|ext| ext == "map")
                && !path.with_extension("json").exists()
                && !path.with_extension("partial").exists();
            if orphan || draft(&path) {
                strays.push(path);
            }
        }
    }
    for folder in ["", "packs", "index"] {
        strays.extend(entries(&store.root().join(folder))?.into_iter().filter(draft));
    }
    Ok(strays)
}
