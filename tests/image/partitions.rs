//! Whole disks with partitions, through capture and deploy: file systems are clean, every file is there, and deleted
//! data stays behind.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use replant::image::{Cipher, Compression, ImageFormat, ReadMode, capture, used::Content};

use super::site::*;
use crate::common::{require_root, require_tool};

/// Written into files that are deleted before the capture.
const GARBAGE: &str = "DELETED-AND-MUST-NOT-TRAVEL-";

/// Runs a script with `sh -euc`, arguments `$1`, `$2`, ...; returns what it prints.
#[track_caller]
fn sh(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A file system somewhere on a disk.
struct Volume {
    name: &'static str,
    /// The program that makes it and its Debian package.
    tool: (&'static str, &'static str),
    /// MiB.
    at: u64,
    len: u64,
    /// `$L` is a loop device over the volume.
    make: &'static str,
    /// Mounts `$L` at `$M`; nothing for FAT, which the kernel may lack.
    mount: &'static str,
    /// Fails unless `$L` is clean.
    check: &'static str,
}

const fn volume(name: &'static str, at: u64, len: u64) -> Volume {
    let (tool, make, mount, check) = match name.as_bytes() {
        b"ext4" => (("mke2fs", "e2fsprogs"), "mke2fs -q -t ext4 -F $L", "mount $L $M", "e2fsck -fn $L"),
        b"ext3" => (("mke2fs", "e2fsprogs"), "mke2fs -q -t ext3 -F $L", "mount $L $M", "e2fsck -fn $L"),
        b"ext2" => (("mke2fs", "e2fsprogs"), "mke2fs -q -t ext2 -F $L", "mount $L $M", "e2fsck -fn $L"),
        b"xfs" => (("mkfs.xfs", "xfsprogs"), "mkfs.xfs -q -f $L", "mount -t xfs $L $M", "xfs_repair -n $L"),
        b"btrfs" => {
            (("mkfs.btrfs", "btrfs-progs"), "mkfs.btrfs -q -f $L", "mount -t btrfs $L $M", "btrfs check --readonly $L")
        }
        b"ntfs" => (
            ("mkntfs", "ntfs-3g"),
            "mkntfs -q -F -p 2048 -H 255 -S 63 $L",
            "ntfs-3g $L $M",
            "ntfsfix -n $L; ntfsinfo -m $L",
        ),
        b"fat" => (("mkfs.fat", "dosfstools"), "mkfs.fat $L", "", "fsck.fat -n $L"),
        _ => (("mkswap", "util-linux"), "mkswap -q $L", "true", "swaplabel $L"),
    };
    Volume { name, tool, at, len, make, mount, check }
}

const DOS: &str = "label: dos
start=1MiB,size=96MiB,type=83,bootable
start=100MiB,size=320MiB,type=83
start=430MiB,type=5
start=431MiB,size=64MiB,type=7
start=500MiB,size=64MiB,type=b
start=570MiB,size=32MiB,type=82
";
const DOS_VOLUMES: [Volume; 5] = [
    volume("ext4", 1, 96),
    volume("xfs", 100, 320),
    volume("ntfs", 431, 64),
    volume("fat", 500, 64),
    volume("swap", 570, 32),
];
const GPT: &str = "label: gpt
start=1MiB,size=64MiB,type=uefi
start=70MiB,size=256MiB
start=330MiB,size=160MiB,type=lvm
start=500MiB,size=48MiB
";
/// Logical volumes lie one MiB into their physical volume, the second right behind the first.
const GPT_VOLUMES: [Volume; 5] = [
    volume("fat", 1, 64),
    volume("btrfs", 70, 256),
    volume("ext3", 331, 64),
    volume("swap", 395, 32),
    volume("ext2", 500, 48),
];
const LVM: &str = "L=$(losetup -f --show -o 330M --sizelimit 160M \"$1\"); trap 'losetup -d $L' EXIT
    export LVM_SUPPRESS_FD_WARNINGS=1
    lvm() { command lvm \"$@\" --driverloaded n --devices $L >/dev/null 2>&1; }
    lvm pvcreate -y $L; lvm vgcreate vg $L
    lvm lvcreate -an -Zn -Wn -y -L 64M -n root vg; lvm lvcreate -an -Zn -Wn -y -L 32M -n swap vg";

const POPULATE: &str = "i=0
    while [ $i -lt 40 ]; do
        mkdir -p $M/d$((i % 7)); head -c $((i * 4099 + 7)) /dev/urandom >$M/d$((i % 7))/f$i
        yes DELETED-AND-MUST-NOT-TRAVEL- | head -c 300000 >$M/gone$i
        i=$((i + 1))
    done
    sync; rm $M/gone*; sync";
const DIGEST: &str = "(cd $M && find . -type f | sort | xargs -r sha256sum)";

impl Volume {
    /// Runs `work` with `$L` set to a loop device over the volume and `$M` to an empty folder.
    #[track_caller]
    fn with(&self, disk: &Path, work: &str) -> String {
        let script = format!(
            "L=$(losetup -f --show -o {}M --sizelimit {}M \"$1\"); M=$(mktemp -d)
             trap 'umount $M 2>/dev/null || :; losetup -d $L; rm -r $M' EXIT\n{work}",
            self.at, self.len
        );
        sh(&script, &[disk.to_str().unwrap()])
    }

    fn fill(&self, disk: &Path) {
        require_tool(self.tool.0, self.tool.1);
        let fill = match (self.name, self.mount) {
            // What was swapped out is nobody's business any more.
            ("swap", _) => {
                "yes DELETED-AND-MUST-NOT-TRAVEL- | head -c 300000 | dd of=$L bs=4096 seek=64 status=none".into()
            }
            ("fat", _) => {
                require_tool("mcopy", "mtools");
                format!(
                    "{POPULATE}; yes DELETED-AND-MUST-NOT-TRAVEL- | head -c 900000 >$M/gone
                    mcopy -s -i $L $M/d* $M/gone ::; mdel -i $L ::gone; rm -r $M/*"
                )
            }
            (_, mount) => format!("{mount}; {POPULATE}"),
        };
        self.with(disk, &format!("{}; {fill}", self.make));
    }

    fn files(&self, disk: &Path) -> String {
        match (self.name, self.mount) {
            ("swap", _) => self.with(disk, "blkid -p -o value -s UUID $L"),
            ("fat", _) => self.with(disk, &format!("mcopy -s -i $L ::/d* $M; {DIGEST}; rm -r $M/*")),
            (_, mount) => self.with(disk, &format!("{mount}; {DIGEST}")),
        }
    }
}

fn holds_garbage(path: &Path) -> bool {
    let status = Command::new("grep").args(["-rqF", GARBAGE]).arg(path).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    status.success()
}

/// Makes a disk of 640 MiB with a table and volumes in it.
fn make_disk(path: &Path, table: &str, volumes: &[Volume]) {
    require_root();
    require_tool("sfdisk", "fdisk");
    File::create(path).unwrap().set_len(640 * MIB).unwrap();
    let text = path.to_str().unwrap();
    sh("printf %s \"$2\" | sfdisk -q \"$1\"", &[text, table]);
    if table.contains("type=lvm") {
        require_tool("lvcreate", "lvm2");
        sh(LVM, &[text]);
    }
    volumes.iter().for_each(|volume| volume.fill(path));
}

#[test]
fn only_what_is_in_use_travels_and_every_file_arrives() {
    for (table, volumes) in [(DOS, &DOS_VOLUMES), (GPT, &GPT_VOLUMES)] {
        // Neither sealed nor compressed, so that what is in the store can be looked for.
        let site = Site::with(Cipher::None);
        let source = site.path("source");
        make_disk(&source, table, volumes);
        assert!(holds_garbage(&source));
        let mut request = site.request(&disk("web01"), "source", ImageFormat::Raw);
        request.compression = Compression::None;
        let (stop, tick) = (std::sync::atomic::AtomicBool::new(false), |_| ());
        let control = replant::image::Control::new(&stop, &tick);
        let report = capture(&site.store(), &request, &control).unwrap();
        assert_eq!(report.reading.warnings(), [""; 0], "{:#?}", report.reading);
        let unknown = report.reading.regions.iter().filter(|region| region.content == Content::Unknown).count();
        assert_eq!(unknown, 0, "{:#?}", report.reading);
        assert!(report.read < 120 * MIB, "{} MiB read", report.read / MIB);
        assert!(!holds_garbage(&site.path("store")), "deleted data is in the store");
        let restored = site.restored(&disk("web01"), 640 * MIB).unwrap();
        assert!(!holds_garbage(&restored), "deleted data travelled");
        for volume in volumes {
            volume.with(&restored, volume.check);
            assert_eq!(volume.files(&restored), volume.files(&source), "{} at {} MiB", volume.name, volume.at);
        }
        let listed =
            |path: &Path| sh("sfdisk -d \"$1\" | sed 's/.*source//; s/.*restored//'", &[path.to_str().unwrap()]);
        assert_eq!(listed(&restored), listed(&source));

        // Everything, on request: an image without the deleted data does not do.
        request.read.mode = ReadMode::Whole;
        let whole = capture(&site.store(), &request, &control).unwrap();
        assert!(!whole.present && whole.reading.regions.is_empty(), "{whole:?}");
        let restored = site.restored(&disk("web01"), 640 * MIB).unwrap();
        sh("cmp \"$1\" \"$2\"", &[source.to_str().unwrap(), restored.to_str().unwrap()]);
        qemu_img(&["compare", "-f", "raw", "-F", "raw", source.to_str().unwrap(), restored.to_str().unwrap()]);
    }
}

#[test]
fn a_disk_that_was_in_use_is_read_whole_with_a_warning() {
    let site = Site::new();
    make_disk(&site.path("disk"), DOS, &DOS_VOLUMES[..1]);
    let (disk_path, source) = (site.path("disk"), site.path("source"));
    // A copy that is taken while the file system is mounted is what a crash leaves.
    let torn = format!(
        "mount $L $M; echo one >$M/file; sync; echo two >$M/other; sync; cp --sparse=always \"$1\" {}",
        source.display()
    );
    DOS_VOLUMES[0].with(&disk_path, &torn);
    let output = site.run(&[
        "image",
        "capture",
        "--machine",
        "web01",
        "--disk",
        "disk0",
        "--source",
        "source",
        "--format",
        "raw",
    ]);
    assert_eq!(exit(&output), 0, "{}", stderr(&output));
    assert!(
        stderr(&output)
            .contains("warning: web01/disk0: the ext at bytes 1048576 to 101711872 is read whole: it is mounted"),
        "{}",
        stderr(&output)
    );
    let shown = site.run(&["image", "show", "web01/disk0"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("ext, read whole: it is mounted"), "{shown:?}");
    let restored = site.restored(&disk("web01"), 640 * MIB).unwrap();
    for (from, len) in [(1, 96), (0, 1)] {
        let skip = format!("cmp -i {}M -n {}M \"$1\" \"$2\"", from, len);
        sh(&skip, &[source.to_str().unwrap(), restored.to_str().unwrap()]);
    }
}

#[test]
fn a_resumed_capture_reads_the_same_ranges() {
    let site = Site::new();
    make_disk(&site.path("source"), GPT, &GPT_VOLUMES[1..2]);
    let request = site.request(&disk("web01"), "source", ImageFormat::Raw);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let tick = |tick: replant::image::Tick| {
        if tick.done >= 90 * MIB {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let rate = replant::units::ByteRate(20 << 20);
    let control = replant::image::Control::new(&stop, &tick).threads(1).limit(Some(rate));
    assert!(capture(&site.store(), &request, &control).unwrap_err().is_stop());
    let go = std::sync::atomic::AtomicBool::new(false);
    let control = replant::image::Control::new(&go, &|_| ());
    // Other ranges: that capture does not go on with this one.
    let (whole, used) = (disk("whole"), disk("web01"));
    let mut other = request.clone();
    other.read.mode = ReadMode::Whole;
    let resumed = capture(&site.store(), &request, &control).unwrap();
    assert!(resumed.resumed >= 90 * MIB, "{resumed:?}");
    let fresh = replant::image::CaptureRequest { disk: whole.clone(), ..request.clone() };
    assert_eq!(capture(&site.store(), &fresh, &control).unwrap().digest, resumed.digest);
    let everything = capture(&site.store(), &other, &control).unwrap();
    assert_eq!((everything.resumed, everything.present), (0, false));
    assert_ne!(everything.digest, resumed.digest);
    assert!(site.store().image_ids(&used).unwrap().len() == 2);
}
