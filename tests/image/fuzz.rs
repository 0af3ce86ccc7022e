//! Every parser of bytes from disks, fed with samples that real tools wrote, mutated: a fixed number of inputs from
//! fixed seeds. `REPLANT_TEST_LONG=1` runs a hundred times as many; `fuzz/` runs the same targets under libFuzzer.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use replant::image::ImageFormat;
use replant::image::fuzzing::{names, run, sample};
use replant::image::used::ReadAt;

use super::site::{MIB, Site, disk, mixed, sparse, stderr, tool};

/// Inputs per target.
const ROUNDS: u64 = 400;

struct Disk(File);

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// A generator that needs nothing and always gives the same.
pub struct Dice(pub u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides.max(1)
    }
}

/// What goes wrong with numbers in headers.
const EVIL: [u64; 9] = [0, 1, 2, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// A sample with some things wrong.
pub fn mutated(sample: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=dice.roll(6) {
        let at = dice.roll(bytes.len() as u64) as usize;
        match dice.roll(5) {
            _ if bytes.is_empty() => bytes = vec![dice.roll(256) as u8; dice.roll(600) as usize],
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = dice.roll(256) as u8,
            2 => {
                let (value, width) = (EVIL[dice.roll(9) as usize].to_le_bytes(), 1 << dice.roll(4));
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => bytes.truncate(at),
            _ => {
                let from = dice.roll(bytes.len() as u64) as usize;
                let len = (dice.roll(64) as usize).min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + len, at);
            }
        }
    }
    bytes
}

fn made(path: &Path, size: u64, program: &str, package: &str, args: &[&str]) {
    sparse(path, size, &[]);
    let output = tool(program, package, &[args, &[path.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{program}: {}", stderr(&output));
}

/// A disk with a partition table; `label` is `dos` or `gpt`.
fn partitioned(path: &Path, label: &str) {
    sparse(path, 64 * MIB, &[]);
    let table = match label {
        "dos" => "1 : size=8M\\n2 : size=24M, type=5\\n5 : size=4M\\n6 : size=4M\\n",
        _ => "1 : size=8M\\n2 : size=8M\\n3 : size=4M\\n",
    };
    let script = format!("printf 'label: {label}\\n{table}' | sfdisk -q {}", path.display());
    let output = tool("sh", "fdisk", &["-c", &script]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Samples by target, from what the usual tools write.
fn samples() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let site = Site::new();
    let mut samples: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut add = |name: &'static str, from: &str| {
        let bytes = sample(name, &Disk(File::open(site.path(from)).unwrap()));
        assert!(bytes.len() > 40, "{name}: nothing of the sample is read");
        samples.entry(name).or_default().push(bytes);
    };
    made(&site.path("ext4"), 16 * MIB, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4"]);
    made(&site.path("ext2"), 8 * MIB, "mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext2", "-b", "1024"]);
    made(&site.path("xfs"), 320 * MIB, "mkfs.xfs", "xfsprogs", &["-q", "-f"]);
    made(&site.path("btrfs"), 128 * MIB, "mkfs.btrfs", "btrfs-progs", &["-q", "-f"]);
    made(&site.path("ntfs"), 8 * MIB, "mkntfs", "ntfs-3g", &["-q", "-F", "-f"]);
    made(&site.path("fat"), 16 * MIB, "mkfs.fat", "dosfstools", &["-F", "16"]);
    made(&site.path("fat32"), 64 * MIB, "mkfs.fat", "dosfstools", &["-F", "32"]);
    made(&site.path("swap"), 4 * MIB, "mkswap", "util-linux", &["-q"]);
    partitioned(&site.path("mbr"), "dos");
    partitioned(&site.path("gpt"), "gpt");
    for (name, files) in [
        ("ext", &["ext4", "ext2"][..]),
        ("xfs", &["xfs"]),
        ("btrfs", &["btrfs"]),
        ("ntfs", &["ntfs"]),
        ("fat", &["fat", "fat32"]),
        ("swap", &["swap"]),
        ("partitions", &["mbr", "gpt"]),
        ("disk", &["mbr", "gpt", "ext4", "xfs"]),
    ] {
        files.iter().for_each(|file| add(name, file));
    }
    sparse(&site.path("raw"), 4 * MIB, &[(0, b"boot")]);
    for (name, driver) in [("qcow2", "qcow2"), ("vmdk", "vmdk"), ("vhd", "vpc"), ("vhdx", "vhdx")] {
        let (raw, out) = (site.path("raw"), site.path(name));
        super::site::qemu_img(&["convert", "-O", driver, raw.to_str().unwrap(), out.to_str().unwrap()]);
        add(name, name);
    }

    mixed(&site.path("source"), 1);
    site.capture(&disk("m"), "source", ImageFormat::Raw).unwrap();
    let file = |path: &Path| std::fs::read(path).unwrap();
    let mut pack = file(&site.only("packs", "pack"));
    pack.truncate(40_000);
    samples.insert("pack", vec![pack]);
    samples.insert("index", vec![file(&site.only("index", "idx"))[32..2000].to_vec()]);
    samples.insert("map", vec![file(&site.only("images/m/disk0", "map")), [&[1; 33][..], &[0; 9]].concat()]);
    samples.insert("manifest", vec![file(&site.only("images/m/disk0", "json"))]);
    samples.insert("unfinished", vec![file(&site.only("images/m/disk0", "json"))]);
    samples.insert("store", vec![file(&site.path("store/store.json"))]);
    samples.insert("set", vec![b"{\"format\":1,\"id\":\"x\",\"machine\":\"m\",\"disks\":[],\"sealed\":\"\"}".to_vec()]);
    let ovf = "<Envelope><File id='a' href='d.vmdk'/><Disk fileRef='a'/></Envelope>";
    std::fs::write(site.path("a.ovf"), ovf).unwrap();
    std::fs::write(site.path("d.vmdk"), vec![1; 700]).unwrap();
    let (archive, folder) = (site.path("a.ova"), site.path(""));
    let args = ["--format=ustar", "-cf", archive.to_str().unwrap(), "-C", folder.to_str().unwrap(), "a.ovf", "d.vmdk"];
    assert!(tool("tar", "tar", &args).status.success());
    samples.insert("ova", vec![file(&archive)]);
    // What needs a device mapper to be made is made of what its reader looks for.
    let label = [&b"LABELONE"[..], &[0; 12], &[32, 0, 0, 0], b"LVM2 001", &[b'x'; 32], &[0; 400]].concat();
    let lvm = [&[0, 0, 1, 0][..], &1u32.to_le_bytes(), &(label.len() as u16).to_le_bytes(), &label].concat();
    samples.entry("disk").or_default().push(lvm.clone());
    samples.insert("lvm", vec![lvm]);
    samples
}

#[test]
fn no_bytes_on_a_disk_make_a_parser_panic() {
    let samples = samples();
    if let Some(folder) = std::env::var_os("REPLANT_FUZZ_CORPUS") {
        for (name, samples) in &samples {
            let folder = Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (number, sample) in samples.iter().enumerate() {
                std::fs::write(folder.join(format!("sample{number}")), sample).unwrap();
            }
        }
    }
    let rounds = if std::env::var_os("REPLANT_TEST_LONG").is_some() { 100 * ROUNDS } else { ROUNDS };
    for name in names() {
        let samples = samples.get(name).unwrap_or_else(|| panic!("no sample for {name}"));
        for round in 0..rounds {
            let sample = &samples[(round % samples.len() as u64) as usize];
            let input = match round {
                0 => sample.clone(),
                1 => Vec::new(),
                _ => mutated(sample, &mut Dice(round << 8 | name.len() as u64)),
            };
            let outcome = std::panic::catch_unwind(|| run(name, &input));
            if let Err(panic) = outcome {
                let path = std::env::temp_dir().join(format!("replant-fuzz-{name}-{round}"));
                std::fs::write(&path, &input).unwrap();
                eprintln!("{name}, round {round}; the input is {}", path.display());
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Inputs that a fuzzer once found something with, by target.
#[test]
fn what_was_found_once_is_not_found_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/image/found");
    let mut seen = 0;
    for target in std::fs::read_dir(&folder).unwrap() {
        let target = target.unwrap();
        for input in std::fs::read_dir(target.path()).unwrap() {
            run(target.file_name().to_str().unwrap(), &std::fs::read(input.unwrap().path()).unwrap());
            seen += 1;
        }
    }
    assert!(seen > 0, "no inputs in {}", folder.display());
}
