//! Disks to measure with.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use replant::image::used::{Ranges, ReadAt, used_map};

use super::measure::sh;
use super::{Bench, Outcome};

/// Where the one partition begins.
pub const PARTITION: u64 = 1 << 20;

/// Bytes that no compressor shrinks; other seeds give other bytes.
pub fn noise(seed: u64, buffer: &mut [u8]) {
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(buffer);
}

/// Log-like lines that shrink to about a third.
pub fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut random = vec![0; len / 10 + 64];
    noise(seed, &mut random);
    let words = ["accepted", "connection", "from", "user", "session", "closed", "for", "request", "served", "in"];
    let mut bytes = Vec::with_capacity(len + 200);
    for part in random.chunks_exact(8).cycle() {
        let number = u64::from_le_bytes(part.try_into().expect("8 bytes"));
        let word = |shift: u64| words[(number >> shift) as usize % words.len()];
        let _ = writeln!(
            bytes,
            "{} host{} {} {} {} id={:08x}",
            1_700_000_000 + number % 10_000_000,
            number % 40,
            word(8),
            word(16),
            word(24),
            number >> 32
        );
        if bytes.len() >= len {
            break;
        }
    }
    bytes.truncate(len);
    bytes
}

/// Fills a folder with `mib` MiB of files of many sizes: a quarter noise, half text, the rest in between.
fn fill(folder: &Path, mib: u64, seed: u64) -> Outcome<()> {
    std::fs::create_dir_all(folder)?;
    let (mut left, mut number) = (mib << 20, 0u64);
    let sizes = [4096, 30_000, 200_000, 1 << 20, 8 << 20, 48 << 20];
    while left > 0 {
        let pick =
            u64::from_le_bytes(*blake3::hash(&(seed + number).to_le_bytes()).as_bytes().first_chunk().expect("32"));
        let size = sizes[(pick % 6) as usize].min(left);
        let mut file = File::create(folder.join(format!("f{number}")))?;
        let mut done = 0;
        while done < size {
            let step = (size - done).min(1 << 20) as usize;
            let part_seed = pick ^ done;
            let bytes = match pick >> 8 & 3 {
                0 => {
                    let mut bytes = vec![0; step];
                    noise(part_seed, &mut bytes);
                    bytes
                }
                1 | 2 => text(part_seed, step),
                _ => {
                    // Every third byte is noise, the others are not: like tables of numbers.
                    let mut noisy = vec![0; step / 3 + 1];
                    noise(part_seed, &mut noisy);
                    (0..step).map(|at| if at % 3 == 0 { noisy[at / 3] } else { (at >> 8) as u8 & 15 }).collect()
                }
            };
            file.write_all(&bytes)?;
            done += step as u64;
        }
        left -= size;
        number += 1;
    }
    Ok(())
}

/// Makes a raw disk with one ext4 partition: a root file system, data, and what is left of deleted files.
pub fn make_disk(bench: &Bench, disk: &Path, size: u64, roots: usize, data: u64, garbage: u64) -> Outcome<()> {
    File::create(disk)?.set_len(size << 20)?;
    let point = bench.path("mnt");
    std::fs::create_dir_all(&point)?;
    let device = sh(
        "printf 'label: dos\\nstart=1MiB,type=83,bootable\\n' | sfdisk -q \"$1\"
         L=$(losetup -f --show -o 1M \"$1\"); mke2fs -q -t ext4 -F $L; mount $L \"$2\"; echo $L",
        &[disk, &point],
    )?;
    let made = fill(&point.join("old"), garbage, 1 << 40)
        .and_then(|()| sh("sync -f \"$1\"", &[&point]))
        .and_then(|_| match roots {
            0 => Ok(()),
            _ => root(bench, &point),
        })
        .and_then(|()| fill(&point.join("srv/data"), data, 1))
        .and_then(|()| sh("sync -f \"$1\"; rm -r \"$1/old\"; sync -f \"$1\"", &[&point]).map(drop));
    sh("umount \"$1\"; losetup -d \"$2\"", &[&point, Path::new(&device)])?;
    made
}

/// Unpacks the first root file system, or copies some of this machine's own files.
fn root(bench: &Bench, to: &Path) -> Outcome<()> {
    match bench.roots.first() {
        Some(tar) => sh("tar -C \"$2\" -xf \"$1\"", &[tar, to]).map(drop),
        None => {
            std::fs::create_dir_all(to.join("usr"))?;
            let mut left: u64 = bench.form.pick(30, 200, 200) << 20;
            for (number, entry) in walkdir::WalkDir::new("/usr").sort_by_file_name().into_iter().flatten().enumerate() {
                let len = entry.metadata().map_or(0, |meta| meta.len());
                if entry.file_type().is_file() && len <= left && number % 3 == 0 {
                    std::fs::copy(entry.path(), to.join(format!("usr/{number}")))?;
                    left -= len;
                }
            }
            Ok(())
        }
    }
}

/// A file as a disk.
pub struct Disk(pub File);

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |meta| meta.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// What is in use on a disk.
pub fn used(disk: &Path) -> Outcome<Ranges> {
    Ok(used_map(&Disk(File::open(disk)?))?.ranges)
}

/// Copies the used bytes of a disk, one after another, into a file.
pub fn copy_used(disk: &Path, to: &Path) -> Outcome<()> {
    let (disk_file, mut out) = (File::open(disk)?, File::create(to)?);
    let mut buffer = vec![0; 4 << 20];
    for range in used(disk)?.as_slice() {
        let mut at = range.start;
        while at < range.end {
            let step = (range.end - at).min(buffer.len() as u64) as usize;
            disk_file.read_exact_at(&mut buffer[..step], at)?;
            out.write_all(&buffer[..step])?;
            at += step as u64;
        }
    }
    Ok(out.sync_all()?)
}

/// Brings a file, or the files of a folder, into the page cache, but for holes.
pub fn warm(path: &Path) -> Outcome<()> {
    if path.is_dir() {
        return std::fs::read_dir(path)?.try_for_each(|entry| warm(&entry?.path()));
    }
    let (file, mut buffer, mut at) = (File::open(path)?, vec![0; 1 << 20], 0);
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(at)) {
        let end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data))?;
        at = data;
        while at < end {
            match file.read_at(&mut buffer, at)? {
                0 => return Ok(()),
                read => at += read as u64,
            }
        }
    }
    Ok(())
}
