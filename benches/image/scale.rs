//! How it grows: with data, with disks, and that memory does not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use replant::image::{Cipher, Compression};
use replant::units::ByteCount;

use super::data::{make_disk, noise, text, used, warm};
use super::measure::{head, middle, once, peak_memory, row};
use super::{Bench, Outcome, remove};

/// A raw disk of log lines, every fourth MiB noise; disks with another seed share nothing.
fn mixed(path: &Path, seed: u64, mib: u64) -> Outcome<()> {
    let file = File::create(path)?;
    let mut buffer = vec![0; 1 << 20];
    for part in 0..mib {
        match part % 4 {
            0 => noise(seed << 32 | part, &mut buffer),
            _ => buffer = text(seed << 32 | part, 1 << 20),
        }
        file.write_all_at(&buffer, part << 20)?;
    }
    Ok(file.sync_all()?)
}

/// Section `several`: one disk after another, and all at once.
pub fn several(bench: &Bench) -> Outcome<()> {
    let mib: u64 = bench.form.pick(16, 128, 1024);
    println!("### 1 to 8 disks of {} into one store\n", ByteCount(mib << 20));
    let disks: Vec<PathBuf> = (0..8).map(|number| bench.path(&format!("disk{number}"))).collect();
    for (number, disk) in (0..).zip(&disks) {
        mixed(disk, number + 1, mib)?;
    }
    head("capture");
    for count in [1, 2, 4, 8] {
        let (mut one, mut all) = (Vec::new(), Vec::new());
        let mut stored = 0;
        for _ in 0..bench.runs.min(3) {
            let store = bench.new_store("store", Cipher::Aes256Gcm)?;
            disks.iter().try_for_each(|disk| warm(disk))?;
            one.push(once(|| {
                for (number, disk) in disks[..count].iter().enumerate() {
                    stored += bench.capture(&store, &format!("m{number}"), disk, Compression::Zstd)?.stored;
                }
                Ok(())
            })?);
            let store = bench.new_store("store", Cipher::Aes256Gcm)?;
            all.push(once(|| {
                let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
                    let running: Vec<_> = disks[..count]
                        .iter()
                        .enumerate()
                        .map(|(number, disk)| {
                            let store = &store;
                            scope.spawn(move || {
                                let done = bench.capture(store, &format!("m{number}"), disk, Compression::Zstd);
                                done.map(drop).map_err(|error| error.to_string())
                            })
                        })
                        .collect();
                    running.into_iter().map(|thread| thread.join().unwrap_or(Err("it panicked".into()))).collect()
                });
                outcomes.into_iter().try_for_each(|outcome| outcome.map_err(Into::into))
            })?);
        }
        let bytes = (count as u64 * mib) << 20;
        let (one, all) = (middle(&one), middle(&all));
        let stored = stored / bench.runs.min(3) as u64;
        row(&format!("{count} disk(s), one after another"), one, bytes, stored, "");
        if count > 1 {
            row(
                &format!("{count} disks at once"),
                all,
                bytes,
                stored,
                &format!("one after another is {}", one.times(all)),
            );
        }
    }
    disks.iter().try_for_each(|disk| remove(disk))?;
    remove(&bench.path("store"))
}

/// Section `growth`: a disk with ever more data.
pub fn growth(bench: &Bench) -> Outcome<()> {
    let steps: &[u64] = bench.form.pick::<&[u64]>(&[64], &[64, 256, 512], &[1024, 4096, 16384]);
    println!("### A disk with ever more in use (one run each)\n");
    head("capture of");
    let disk = bench.path("disk");
    for mib in steps {
        make_disk(bench, &disk, mib * 3 / 2 + 256, 0, *mib, 0)?;
        let in_use = used(&disk)?.bytes();
        let store = bench.new_store("store", Cipher::Aes256Gcm)?;
        warm(&disk)?;
        let mut stored = 0;
        let cost = once(|| {
            stored = bench.capture(&store, "bench", &disk, Compression::Zstd)?.stored;
            Ok(())
        })?;
        row(&ByteCount(in_use).to_string(), cost, in_use, stored, "");
        remove(&disk)?;
        remove(&bench.path("store"))?;
    }
    Ok(())
}

/// MiB that a process may have, whatever the disk's size.
const MOST_MEMORY: u64 = 256;

/// Section `memory`: processes of their own, so that their peaks are theirs.
pub fn memory(bench: &Bench) -> Outcome<()> {
    println!("### Most memory of a process (VmHWM)\n\n| disk | data | capture MiB | deploy MiB |\n|---|---|---|---|");
    let (disk, target, store) = (bench.path("disk"), bench.path("target"), bench.path("store"));
    let mib: u64 = bench.form.pick(64, 512, 512);
    for size in [1u64 << 30, 16 << 30, 1 << 40, 8 << 40] {
        for path in [&disk, &target, &store, &bench.path("target.deployed")] {
            remove(path)?;
        }
        let file = File::create(&disk)?;
        file.set_len(size)?;
        for part in 0..mib {
            // All over the disk, and not on the grid of chunks.
            file.write_all_at(&text(part, 1 << 20), size / mib * part / 4096 * 4096)?;
        }
        File::create(&target)?.set_len(size)?;
        let run = |verb: &[&str], path: &Path| -> Outcome<u64> {
            let child = Command::new(env!("CARGO_BIN_EXE_replant"))
                .args(["image"])
                .args(verb)
                .arg(path)
                .args(["--machine", "m", "--disk", "disk0", "--format", "raw", "--store"])
                .arg(&store)
                .env("REPLANT_STORE_KEY", "env:REPLANT_BENCH_KEY")
                .env("REPLANT_BENCH_KEY", "07".repeat(32))
                .stdout(Stdio::null())
                .spawn()?;
            peak_memory(child)
        };
        let (capture, deploy) = (run(&["capture", "--source"], &disk)?, run(&["deploy", "--to"], &target)?);
        println!("| {} | {} | {capture} | {deploy} |", ByteCount(size), ByteCount(mib << 20));
        if capture.max(deploy) >= MOST_MEMORY {
            return Err(format!("{} of memory are promised to be enough", ByteCount(MOST_MEMORY << 20)).into());
        }
    }
    for path in [&disk, &target, &store, &bench.path("target.deployed")] {
        remove(path)?;
    }
    Ok(())
}
