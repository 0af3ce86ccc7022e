//! Scrub: every chunk of every pack is read and proven, a bit at a time, from where the last run stopped.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, known_offsets, listed_packs, pack_path};
use super::chunk::ChunkId;
use super::control::Control;
use super::error::{ImageError, Result};
use super::loss::{Loss, losses};
use super::manifest::write_file;
use super::pack::{HEADER_LEN, PackId};
use super::record::{Found, PackWalk};
use super::store::Store;

/// What a run of the scrub saw.
#[derive(Clone, Debug, Default)]
pub struct ScrubReport {
    /// Chunks that this run read.
    pub chunks: u64,
    /// Bytes of packs that this run read.
    pub bytes: u64,
    /// Bytes of packs that this pass has read, earlier runs included.
    pub passed: u64,
    /// Bytes of all packs.
    pub total: u64,
    /// Whether the pass is at its end: the next run begins a new one.
    pub complete: bool,
    /// What this pass found to be lost of which disk.
    pub losses: Vec<Loss>,
}

/// Where a pass stands; `scrub.json` in the store. It holds no secret and is not believed: a wrong one costs a pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// The pack that is under way, and how far; packs are gone through in the order of their names.
    pack: String,
    offset: u64,
    passed: u64,
    /// Where no sound record is although there should be: pack, first byte, byte behind the last.
    gaps: Vec<(String, u64, u64)>,
}

/// A record of where it is after so many bytes.
const SAVE_EVERY: u64 = 256 << 20;

/// Goes on with the pass, for about `most` bytes.
pub fn scrub(store: &Store, most: Option<u64>, control: &Control<'_>) -> Result<ScrubReport> {
    let _lease = store.lease("scrub the store")?;
    let path = store.root().join("scrub.json");
    let mut cursor: Cursor =
        std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let mut report = ScrubReport::default();
    let mut ids: Vec<PackId> = listed_packs(store.root())?.0.into_iter().collect();
    ids.sort();
    report.total = ids.iter().map(|id| readable(store, *id)).sum();
    ids.retain(|id| id.to_string() >= cursor.pack);
    report.complete = true;
    for id in ids {
        if !scrub_pack(store, id, most.unwrap_or(u64::MAX), control, &mut cursor, &mut report)? {
            report.complete = false;
            break;
        }
    }
    report.passed = cursor.passed;
    let place = |(pack, start, stop): &(String, u64, u64)| Some((PackId::parse(pack)?, *start, *stop));
    let gaps: BTreeSet<(PackId, u64, u64)> = cursor.gaps.iter().filter_map(place).collect();
    let catalog = || store.catalog.read().expect("no thread panics while it holds the catalog");
    report.losses = losses(store, &|id| sound(&catalog(), id, &gaps))?;
    match report.complete {
        true => remove(&path)?,
        false => save(&path, &cursor)?,
    }
    Ok(report)
}

/// Goes through one pack, from where the cursor is; `false` if it stopped before the pack's end.
fn scrub_pack(
    store: &Store,
    id: PackId,
    most: u64,
    control: &Control<'_>,
    cursor: &mut Cursor,
    report: &mut ScrubReport,
) -> Result<bool> {
    let (root, name, mut saved) = (store.root(), id.to_string(), report.bytes);
    let path = pack_path(root, id);
    let reading = || ImageError::file("reading", &path);
    if cursor.pack != name {
        (cursor.pack, cursor.offset) = (name.clone(), HEADER_LEN);
    }
    let file = match File::open(&path) {
        Ok(file) => file,
        // Collected meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(reading()(error)),
    };
    // What a writer is appending now is not indexed yet, and not looked at.
    let (known, end) = (known_offsets(root, id)?, readable(store, id));
    let mut walk = PackWalk::new(&file, &store.keys, &known, cursor.offset, end).map_err(reading())?;
    loop {
        if control.stopped() || report.bytes >= most {
            return Ok(false);
        }
        let Some((start, stop, found)) = walk.next().map_err(reading())? else { return Ok(true) };
        control.pace(stop - start);
        match found {
            Found::Sound(_) => report.chunks += 1,
            // Another pack may hold the chunk, too; the maps say below which one is missed.
            Found::Damaged(_) | Found::Garbage => cursor.gaps.push((name.clone(), start, stop)),
        }
        report.bytes += stop - start;
        cursor.passed += stop - start;
        cursor.offset = stop;
        control.tick(cursor.passed.min(report.total), report.total);
        if report.bytes - saved >= SAVE_EVERY {
            save(&root.join("scrub.json"), cursor)?;
            saved = report.bytes;
        }
    }
}

/// Bytes of a pack that hold records, by its index or, where that is missing, by its own.
fn readable(store: &Store, id: PackId) -> u64 {
    let catalog = store.catalog.read().expect("no thread panics while it holds the catalog");
    catalog.packs.iter().find(|state| state.id == id).map_or(0, |state| state.readable())
}

/// Whether a chunk is in a pack, and not where damage was found.
fn sound(catalog: &Catalog, id: &ChunkId, gaps: &BTreeSet<(PackId, u64, u64)>) -> bool {
    let Some(location) = catalog.table.get(id).filter(|location| catalog.usable(location)) else { return false };
    let pack = catalog.packs[location.pack as usize].id;
    let before = gaps.range(..=(pack, location.offset, u64::MAX)).next_back();
    before.is_none_or(|(gap, _, stop)| *gap != pack || *stop <= location.offset)
}

fn save(path: &Path, cursor: &Cursor) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(cursor).expect("plain records become JSON");
    text.push(b'\n');
    write_file(path, &text)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::file("removing", path)(error)),
        _ => Ok(()),
    }
}
