//! Repair: indexes are made again from what the packs prove, torn tails are cut, and what is lost is named. A capture
//! after that stores again what is missing.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use super::catalog::{Catalog, index_path, known_offsets, listed_packs, pack_path, write_entries};
use super::chunk::ChunkId;
use super::control::Control;
use super::error::{ImageError, Result};
use super::index;
use super::lock::Lease;
use super::loss::{Loss, losses};
use super::pack::{self, HEADER_LEN, PackId, Record};
use super::record::{Found, PackWalk};
use super::store::Store;
use crate::units::ByteCount;

/// What was repaired, and what cannot be.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// Packs that were read.
    pub packs: u64,
    /// Chunks that are sound.
    pub chunks: u64,
    /// What was done to each pack that was not as it should be.
    pub repairs: Vec<PackRepair>,
    /// Packs that an index tells of but that are not there.
    pub missing: Vec<PackId>,
    /// What is lost of which disk. A capture of the same source brings it back.
    pub losses: Vec<Loss>,
}

/// What was done to one pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackRepair {
    /// Which.
    pub pack: PackId,
    /// Chunks whose content is not what was stored; they are no longer in the index.
    pub damaged: u64,
    /// Bytes among the records that are none.
    pub garbage: u64,
    /// Bytes that were cut from the end: nothing that can be read lay there.
    pub cut: u64,
    /// Whether the index was made again.
    pub indexed: bool,
    /// Whether the pack's own header was written again.
    pub header: bool,
}

impl PackRepair {
    fn none(pack: PackId) -> Self {
        Self { pack, damaged: 0, garbage: 0, cut: 0, indexed: false, header: false }
    }
}

/// Repairs a store; refused while anybody else works in it. Reads every pack as a whole.
pub fn repair(store: &Store, control: &Control<'_>) -> Result<RepairReport> {
    let _alone = Lease::alone(&store.lock_folder())?;
    let root = store.root();
    let (packs, indexed) = listed_packs(root)?;
    let length = |id: &PackId| std::fs::metadata(pack_path(root, *id)).map_or(0, |meta| meta.len());
    let total: u64 = packs.iter().map(length).sum();
    let mut done = 0;
    let mut report = RepairReport { missing: indexed.difference(&packs).copied().collect(), ..Default::default() };
    report.missing.sort();
    let mut sound = HashSet::new();
    let mut ids: Vec<PackId> = packs.into_iter().collect();
    ids.sort();
    for id in ids {
        let repaired = repair_pack(store, id, &mut sound, &mut |bytes| {
            control.pace(bytes);
            done += bytes;
            control.tick(done, total);
            match control.stopped() {
                true => Err(ImageError::Stopped { done: ByteCount(done), total: ByteCount(total) }),
                false => Ok(()),
            }
        })?;
        report.packs += 1;
        // What is damaged and in no index is as repaired as it can be.
        if repaired.indexed || repaired.header || repaired.cut > 0 {
            report.repairs.push(repaired);
        }
    }
    report.chunks = sound.len() as u64;
    store.files.lock().expect("no thread panics while it opens a pack").clear();
    // What was known before may be wrong now: all is read again.
    let mut fresh = Catalog::default();
    fresh.refresh(root)?;
    *store.catalog.write().expect("no thread panics while it holds the catalog") = fresh;
    report.losses = losses(store, &|id| sound.contains(id))?;
    Ok(report)
}

fn repair_pack(
    store: &Store,
    id: PackId,
    sound: &mut HashSet<ChunkId>,
    passed: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<PackRepair> {
    let path = pack_path(store.root(), id);
    let file = OpenOptions::new().read(true).write(true).open(&path).map_err(ImageError::file("opening", &path))?;
    let reading = || ImageError::file("reading", &path);
    let len = file.metadata().map_err(reading())?.len();
    let known = known_offsets(store.root(), id)?;
    let mut done = PackRepair::none(id);
    let mut walk = PackWalk::new(&file, &store.keys, &known, HEADER_LEN, len).map_err(reading())?;
    // What lies behind the last sound record holds nothing that can be read.
    let (mut records, mut end, mut behind): (Vec<(u64, Record)>, u64, u64) = (Vec::new(), HEADER_LEN, 0);
    while let Some((start, stop, found)) = walk.next().map_err(reading())? {
        passed(stop - start)?;
        match found {
            Found::Sound(record) => {
                sound.insert(record.id);
                records.push((start, record));
                done.garbage += behind;
                (end, behind) = (stop, 0);
            }
            Found::Damaged(_) => done.damaged += 1,
            Found::Garbage => behind += stop - start,
        }
    }
    done.cut = len.saturating_sub(end);
    let writing = || ImageError::file("writing", &path);
    if !pack::header_is_sound(&file, id) {
        file.write_all_at(&pack::header(id), 0).map_err(writing())?;
        done.header = true;
    }
    if len > end {
        file.set_len(end).map_err(writing())?;
    }
    file.sync_data().map_err(writing())?;

    let entries: Vec<u8> = (0..)
        .zip(&records)
        .flat_map(|(number, (offset, record))| index::encode_entry(id, number, *offset, record))
        .collect();
    let path = index_path(store.root(), id);
    let whole = [&index::header(id)[..], &entries].concat();
    done.indexed = std::fs::read(&path).map_or(true, |before| before != whole);
    if done.indexed {
        write_entries(&path, id, 0, &entries)?;
    }
    Ok(done)
}
