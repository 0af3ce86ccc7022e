//! One disk: captured and deployed; beside `qemu-img`, `partclone`, `zstd`, `cat` and `dd`.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use replant::image::{
    CaptureReport, CaptureRequest, Cipher, Compression, Control, DeployRequest, DiskName, ImageFormat, Qcow2Disk,
    ReadPlan, Store, StoreKey, StoreSettings, capture, deploy,
};
use replant::units::ByteCount;

use super::again::again;
use super::contest::{Job, contest};
use super::data::{PARTITION, copy_used, make_disk, noise as fill_noise, used};
use super::measure::{head, sh, sync};
use super::{Bench, Outcome, remove};

impl Bench {
    pub(super) fn new_store(&self, name: &str, cipher: Cipher) -> Outcome<Store> {
        self.new_store_of(name, StoreSettings::new(cipher))
    }

    pub(super) fn new_store_of(&self, name: &str, settings: StoreSettings) -> Outcome<Store> {
        remove(&self.path(name))?;
        Ok(Store::create(&self.path(name), settings, Some(&StoreKey::new([7; 32])))?)
    }

    /// The job of capturing into a store that is new each time.
    fn fresh<'a>(&'a self, name: &'a str, disk: &'a Path, cipher: Cipher) -> Job<'a> {
        let path = self.path("store");
        Job::new(
            name,
            &[disk.to_owned()],
            move || self.new_store("store", cipher).map(drop),
            move || {
                let store = Store::open(&path, Some(&StoreKey::new([7; 32])))?;
                Ok(self.capture(&store, "bench", disk, Compression::Zstd)?.stored)
            },
        )
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

    pub(super) fn deploy(&self, store: &Store, format: ImageFormat, read_back: bool) -> Outcome<u64> {
        let target = self.path("target");
        let disk = DiskName::new("bench", "disk0")?;
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        let request = DeployRequest { disk, image: None, target, format, read_back };
        Ok(deploy(store, &request, &Control::new(&stop, &tick))?.written)
    }

    /// Removes the target and what is noted about it.
    fn no_target(&self) -> Outcome<()> {
        ["target", "target.deployed", "target.deploying"].into_iter().try_for_each(|name| remove(&self.path(name)))
    }
}

/// Section `jobs`.
pub fn run(bench: &Bench) -> Outcome<()> {
    let (disk, packed, target) = (bench.path("disk"), bench.path("packed.qcow2"), bench.path("target"));
    let (size, data, garbage) = bench.sizes();
    make_disk(bench, &disk, size, 1, data, garbage)?;
    let in_use = used(&disk)?.bytes();
    println!(
        "### A raw disk of {} with one ext4 partition, {} in use, {} allocated (the difference is deleted files)\n",
        ByteCount(size << 20),
        ByteCount(in_use),
        ByteCount(std::fs::metadata(&disk)?.blocks() * 512)
    );
    let plain = bench.path("used");
    copy_used(&disk, &plain)?;
    head("capture");
    let beside = |name, script: String, input: &Path, out: &Path| {
        let (input, out) = (input.to_owned(), out.to_owned());
        let gone = out.clone();
        let inputs = [input.clone()];
        let run = move || {
            sh(&script, &[&input, &out])?;
            sync(&out)?;
            Ok(std::fs::metadata(&out)?.len())
        };
        Job::new(name, &inputs, move || remove(&gone), run)
    };
    let loop_device = format!("L=$(losetup -r -f --show -o {PARTITION} \"$1\"); trap 'losetup -d $L' EXIT;");
    let clone = bench.path("clone.zst");
    let costs = contest(
        bench.runs,
        in_use,
        vec![
            bench.fresh("`replant image capture`, encrypted, zstd", &disk, Cipher::Aes256Gcm),
            beside(
                "`partclone.ext4 -c` to `zstd -1 -T0`, in the clear",
                format!(
                    "{loop_device} partclone.ext4 -c -s $L -o - -L /dev/null 2>/dev/null | zstd -q -1 -T0 -o \"$2\""
                ),
                &disk,
                &clone,
            ),
            beside(
                "`zstd -1 -T0` on the used bytes alone, in the clear",
                "zstd -q -1 -T0 -o \"$2\" \"$1\"".into(),
                &plain,
                &clone,
            ),
            beside(
                "`qemu-img convert -c`, zstd, `-m 8`, in the clear",
                "qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -m 8 \"$1\" \"$2\"".into(),
                &disk,
                &packed,
            ),
            bench.fresh("`replant image capture`, in the clear, zstd", &disk, Cipher::None),
        ],
    )?;
    remove(&clone)?;

    println!();
    head("deploy");
    let store = bench.new_store("store", Cipher::Aes256Gcm)?;
    let image = bench.capture(&store, "bench", &disk, Compression::Zstd)?;
    let packs = store.root().join("packs");
    let empty = || {
        bench.no_target()?;
        Ok(File::create(&target)?.set_len(size << 20)?)
    };
    let written = |script: &'static str, input: &Path| {
        let (input, target) = (input.to_owned(), target.clone());
        move || {
            sh(script, &[&input, &target])?;
            sync(&target)?;
            Ok(std::fs::metadata(&target)?.blocks() * 512)
        }
    };
    contest(
        bench.runs,
        in_use,
        vec![
            Job::new("`replant image deploy` to raw", std::slice::from_ref(&packs), empty, || {
                bench.deploy(&store, ImageFormat::Raw, false)
            }),
            Job::new(
                "`qemu-img convert` of its qcow2 to raw",
                std::slice::from_ref(&packed),
                || bench.no_target(),
                written("qemu-img convert -f qcow2 -O raw -m 8 \"$1\" \"$2\"", &packed),
            ),
            Job::new(
                "`qemu-img convert -t none` of its qcow2 to raw",
                std::slice::from_ref(&packed),
                || bench.no_target(),
                written("qemu-img convert -f qcow2 -O raw -t none -m 8 \"$1\" \"$2\"", &packed),
            ),
            Job::new(
                "`cat` of the used bytes into a file",
                std::slice::from_ref(&plain),
                || bench.no_target(),
                written("cat \"$1\" >\"$2\"", &plain),
            ),
            Job::new(
                "`dd bs=4M oflag=direct` of the used bytes",
                std::slice::from_ref(&plain),
                || bench.no_target(),
                written("dd if=\"$1\" of=\"$2\" bs=4M oflag=direct status=none", &plain),
            ),
            Job::new("`replant image deploy` to raw, `--read-back`", std::slice::from_ref(&packs), empty, || {
                bench.deploy(&store, ImageFormat::Raw, true)
            }),
            Job::new(
                "`replant image deploy` to qcow2",
                std::slice::from_ref(&packs),
                || {
                    bench.no_target()?;
                    Ok(Qcow2Disk::create(&target, size << 20)?)
                },
                || bench.deploy(&store, ImageFormat::Qcow2, false),
            ),
        ],
    )?;
    remove(&packed)?;
    remove(&plain)?;
    empty()?;
    bench.deploy(&store, ImageFormat::Raw, false)?;
    let chunk_size = store.settings().chunk_size;
    if replant::image::digest_disk(&File::open(&target)?, size << 20, chunk_size)? != image.digest {
        return Err("what was deployed is not what was captured".into());
    }
    bench.no_target()?;
    println!();
    again(bench, &store, &disk, in_use, costs[0])?;
    for name in ["store", "disk"] {
        remove(&bench.path(name))?;
    }
    Ok(())
}

/// Section `noise`.
pub fn noise(bench: &Bench) -> Outcome<()> {
    let mib: u64 = bench.form.pick(32, 2048, 4096);
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
    let script = |name, script: &'static str| {
        let (disk, copy) = (disk.clone(), copy.clone());
        let (inputs, gone) = ([disk.clone()], copy.clone());
        let run = move || {
            sh(script, &[&disk, &copy])?;
            if !copy.exists() {
                return Ok(0);
            }
            sync(&copy)?;
            Ok(std::fs::metadata(&copy)?.len())
        };
        Job::new(name, &inputs, move || remove(&gone), run)
    };
    contest(
        bench.runs,
        mib << 20,
        vec![
            bench.fresh("`replant image capture`, encrypted, zstd", &disk, Cipher::Aes256Gcm),
            script("`cat disk >/dev/null`", "cat \"$1\" >/dev/null"),
            script("`cat` into a file", "cat \"$1\" >\"$2\""),
            script("`dd bs=4M oflag=direct` into a file", "dd if=\"$1\" of=\"$2\" bs=4M oflag=direct status=none"),
            bench.fresh("`replant image capture`, in the clear, zstd", &disk, Cipher::None),
        ],
    )?;
    for name in ["noise", "copy", "store"] {
        remove(&bench.path(name))?;
    }
    Ok(())
}
