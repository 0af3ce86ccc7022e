//! One disk: captured, captured again, deployed; beside `qemu-img`, `partclone`, `zstd` and `cat`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use replant::image::{
    CaptureReport, CaptureRequest, Cipher, Compression, Control, DeployRequest, DiskName, ImageFormat, Qcow2Disk,
    ReadPlan, Store, StoreKey, StoreSettings, capture, deploy,
};
use replant::units::ByteCount;

use super::data::{PARTITION, copy_used, make_disk, noise as fill_noise, used, warm};
use super::measure::{Cost, head, median, middle, once, row, sh, sync};
use super::{Bench, Outcome, remove};

impl Bench {
    pub(super) fn new_store(&self, name: &str, cipher: Cipher) -> Outcome<Store> {
        remove(&self.path(name))?;
        Ok(Store::create(&self.path(name), StoreSettings::new(cipher), Some(&StoreKey::new([7; 32])))?)
    }

    pub(super) fn capture(
        &self,
        store: &Store,
        machine: &str,
        disk: &Path,
        compression: Compression,
    ) -> Outcome<CaptureReport> {
        let request = CaptureRequest {
            disk: DiskName::new(machine, "disk0")?,
            source: disk.to_owned(),
            format: ImageFormat::Raw,
            identity: None,
            compression,
            read: ReadPlan::default(),
        };
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        Ok(capture(store, &request, &Control::new(&stop, &tick))?)
    }

    /// Captures into a new store each time.
    fn fresh(&self, disk: &Path, cipher: Cipher, compression: Compression) -> Outcome<(Cost, u64)> {
        let (mut stored, mut costs) = (0, Vec::new());
        for _ in 0..self.runs {
            let store = self.new_store("store", cipher)?;
            warm(disk)?;
            costs.push(once(|| {
                stored = self.capture(&store, "bench", disk, compression)?.stored;
                Ok(())
            })?);
        }
        Ok((middle(&costs), stored))
    }

    fn deploy(&self, store: &Store, format: ImageFormat, read_back: bool) -> Outcome<()> {
        let target = self.path("target");
        for suffix in ["deployed", "deploying"] {
            remove(&self.path(&format!("target.{suffix}")))?;
        }
        let disk = DiskName::new("bench", "disk0")?;
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        deploy(store, &DeployRequest { disk, image: None, target, format, read_back }, &Control::new(&stop, &tick))?;
        Ok(())
    }
}

/// Section `jobs`.
pub fn run(bench: &Bench) -> Outcome<()> {
    let (disk, packed, target) = (bench.path("disk"), bench.path("packed.qcow2"), bench.path("target"));
    let (size, data, garbage) = bench.sizes();
    make_disk(bench, &disk, size, 1, data, garbage)?;
    let in_use = used(&disk)?.bytes();
    let allocated = std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(&disk)?) * 512;
    println!(
        "### A raw disk of {} with one ext4 partition, {} in use, {} allocated (the difference is deleted files)\n",
        ByteCount(size << 20),
        ByteCount(in_use),
        ByteCount(allocated)
    );
    head("capture");
    let (sealed, stored) = bench.fresh(&disk, Cipher::Aes256Gcm, Compression::Zstd)?;
    row("`replant image capture`, encrypted, zstd", sealed, in_use, stored, "");
    let beside = |name: &str, script: &str, out: &Path| -> Outcome<Cost> {
        warm(&disk)?;
        let cost = median(bench.runs, || {
            remove(out)?;
            sh(script, &[&disk, out])?;
            sync(out)
        })?;
        row(name, cost, in_use, std::fs::metadata(out)?.len(), &cost.times(sealed));
        Ok(cost)
    };
    let loop_device = format!("L=$(losetup -r -f --show -o {PARTITION} \"$1\"); trap 'losetup -d $L' EXIT;");
    let clone = bench.path("clone.zst");
    beside(
        "`partclone.ext4 -c` to `zstd -1 -T0`, in the clear",
        &format!("{loop_device} partclone.ext4 -c -s $L -o - -L /dev/null 2>/dev/null | zstd -q -1 -T0 -o \"$2\""),
        &clone,
    )?;
    remove(&clone)?;
    let plain = bench.path("used");
    copy_used(&disk, &plain)?;
    let zstd = bench.path("used.zst");
    let alone = median(bench.runs, || {
        remove(&zstd)?;
        sh("zstd -q -1 -T0 -o \"$2\" \"$1\"", &[&plain, &zstd])?;
        sync(&zstd)
    })?;
    row(
        "`zstd -1 -T0` on the used bytes alone, in the clear",
        alone,
        in_use,
        std::fs::metadata(&zstd)?.len(),
        &alone.times(sealed),
    );
    remove(&zstd)?;
    remove(&plain)?;
    beside(
        "`qemu-img convert -c`, zstd, `-m 8`, in the clear",
        "qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -m 8 \"$1\" \"$2\"",
        &packed,
    )?;
    let (clear, out) = bench.fresh(&disk, Cipher::None, Compression::Zstd)?;
    row("`replant image capture`, in the clear, zstd", clear, in_use, out, "");

    println!();
    head("deploy");
    let store = bench.new_store("store", Cipher::Aes256Gcm)?;
    let image = bench.capture(&store, "bench", &disk, Compression::Zstd)?;
    let empty = || -> Outcome<()> {
        remove(&target)?;
        Ok(File::create(&target)?.set_len(size << 20)?)
    };
    warm(&store.root().join("packs"))?;
    let raw = median(bench.runs, || {
        empty()?;
        bench.deploy(&store, ImageFormat::Raw, false)
    })?;
    row("`replant image deploy` to raw", raw, in_use, in_use, "");
    let qcow2 = median(bench.runs, || {
        remove(&target)?;
        Qcow2Disk::create(&target, size << 20)?;
        bench.deploy(&store, ImageFormat::Qcow2, false)
    })?;
    row("`replant image deploy` to qcow2", qcow2, in_use, in_use, "");
    let checked = once(|| {
        empty()?;
        bench.deploy(&store, ImageFormat::Raw, true)
    })?;
    row("`replant image deploy` to raw, `--read-back` (one run)", checked, in_use, in_use, "");
    let source = File::open(&disk)?;
    let digest = replant::image::digest_disk(&File::open(&target)?, size << 20, 1 << 20)?;
    if digest != image.digest {
        return Err("what was deployed is not what was captured".into());
    }
    drop(source);
    warm(&packed)?;
    let theirs = median(bench.runs, || {
        remove(&target)?;
        sh("qemu-img convert -f qcow2 -O raw -m 8 \"$1\" \"$2\"", &[&packed, &target])?;
        sync(&target)
    })?;
    row("`qemu-img convert` of its qcow2 to raw", theirs, in_use, allocated, &theirs.times(raw));
    remove(&packed)?;
    remove(&target)?;
    copy_used(&disk, &plain)?;
    let cat = median(bench.runs, || {
        remove(&target)?;
        sh("cat \"$1\" >\"$2\"", &[&plain, &target])?;
        sync(&target)
    })?;
    row("`cat` of the used bytes, warm, into a file", cat, in_use, in_use, &cat.times(raw));
    remove(&target)?;
    remove(&plain)?;
    again(bench, &store, &disk, in_use, sealed)?;
    for name in ["store", "disk"] {
        remove(&bench.path(name))?;
    }
    Ok(())
}

/// The same disk again, unchanged and changed.
fn again(bench: &Bench, store: &Store, disk: &Path, in_use: u64, first: Cost) -> Outcome<()> {
    println!();
    head("capture again");
    let file = File::options().read(true).write(true).open(disk)?;
    let ranges = used(disk)?;
    let (mut stored, mut seed) = (0, 1000);
    let mut change = |pieces: u64, len: u64| -> Outcome<()> {
        // Evenly spread over the large used ranges, which hold file content, never over metadata.
        let large: Vec<_> =
            ranges.as_slice().iter().filter(|range| range.end - range.start >= 8 * len + (4 << 20)).collect();
        let total: u64 = large.iter().map(|range| range.end - range.start).sum();
        let mut buffer = vec![0; len as usize];
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
            seed += 1;
            fill_noise(seed, &mut buffer);
            file.write_all_at(&buffer, (range.start + at).min(range.end - len) / 4096 * 4096)?;
        }
        Ok(file.sync_all()?)
    };
    let percent = in_use / 100;
    for (name, pieces, len) in [
        ("nothing changed (but its time stamp)", 0, 4096),
        ("1 % changed, in pieces of 8 MiB", percent / (8 << 20), 8 << 20),
        ("1 % changed, in pieces of 256 KiB", percent / (256 << 10), 256 << 10),
        ("1 % changed, in single blocks of 4 KiB", percent / 4096, 4096),
    ] {
        let mut costs = Vec::new();
        for _ in 0..bench.runs {
            change(pieces, len)?;
            // Another time stamp, so that the disk is read again.
            file.set_modified(std::time::SystemTime::now())?;
            costs.push(once(|| {
                stored = bench.capture(store, "bench", disk, Compression::Zstd)?.stored;
                Ok(())
            })?);
        }
        let cost = middle(&costs);
        let share = format!(
            "{}; new bytes are {:.2} % of what is in use",
            first.times(cost),
            stored as f64 * 100.0 / in_use as f64
        );
        row(name, cost, in_use, stored, &share);
    }
    Ok(())
}

/// Section `noise`.
pub fn noise(bench: &Bench) -> Outcome<()> {
    let mib: u64 = if bench.full { 4096 } else { 256 };
    let (disk, copy) = (bench.path("noise"), bench.path("copy"));
    let file = File::create(&disk)?;
    let mut buffer = vec![0; 1 << 20];
    for part in 0..mib {
        fill_noise(part, &mut buffer);
        file.write_all_at(&buffer, part << 20)?;
    }
    file.sync_all()?;
    println!("### A raw disk of {} that does not compress\n", ByteCount(mib << 20));
    head("job");
    let bytes = mib << 20;
    let (sealed, stored) = bench.fresh(&disk, Cipher::Aes256Gcm, Compression::Zstd)?;
    row("`replant image capture`, encrypted, zstd", sealed, bytes, stored, "");
    warm(&disk)?;
    let read = median(bench.runs, || sh("cat \"$1\" >/dev/null", &[&disk]).map(drop))?;
    row("`cat disk >/dev/null`", read, bytes, 0, &sealed.times(read));
    let write = median(bench.runs, || {
        remove(&copy)?;
        sh("cat \"$1\" >\"$2\"", &[&disk, &copy])?;
        sync(&copy)
    })?;
    row("`cat` into a file", write, bytes, bytes, &format!("the capture is {}", sealed.times(write)));
    for name in ["noise", "copy", "store"] {
        remove(&bench.path(name))?;
    }
    Ok(())
}
