//! Where to cut a disk into chunks: how much of the root file systems of related machines is stored once.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use replant::image::used::Ranges;

use super::data::used;
use super::measure::{once, sh};
use super::{Bench, Outcome, remove};

/// How to cut.
#[derive(Clone, Copy)]
enum Cut {
    /// Every so many bytes of the disk; what is not in use reads as zeros.
    Grid(u32),
    /// At borders that the content of each used range chooses, so long on average.
    Content(u32),
}

/// What a cut costs and saves.
#[derive(Default)]
struct Tally {
    chunks: u64,
    seen: HashSet<[u8; 16]>,
    stored: u64,
    /// Bytes that each further disk added.
    added: Vec<u64>,
}

impl Tally {
    fn add(&mut self, compressor: &mut zstd::bulk::Compressor<'_>, chunk: &[u8]) -> Outcome<()> {
        if chunk.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.chunks += 1;
        let hash = blake3::hash(chunk);
        if self.seen.insert(*hash.as_bytes().first_chunk().expect("32 bytes")) {
            // What a chunk costs in the store: its content, its record's header, its index entry, its place in a map.
            self.stored += compressor.compress(chunk)?.len().min(chunk.len()) as u64 + 28 + 56 + 64;
        }
        self.stored += 33;
        Ok(())
    }
}

/// Section `cuts`.
pub fn run(bench: &Bench) -> Outcome<()> {
    if bench.roots.len() < 2 {
        println!("### Cuts\n\n(not measured: REPLANT_BENCH_ROOTS names no two root file systems)");
        return Ok(());
    }
    let alone: Vec<PathBuf> = (0..bench.roots.len()).map(|number| bench.path(&format!("root{number}"))).collect();
    for (root, disk) in bench.roots.iter().zip(&alone) {
        install(bench, disk, &[root])?;
    }
    table("Three machines, each installed for itself", &alone)?;
    alone.iter().try_for_each(|disk| remove(disk))?;
    // One machine is the template of all others, which then get packages of their own.
    let template = bench.path("template");
    install(bench, &template, &[&bench.roots[0]])?;
    let mut clones = vec![template.clone()];
    for root in &bench.roots[1..] {
        let clone = bench.path(&format!("clone{}", clones.len()));
        sh("cp --sparse=always \"$1\" \"$2\"", &[&template, &clone])?;
        unpack(bench, &clone, root)?;
        clones.push(clone);
    }
    println!();
    table("A template and machines that were cloned from it and then got other packages", &clones)?;
    clones.iter().try_for_each(|disk| remove(disk))
}

fn install(bench: &Bench, disk: &Path, roots: &[&PathBuf]) -> Outcome<()> {
    File::create(disk)?.set_len(3 << 30)?;
    sh(
        "printf 'label: dos\\nstart=1MiB,type=83\\n' | sfdisk -q \"$1\"
         L=$(losetup -f --show -o 1M \"$1\"); mke2fs -q -t ext4 -F $L; losetup -d $L",
        &[disk],
    )?;
    roots.iter().try_for_each(|root| unpack(bench, disk, root))
}

fn unpack(bench: &Bench, disk: &Path, root: &Path) -> Outcome<()> {
    let point = bench.path("mnt");
    std::fs::create_dir_all(&point)?;
    sh(
        "L=$(losetup -f --show -o 1M \"$1\"); trap 'umount \"$3\"; losetup -d $L' EXIT
         mount $L \"$3\"; tar -C \"$3\" --skip-old-files -xf \"$2\"; sync -f \"$3\"",
        &[disk, root, &point],
    )
    .map(drop)
}

fn table(title: &str, disks: &[PathBuf]) -> Outcome<()> {
    let sets = disks.iter().map(|disk| used(disk)).collect::<Outcome<Vec<Ranges>>>()?;
    let in_use: u64 = sets.iter().map(Ranges::bytes).sum();
    println!(
        "### {title}: {} disks, {:.1} MB in use together\n\n| cut | chunks | MB stored | added by each further disk | cpu s |\n|---|---|---|---|---|",
        disks.len(),
        in_use as f64 / 1e6
    );
    let kib = |size: u32| size >> 10;
    let grids = [64u32, 128, 256, 512, 1024, 4096].map(|size| Cut::Grid(size << 10));
    let contents = [64u32, 256, 1024].map(|size| Cut::Content(size << 10));
    for cut in grids.into_iter().chain(contents) {
        let mut tally = Tally::default();
        let cost = once(|| {
            for (disk, ranges) in disks.iter().zip(&sets) {
                let before = tally.stored;
                cut_disk(cut, disk, ranges, &mut tally)?;
                tally.added.push(tally.stored - before);
            }
            Ok(())
        })?;
        let name = match cut {
            Cut::Grid(size) => format!("grid of {} KiB", kib(size)),
            Cut::Content(size) => format!("by content, {} KiB on average", kib(size)),
        };
        let added: Vec<String> = tally.added[1..].iter().map(|bytes| format!("{:.1}", *bytes as f64 / 1e6)).collect();
        println!(
            "| {name} | {} | {:.1} | {} | {:.1} |",
            tally.chunks,
            tally.stored as f64 / 1e6,
            added.join(", "),
            cost.cpu.as_secs_f64()
        );
    }
    Ok(())
}

fn cut_disk(cut: Cut, disk: &Path, ranges: &Ranges, tally: &mut Tally) -> Outcome<()> {
    let file = File::open(disk)?;
    let mut compressor = zstd::bulk::Compressor::new(1)?;
    match cut {
        Cut::Grid(size) => {
            let size = u64::from(size);
            let (mut buffer, mut current) = (vec![0; size as usize], None);
            for range in ranges.as_slice() {
                let mut at = range.start;
                while at < range.end {
                    let chunk = at / size;
                    if current.is_some_and(|current| current != chunk) {
                        tally.add(&mut compressor, &buffer)?;
                        buffer.fill(0);
                    }
                    current = Some(chunk);
                    let end = range.end.min((chunk + 1) * size);
                    file.read_exact_at(&mut buffer[(at % size) as usize..(at % size + end - at) as usize], at)?;
                    at = end;
                }
            }
            if current.is_some() {
                tally.add(&mut compressor, &buffer)?;
            }
        }
        Cut::Content(average) => {
            for range in ranges.as_slice() {
                // Long ranges in windows, so that memory is bounded; a window ends a chunk.
                let mut at = range.start;
                while at < range.end {
                    let mut buffer = vec![0; (range.end - at).min(64 << 20) as usize];
                    file.read_exact_at(&mut buffer, at)?;
                    for chunk in fastcdc::v2020::FastCDC::new(&buffer, average / 4, average, average * 4) {
                        tally.add(&mut compressor, &buffer[chunk.offset..chunk.offset + chunk.length])?;
                    }
                    at += buffer.len() as u64;
                }
            }
        }
    }
    Ok(())
}
