//! Every parser of bytes that come from a disk, as a function of bytes: any input gives a value or an error, never a
//! panic, an endless loop or an allocation beyond measure. `fuzz/` runs them under a fuzzer, `tests/image/fuzz.rs` with
//! mutated samples.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use super::format::fuzz_header;
use super::index::{self, ENTRY_LEN};
use super::key::{Keys, MasterKey};
use super::manifest::{self, Manifest, Unfinished};
use super::map::{self, MapReader};
use super::pack::{self, HEADER_LEN, PackId, RECORD_HEADER_LEN};
use super::record::PackWalk;
use super::seal::Cipher;
use super::set::SealedSet;
use super::store;
use super::used::ReadAt;
use super::used::each::READERS;

/// A target: its name, and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// The targets that are not readers of a disk's structures.
const OTHERS: [Target; 11] = [
    ("qcow2", |bytes| fuzz_header("qcow2", &SparseDisk::decode(bytes))),
    ("vmdk", |bytes| fuzz_header("vmdk", &SparseDisk::decode(bytes))),
    ("vhd", |bytes| fuzz_header("vhd", &SparseDisk::decode(bytes))),
    ("vhdx", |bytes| fuzz_header("vhdx", &SparseDisk::decode(bytes))),
    ("ova", |bytes| super::format::fuzz_archive(Cursor::new(bytes))),
    ("manifest", manifest),
    ("unfinished", |bytes| with_file(bytes, |path| drop(manifest::read::<Unfinished>(path, &keys())))),
    ("set", |bytes| with_file(bytes, |path| drop(manifest::read::<SealedSet>(path, &keys())))),
    ("pack", pack),
    ("index", index),
    ("map", map),
];

/// The names of all targets.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> =
        READERS.iter().map(|(name, _)| *name).chain(OTHERS.iter().map(|(name, _)| *name)).collect();
    names.push("store");
    names
}

/// Runs a target.
///
/// # Panics
/// If the parser does, or if there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some((_, read)) = READERS.iter().find(|(known, _)| *known == name) {
        let _ = read(&SparseDisk::decode(bytes));
    } else if let Some((_, target)) = OTHERS.iter().find(|(known, _)| *known == name) {
        target(bytes);
    } else {
        assert_eq!(name, "store", "no such target");
        store::fuzz_parse(bytes);
    }
}

/// A disk of which some pieces hold data; the rest is zeros, so that a few bytes stand for a large disk.
struct SparseDisk {
    size: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

const SECTOR: u64 = 512;
/// Sectors of the largest disk: 4 GiB.
const MOST_SECTORS: u32 = 1 << 23;

impl SparseDisk {
    /// `sectors u32`, then pieces `sector u32 | length u16 | bytes`.
    fn decode(bytes: &[u8]) -> Self {
        let (head, mut rest) = bytes.split_at_checked(4).unwrap_or((&[0, 1, 0, 0], &[]));
        let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("4 bytes"));
        let mut disk = Self { size: u64::from(number(head) % (MOST_SECTORS + 1)) * SECTOR, pieces: BTreeMap::new() };
        while let Some((head, tail)) = rest.split_at_checked(6) {
            let len = usize::from(u16::from_le_bytes([head[4], head[5]])).min(tail.len());
            let (data, tail) = tail.split_at(len);
            disk.pieces.insert(u64::from(number(head)) * SECTOR, data.to_vec());
            rest = tail;
        }
        disk
    }
}

impl ReadAt for SparseDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        // A piece is shorter than 64 KiB: one that begins before may reach in.
        for (start, data) in self.pieces.range(offset.saturating_sub(65_535)..end) {
            let (from, to) = ((*start).max(offset), (start + data.len() as u64).min(end));
            if from < to {
                buffer[(from - offset) as usize..(to - offset) as usize]
                    .copy_from_slice(&data[(from - start) as usize..(to - start) as usize]);
            }
        }
        Ok(())
    }
}

/// Notes which sectors are read.
struct Recorder<'d> {
    disk: &'d dyn ReadAt,
    read: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl ReadAt for Recorder<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_exact_at(buffer, offset)?;
        let (mut at, end) = (offset / SECTOR * SECTOR, offset + buffer.len() as u64);
        let mut read = self.read.lock().expect("no thread panics while it notes");
        while at < end {
            let mut sector = vec![0; SECTOR.min(self.disk.size() - at) as usize];
            self.disk.read_exact_at(&mut sector, at)?;
            if sector.iter().any(|byte| *byte != 0) {
                read.insert(at / SECTOR, sector);
            }
            at += SECTOR;
        }
        Ok(())
    }
}

/// A sample for the target `name` from a real disk: what the target reads of it, in a few KiB.
pub fn sample(name: &str, disk: &dyn ReadAt) -> Vec<u8> {
    let recorder = Recorder { disk, read: Mutex::new(BTreeMap::new()) };
    match READERS.iter().find(|(known, _)| *known == name) {
        Some((_, read)) => drop(read(&recorder)),
        None => fuzz_header(name, &recorder),
    }
    let sectors = u32::try_from(disk.size() / SECTOR).unwrap_or(MOST_SECTORS).min(MOST_SECTORS);
    let mut bytes = sectors.to_le_bytes().to_vec();
    for (sector, data) in recorder.read.into_inner().expect("no thread panicked").into_iter().take(256) {
        bytes.extend_from_slice(&(sector as u32).to_le_bytes());
        bytes.extend_from_slice(&(data.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&data);
    }
    bytes
}

fn keys() -> Keys {
    Keys::derive(Cipher::None, &MasterKey::in_the_clear([7; 32]))
}

fn with_file(bytes: &[u8], read: impl FnOnce(&std::path::Path)) {
    let file = tempfile::NamedTempFile::new().expect("temporary files work");
    std::fs::write(file.path(), bytes).expect("temporary files work");
    read(file.path());
}

fn manifest(bytes: &[u8]) {
    with_file(bytes, |path| {
        if let Ok(found) = manifest::read_unverified::<Manifest>(path) {
            let _ = (found.name(), found.digest(&keys()));
        }
        let _ = manifest::read::<Manifest>(path, &keys());
    });
}

/// As it is, then with the checks of all records made right, so that what lies behind them is reached.
fn pack(bytes: &[u8]) {
    walk(bytes);
    let mut bytes = bytes.to_vec();
    let mut at = HEADER_LEN as usize;
    while at + RECORD_HEADER_LEN <= bytes.len() {
        bytes[at..at + 4].copy_from_slice(b"rpCH");
        let check = blake3::hash(&bytes[at..at + 48]);
        bytes[at + 48..at + 56].copy_from_slice(&check.as_bytes()[..8]);
        let stored = u32::from_le_bytes(bytes[at + 12..at + 16].try_into().expect("4 bytes"));
        at = at.saturating_add(RECORD_HEADER_LEN).saturating_add(stored as usize);
    }
    walk(&bytes);
}

fn walk(bytes: &[u8]) {
    let file: File = tempfile::tempfile().expect("temporary files work");
    file.write_all_at(bytes, 0).expect("temporary files work");
    let len = bytes.len() as u64;
    let _ = pack::scan(&file, HEADER_LEN, len, |_, _| ());
    let (keys, known) = (keys(), [40, 100, 5000]);
    let mut walk = PackWalk::new(&file, &keys, &known, 0, len).expect("a decompressor");
    let mut end = HEADER_LEN;
    while let Some((start, stop, _)) = walk.next().expect("the file is there") {
        assert!(start == end && stop > start, "a walk that jumps or stands still");
        end = stop;
    }
}

fn index(bytes: &[u8]) {
    let pack = PackId([1; 16]);
    index::decode_entries(pack, 0, bytes, |_, _| ());
    let mut bytes = bytes.to_vec();
    for (number, entry) in (0..).zip(bytes.chunks_exact_mut(ENTRY_LEN)) {
        let check = index::check(pack, number, &entry[..56]);
        entry[56..].copy_from_slice(&check);
    }
    index::decode_entries(pack, 0, &bytes, |offset, record| {
        assert!(offset.checked_add(record.len()).is_some(), "a record beyond all measure");
    });
}

fn map(bytes: &[u8]) {
    let _ = map::decode(bytes);
    with_file(bytes, |path| {
        if let Ok(reader) = MapReader::open(path, [5; 16], keys().map(&[5; 16])) {
            let _ = reader.read_all(|_| Ok(()));
        }
    });
}
