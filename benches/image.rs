//! Capture and deploy beside `qemu-img convert`, side by side in one run, medians.
//!
//! `cargo bench --bench image -- [SIZE [RUNS [FOLDER]]]`: a raw disk of SIZE (default 1GiB), half of it real files of
//! this machine (below /usr), a sixteenth incompressible, the rest holes; RUNS runs of each job (default 5). Every job
//! reads from a warm page cache and its output is written out before the clock stops.

#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use replant::image::{
    CaptureRequest, Cipher, Compression, Control, DeployRequest, DiskName, ImageFormat, Qcow2Disk, ReadPlan, Store,
    StoreKey, StoreSettings, capture, deploy,
};
use replant::units::ByteCount;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    // `cargo bench` adds `--bench`, `cargo test` adds others; ours are plain words.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let size = words.first().map_or(Ok(ByteCount(1 << 30)), |word| ByteCount::parse(word))?.0;
    let runs = words.get(1).map_or(Ok(5), |word| word.parse())?;
    let folder = match words.get(2) {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let bench = Bench { folder: folder.path().to_owned(), size, runs };
    bench.run()
}

struct Bench {
    folder: PathBuf,
    size: u64,
    runs: usize,
}

/// Wall time and processor time of one run.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Bench {
    fn run(&self) -> Outcome<()> {
        let used = make_disk(&self.path("disk"), self.size)?;
        let cores = std::thread::available_parallelism()?;
        println!(
            "{cores} cores ({}), disk of {}, {} of it used, warm cache, medians of {} runs",
            features(),
            ByteCount(self.size),
            ByteCount(used),
            self.runs
        );
        println!("{:<44} {:>8} {:>8} {:>10} {:>10}", "job", "wall s", "cpu s", "MB/s used", "bytes out");
        let row = |name: &str, cost: Cost, out: u64| {
            let rate = used as f64 / 1e6 / cost.wall.as_secs_f64();
            println!(
                "{name:<44} {:>8.2} {:>8.2} {rate:>10.0} {out:>10}",
                cost.wall.as_secs_f64(),
                cost.cpu.as_secs_f64()
            );
        };
        let (disk, packed) = (self.path("disk"), self.path("packed.qcow2"));
        let (disk, packed) = (disk.to_string_lossy().into_owned(), packed.to_string_lossy().into_owned());

        let qemu_capture = self.median(|| {
            qemu_img(&[
                "convert",
                "-f",
                "raw",
                "-O",
                "qcow2",
                "-c",
                "-o",
                "compression_type=zstd",
                "-m",
                "8",
                &disk,
                &packed,
            ])?;
            sync(Path::new(&packed))
        })?;
        row("qemu-img convert -c zstd -m 8 (in the clear)", qemu_capture, std::fs::metadata(&packed)?.len());
        let sealed = self.median_capture(Cipher::Aes256Gcm, Compression::Zstd)?;
        row("replant capture, zstd, encrypted", sealed.0, sealed.1);
        let clear = self.median_capture(Cipher::None, Compression::Zstd)?;
        row("replant capture, zstd, in the clear", clear.0, clear.1);
        let stored = self.median_capture(Cipher::Aes256Gcm, Compression::None)?;
        row("replant capture, not compressed, encrypted", stored.0, stored.1);

        let store = self.new_store(Cipher::Aes256Gcm)?;
        self.capture(&store, Compression::Zstd)?;
        let again = self.median(|| {
            // Another time stamp, so that the disk is read again.
            File::options().write(true).open(self.path("disk"))?.set_modified(std::time::SystemTime::now())?;
            self.capture(&store, Compression::Zstd).map(drop)
        })?;
        row("replant capture again, nothing new", again, 0);

        let target = self.path("target");
        let target_text = target.to_string_lossy().into_owned();
        let qemu_deploy = self.median(|| {
            remove(&target)?;
            qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "-m", "8", &packed, &target_text])?;
            sync(&target)
        })?;
        row("qemu-img convert to raw", qemu_deploy, used);
        let deployed = self.median(|| {
            remove(&target)?;
            File::create(&target)?.set_len(self.size)?;
            self.deploy(&store, ImageFormat::Raw)
        })?;
        row("replant deploy to raw", deployed, used);
        assert!(same(&self.path("disk"), &target)?, "what was deployed is what was captured");
        let deployed = self.median(|| {
            remove(&target)?;
            Qcow2Disk::create(&target, self.size)?;
            self.deploy(&store, ImageFormat::Qcow2)
        })?;
        row("replant deploy to qcow2", deployed, used);
        println!(
            "capture is {:.1}x as fast as qemu-img; most memory used: {}",
            ratio(qemu_capture, sealed.0),
            peak_memory()?
        );
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn new_store(&self, cipher: Cipher) -> Outcome<Store> {
        let root = self.path("store");
        if root.exists() {
            std::fs::remove_dir_all(&root)?;
        }
        Ok(Store::create(&root, StoreSettings::new(cipher), Some(&StoreKey::new([7; 32])))?)
    }

    fn capture(&self, store: &Store, compression: Compression) -> Outcome<u64> {
        let request = CaptureRequest {
            disk: DiskName::new("bench", "disk0")?,
            source: self.path("disk"),
            format: ImageFormat::Raw,
            identity: None,
            compression,
            read: ReadPlan::default(),
        };
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        Ok(capture(store, &request, &Control::new(&stop, &tick))?.stored)
    }

    fn deploy(&self, store: &Store, format: ImageFormat) -> Outcome<()> {
        for suffix in ["deployed", "deploying"] {
            remove(&self.path(&format!("target.{suffix}")))?;
        }
        let request = DeployRequest {
            disk: DiskName::new("bench", "disk0")?,
            image: None,
            target: self.path("target"),
            format,
            read_back: false,
        };
        let (stop, tick) = (AtomicBool::new(false), |_| ());
        deploy(store, &request, &Control::new(&stop, &tick))?;
        Ok(())
    }

    fn median_capture(&self, cipher: Cipher, compression: Compression) -> Outcome<(Cost, u64)> {
        let mut stored = 0;
        let mut costs = Vec::new();
        for _ in 0..self.runs {
            let store = self.new_store(cipher)?;
            costs.push(measured(|| {
                stored = self.capture(&store, compression)?;
                Ok(())
            })?);
        }
        Ok((median(costs), stored))
    }

    fn median(&self, mut job: impl FnMut() -> Outcome<()>) -> Outcome<Cost> {
        let costs = (0..self.runs).map(|_| measured(&mut job)).collect::<Outcome<Vec<Cost>>>()?;
        Ok(median(costs))
    }
}

fn measured(mut job: impl FnMut() -> Outcome<()>) -> Outcome<Cost> {
    let (wall, cpu) = (Instant::now(), cpu_time()?);
    job()?;
    Ok(Cost { wall: wall.elapsed(), cpu: cpu_time()?.saturating_sub(cpu) })
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    costs[costs.len() / 2]
}

fn ratio(theirs: Cost, ours: Cost) -> f64 {
    theirs.wall.as_secs_f64() / ours.wall.as_secs_f64()
}

/// Processor time of this process and of the children that it waited for.
fn cpu_time() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 =
        fields.get(11..15).ok_or("no times in /proc/self/stat")?.iter().map(|field| field.parse().unwrap_or(0)).sum();
    // The kernel counts in hundredths of a second here, whatever its own clock is.
    Ok(Duration::from_millis(ticks * 10))
}

fn peak_memory() -> Outcome<ByteCount> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(ByteCount(kib * 1024))
}

fn features() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = info.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let known = ["aes", "vaes", "avx2", "avx512f", "sha_ni"];
    known.into_iter().filter(|name| flags.split_whitespace().any(|flag| flag == *name)).collect::<Vec<_>>().join(" ")
}

/// Fills the first half of a disk with real files, then a sixteenth with noise; returns the bytes used.
fn make_disk(path: &Path, size: u64) -> Outcome<u64> {
    let disk = File::create(path)?;
    disk.set_len(size)?;
    let (mut at, end) = (1 << 20, size / 2);
    let mut buffer = Vec::new();
    'fill: while at < end {
        let before = at;
        for entry in walkdir::WalkDir::new("/usr").sort_by_file_name().into_iter().flatten() {
            if !entry.file_type().is_file() {
                continue;
            }
            let Ok(file) = File::open(entry.path()) else { continue };
            buffer.clear();
            file.take(end - at).read_to_end(&mut buffer)?;
            disk.write_all_at(&buffer, at)?;
            // Files begin at blocks, as on a real file system.
            at += (buffer.len() as u64).next_multiple_of(4096);
            if at >= end {
                break 'fill;
            }
        }
        if at == before {
            return Err("no files below /usr".into());
        }
    }
    let mut noise = vec![0; 1 << 20];
    let mut stream = blake3::Hasher::new().finalize_xof();
    for step in 0..(size / 16) >> 20 {
        stream.fill(&mut noise);
        disk.write_all_at(&noise, size / 2 + size / 8 + (step << 20))?;
    }
    disk.sync_all()?;
    Ok(std::os::unix::fs::MetadataExt::blocks(&disk.metadata()?) * 512)
}

fn qemu_img(args: &[&str]) -> Outcome<()> {
    let status = Command::new("qemu-img")
        .args(args)
        .status()
        .map_err(|error| format!("qemu-img: {error}; apt install qemu-utils"))?;
    if status.success() { Ok(()) } else { Err(format!("qemu-img {args:?} ended with {status}").into()) }
}

fn sync(path: &Path) -> Outcome<()> {
    Ok(File::open(path)?.sync_all()?)
}

fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn same(one: &Path, two: &Path) -> Outcome<bool> {
    let (mut one, mut two) = (File::open(one)?, File::open(two)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = one.read(&mut ours)?;
        if len == 0 {
            return Ok(two.read(&mut theirs)? == 0);
        }
        two.read_exact(&mut theirs[..len])?;
        if ours[..len] != theirs[..len] {
            return Ok(false);
        }
    }
}
