//! The same disk captured again, unchanged and changed; and which grid of chunks serves that best.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use replant::image::{Cipher, Compression, Store, StoreSettings};
use replant::units::ByteCount;

use super::data::{make_disk, noise as fill_noise, text, used, warm};
use super::measure::{Cost, head, middle, once, row, settle};
use super::{Bench, Outcome, remove};

/// How a disk changes: which share of what is in use, in pieces of how many bytes.
const CHANGES: [(&str, u64, u64); 5] = [
    ("nothing changed (but its time stamp)", 0, 4096),
    ("1 % changed, in files of 8 MiB", 100, 8 << 20),
    ("1 % changed, in files of 1 MiB", 100, 1 << 20),
    ("1 % changed, in pieces of 256 KiB", 100, 256 << 10),
    ("1 % changed, in single blocks of 4 KiB", 100, 4096),
];

/// Overwrites content, evenly spread over the large used ranges, which hold files, never over metadata.
struct Changer {
    file: File,
    large: Vec<std::ops::Range<u64>>,
    seed: u64,
}

impl Changer {
    fn new(disk: &Path) -> Outcome<Self> {
        let file = File::options().read(true).write(true).open(disk)?;
        let ranges = used(disk)?.as_slice().to_vec();
        Ok(Self { file, large: ranges, seed: 1000 })
    }

    fn change(&mut self, pieces: u64, len: u64) -> Outcome<()> {
        let large: Vec<_> = self.large.iter().filter(|range| range.end - range.start >= 2 * len + (4 << 20)).collect();
        let total: u64 = large.iter().map(|range| range.end - range.start).sum();
        for piece in 0..pieces {
            let mut at = total / pieces * piece;
            let range = large
                .iter()
                .find(|range| match range.end - range.start > at {
                    true => true,
                    false => {
                        at -= range.end - range.start;
                        false
                    }
                })
                .ok_or("no large range is in use")?;
            self.seed += 1;
            // As compressible as what was there is on average.
            let bytes = match self.seed % 3 {
                0 => {
                    let mut bytes = vec![0; len as usize];
                    fill_noise(self.seed, &mut bytes);
                    bytes
                }
                _ => text(self.seed, len as usize),
            };
            self.file.write_all_at(&bytes, (range.start + at).min(range.end - len) / 4096 * 4096)?;
        }
        self.file.sync_all()?;
        // Another time stamp, so that the disk is read again.
        Ok(self.file.set_modified(std::time::SystemTime::now())?)
    }
}

/// Captures the disk into a store that has it already, after each kind of change.
pub fn again(bench: &Bench, store: &Store, disk: &Path, in_use: u64, first: Cost) -> Outcome<()> {
    head("capture again");
    let mut changer = Changer::new(disk)?;
    for (name, share, len) in CHANGES {
        let (mut costs, mut stored) = (Vec::new(), 0);
        for _ in 0..bench.runs {
            changer.change(in_use.checked_div(share).unwrap_or(0) / len, len)?;
            warm(disk)?;
            settle()?;
            costs.push(once(|| {
                stored = bench.capture(store, "bench", disk, Compression::Zstd)?.stored;
                Ok(())
            })?);
        }
        let cost = middle(&costs);
        let share = format!(
            "the first took {}; new bytes are {:.2} % of what is in use",
            first.times(cost),
            stored as f64 * 100.0 / in_use as f64
        );
        row(name, cost, in_use, stored, &share);
    }
    Ok(())
}

/// Section `grid`: the same, with chunks of several sizes.
pub fn grid(bench: &Bench) -> Outcome<()> {
    let disk = bench.path("disk");
    let (size, data, _) = bench.sizes();
    for kib in [128u32, 256, 512, 1024] {
        make_disk(bench, &disk, size, 1, data, 0)?;
        let in_use = used(&disk)?.bytes();
        println!("### A grid of {kib} KiB, {} in use\n", ByteCount(in_use));
        head("capture");
        let (mut costs, mut stored, mut opened) = (Vec::new(), 0, None);
        for _ in 0..bench.runs {
            let settings = StoreSettings { cipher: Cipher::Aes256Gcm, chunk_size: kib << 10 };
            let store = bench.new_store_of("store", settings)?;
            warm(&disk)?;
            settle()?;
            costs.push(once(|| {
                stored = bench.capture(&store, "bench", &disk, Compression::Zstd)?.stored;
                Ok(())
            })?);
            opened = Some(store);
        }
        let first = middle(&costs);
        row("first", first, in_use, stored, "");
        println!();
        let store = opened.ok_or("no run was asked for")?;
        again(bench, &store, &disk, in_use, first)?;
        println!();
        for name in ["store", "disk"] {
            remove(&bench.path(name))?;
        }
    }
    Ok(())
}
