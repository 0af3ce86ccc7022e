//! Used-block maps against file systems that the usual tools made: a copy of the used ranges alone is clean, holds
//! every file as it was, and holds nothing of what was deleted.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use replant::image::used::{Content, ReadAt, UsedMap, used_map};

use crate::common::{TestSite, require_root, require_tool};

/// Written into files that are deleted afterwards.
const GARBAGE: &[u8] = b"DELETED-AND-MUST-NOT-TRAVEL-";
const MIB: u64 = 1 << 20;

struct Disk(File);

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.0.metadata().expect("an open file").len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

/// Runs a script with `sh -euc`, arguments `$1`, `$2`, ...; returns what it prints.
#[track_caller]
fn sh(script: &str, arguments: &[&Path]) -> String {
    let output = Command::new("sh").args(["-euc", script, "sh"]).args(arguments).output().expect("sh runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn map_of(image: &Path) -> UsedMap {
    used_map(&Disk(File::open(image).expect("the image is there"))).expect("the image can be read")
}

/// Copies the used ranges alone into a new sparse file.
fn copy_used(image: &Path, map: &UsedMap) -> PathBuf {
    let copy = image.with_extension("copy");
    let (mut from, mut to) = (File::open(image).expect("there"), File::create(&copy).expect("writable"));
    to.set_len(from.metadata().expect("open").len()).expect("sparse files work");
    for range in map.ranges.as_slice() {
        from.seek(SeekFrom::Start(range.start)).expect("in the file");
        to.seek(SeekFrom::Start(range.start)).expect("in the file");
        std::io::copy(&mut (&from).take(range.end - range.start), &mut to).expect("copied");
    }
    to.flush().expect("written");
    copy
}

fn holds_garbage(image: &Path) -> bool {
    let bytes = std::fs::read(image).expect("readable");
    bytes.windows(GARBAGE.len()).any(|window| window == GARBAGE)
}

/// Fills a mounted file system with files, deletes a part of them, and prints a digest of what is left.
const POPULATE: &str = "
    i=0
    while [ $i -lt 60 ]; do
        mkdir -p \"$M/d$((i % 7))\"
        head -c $((i * 4099 + 7)) /dev/urandom >\"$M/d$((i % 7))/f$i\"
        yes DELETED-AND-MUST-NOT-TRAVEL- | head -c 300000 >\"$M/gone$i\"
        i=$((i + 1))
    done
    sync; rm \"$M\"/gone*; sync
";
const DIGEST: &str = "(cd \"$M\" && find . -type f | sort | xargs sha256sum)";

struct Case {
    tool: (&'static str, &'static str),
    size: u64,
    /// `$1` is the image.
    make: &'static str,
    /// `$1` is the image, `$M` the folder.
    mount: &'static str,
    /// `$1` is the copy; fails if the file system is not clean.
    check: &'static str,
    name: &'static str,
}

const CASES: [Case; 7] = [
    Case {
        tool: ("mke2fs", "e2fsprogs"),
        size: 96 * MIB,
        make: "mke2fs -q -t ext4 -F \"$1\"",
        mount: "mount -o loop \"$1\" \"$M\"",
        check: "e2fsck -fn \"$1\"",
        name: "ext",
    },
    Case {
        tool: ("mke2fs", "e2fsprogs"),
        size: 64 * MIB,
        make: "mke2fs -q -t ext2 -b 1024 -F \"$1\"",
        mount: "mount -o loop \"$1\" \"$M\"",
        check: "e2fsck -fn \"$1\"",
        name: "ext",
    },
    Case {
        tool: ("mke2fs", "e2fsprogs"),
        size: 300 * MIB,
        make: "mke2fs -q -t ext3 -b 4096 -O ^sparse_super,^resize_inode -F \"$1\"",
        mount: "mount -o loop \"$1\" \"$M\"",
        check: "e2fsck -fn \"$1\"",
        name: "ext",
    },
    Case {
        tool: ("mkfs.xfs", "xfsprogs"),
        size: 400 * MIB,
        make: "mkfs.xfs -q -f \"$1\"",
        mount: "mount -o loop \"$1\" \"$M\"",
        check: "xfs_repair -n -f \"$1\"",
        name: "xfs",
    },
    Case {
        tool: ("mkfs.btrfs", "btrfs-progs"),
        size: 300 * MIB,
        make: "mkfs.btrfs -q -f \"$1\"",
        mount: "mount -o loop \"$1\" \"$M\"",
        check: "btrfs check --readonly \"$1\"",
        name: "btrfs",
    },
    Case {
        tool: ("mkntfs", "ntfs-3g"),
        size: 64 * MIB,
        make: "mkntfs -q -F -p 2048 -H 255 -S 63 \"$1\"",
        mount: "ntfs-3g \"$1\" \"$M\"",
        check: "ntfsfix -n \"$1\"; ntfsinfo -m \"$1\" >/dev/null",
        name: "ntfs",
    },
    Case {
        tool: ("mkfs.fat", "dosfstools"),
        size: 64 * MIB,
        make: "mkfs.fat -F 16 \"$1\"",
        mount: "", // the kernel may lack vfat: filled with mtools below
        check: "fsck.fat -n \"$1\"",
        name: "fat",
    },
];

#[test]
fn used_blocks_alone_make_a_clean_file_system_with_every_file() {
    require_root();
    for case in CASES {
        require_tool(case.tool.0, case.tool.1);
        let site = TestSite::new();
        let image = site.join("image");
        File::create(&image).and_then(|file| file.set_len(case.size)).expect("sparse files work");
        sh(case.make, &[&image]);
        let folder = site.join("mnt");
        std::fs::create_dir(&folder).expect("folders can be made");
        let mounted = |image: &Path, work: &str| {
            let script = format!("M=$2; {}; trap 'umount \"$M\"' EXIT; {work}", case.mount);
            sh(&script, &[image, &folder])
        };
        let fat = case.mount.is_empty();
        let before = if fat {
            require_tool("mcopy", "mtools");
            let fill = format!("M=$2/tree; mkdir \"$M\"; {POPULATE} mcopy -s -i \"$1\" \"$M\"/d* ::");
            sh(&fill, &[&image, site.path()]);
            sh(
                "yes DELETED-AND-MUST-NOT-TRAVEL- | head -c 900000 >\"$2/gone\"; mcopy -i \"$1\" \"$2/gone\" ::; mdel -i \"$1\" ::gone",
                &[&image, site.path()],
            );
            sh(&format!("M=$1/tree; {DIGEST}"), &[site.path()])
        } else {
            mounted(&image, POPULATE);
            mounted(&image, DIGEST)
        };
        assert!(holds_garbage(&image), "{}: the deleted files are still on the image", case.make);

        let map = map_of(&image);
        assert!(
            matches!(&map.regions[0].content, Content::Mapped { name } if name == case.name),
            "{}: {:?}",
            case.make,
            map.regions
        );
        assert!(map.ranges.bytes() < case.size * 9 / 10, "{}: {} bytes used", case.make, map.ranges.bytes());
        let copy = copy_used(&image, &map);
        sh(case.check, &[&copy]);
        assert!(!holds_garbage(&copy), "{}: deleted data travelled", case.make);
        let after = if fat {
            sh("mkdir \"$2/out\"; mcopy -s -i \"$1\" ::/d* \"$2/out\"", &[&copy, site.path()]);
            sh(&format!("M=$1/out; {DIGEST}"), &[site.path()])
        } else {
            mounted(&copy, DIGEST)
        };
        assert_eq!(before, after, "{}: files differ", case.make);
    }
}

#[test]
fn a_file_system_that_is_not_clean_is_used_whole() {
    require_root();
    for (make, tool) in [("mke2fs -q -t ext4 -F \"$1\"", "ext"), ("mkfs.xfs -q -f \"$1\"", "xfs")] {
        let site = TestSite::new();
        let image = site.join("image");
        File::create(&image).and_then(|file| file.set_len(400 * MIB)).expect("sparse files work");
        sh(make, &[&image]);
        // A copy that is taken while the file system is mounted is what a crash would leave.
        sh(
            "mkdir \"$2/mnt\"; mount -o loop \"$1\" \"$2/mnt\"; trap 'umount \"$2/mnt\"' EXIT
             echo one >\"$2/mnt/file\"; sync; echo two >\"$2/mnt/other\"; sync; cp --sparse=always \"$1\" \"$2/torn\"",
            &[&image, site.path()],
        );
        let map = map_of(&site.join("torn"));
        assert!(
            matches!(&map.regions[0].content, Content::Whole { name, .. } if name == tool),
            "{make}: {:?}",
            map.regions
        );
        assert_eq!(map.ranges.bytes(), 400 * MIB);
    }
}

#[test]
fn linear_logical_volumes_are_followed() {
    require_root();
    require_tool("lvcreate", "lvm2");
    let site = TestSite::new();
    let image = site.join("image");
    File::create(&image).and_then(|file| file.set_len(200 * MIB)).expect("sparse files work");
    // Without the device mapper: the volumes are written through loop devices at their places.
    let made = sh(
        "L=$(losetup -f --show \"$1\"); trap 'losetup -d $L' EXIT
         export LVM_SUPPRESS_FD_WARNINGS=1
         lvm() { command lvm \"$@\" --driverloaded n --devices $L >/dev/null 2>&1; }
         lvm pvcreate -y $L; lvm vgcreate vg $L
         lvm lvcreate -an -Zn -Wn -y -L 80M -n root vg; lvm lvcreate -an -Zn -Wn -y -L 40M -n data vg
         lvm lvextend -L 100M vg/root
         command lvm pvs --driverloaded n --devices $L --noheadings --nosuffix --units b -o pe_start 2>/dev/null",
        &[&image],
    );
    let first: u64 = made.trim().parse().unwrap_or_else(|_| panic!("pe_start is a number: {made}"));
    // `data` lies behind the first 80 MiB of `root`; it alone gets a file system that is understood.
    let data = first + 80 * MIB;
    let file_system = site.join("data");
    File::create(&file_system).and_then(|file| file.set_len(40 * MIB)).expect("sparse files work");
    sh("mke2fs -q -t ext4 -F \"$1\"", &[&file_system]);
    let disk = File::options().write(true).open(&image).expect("there");
    disk.write_all_at(&std::fs::read(&file_system).expect("just made"), data).expect("in the image");
    let map = map_of(&image);
    let name = map.regions[0].content.to_string();
    assert!(name.contains("data: ext, used blocks only") && name.contains("root: not recognised"), "{name}");
    assert!(map.ranges.contains(first) && map.ranges.contains(data + 40 * MIB), "root is used whole, in both pieces");
    assert!(map.ranges.contains(data + 1024) && !map.ranges.contains(data + 30 * MIB), "data by its bitmap");
    assert!(!map.ranges.contains(first + 150 * MIB), "free extents are left out");
}

#[test]
fn partitions_gaps_and_logical_partitions_are_found() {
    require_tool("sfdisk", "fdisk");
    for (table, partitions) in [
        (
            "label: dos\nstart=2048,size=20480,type=83\nstart=40960,type=5\nstart=43008,size=8192,type=83\nstart=55296,size=8192,type=82\n",
            3,
        ),
        ("label: gpt\nstart=2048,size=20480\nstart=65536,size=8192\n", 2),
    ] {
        let site = TestSite::new();
        let image = site.join("image");
        File::create(&image).and_then(|file| file.set_len(100 * MIB)).expect("sparse files work");
        let script = site.write("table", table);
        sh("sfdisk -q \"$1\" <\"$2\"", &[&image, &script]);
        let map = map_of(&image);
        let found = map.regions.iter().filter(|region| region.content != Content::Unpartitioned).count();
        assert_eq!(found, partitions, "{table}: {:#?}", map.regions);
        assert!(map.ranges.contains(0) && map.ranges.contains(100 * MIB - 1), "both ends are kept");
        assert!(!map.ranges.contains(80 * MIB), "unpartitioned space is left out: {:#?}", map.regions);
    }
}

#[test]
fn random_damage_never_panics() {
    require_tool("mke2fs", "e2fsprogs");
    require_tool("mkntfs", "ntfs-3g");
    for make in [
        "mke2fs -q -t ext4 -F \"$1\"",
        "mkfs.xfs -q -f \"$1\"",
        "mkfs.btrfs -q -f \"$1\"",
        "mkntfs -q -F \"$1\"",
        "mkfs.fat \"$1\"",
    ] {
        let site = TestSite::new();
        let image = site.join("image");
        File::create(&image).and_then(|file| file.set_len(320 * MIB)).expect("sparse files work");
        sh(make, &[&image]);
        let disk = File::options().read(true).write(true).open(&image).expect("there");
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..400 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The first blocks, and where btrfs keeps its superblock.
            let at = (seed >> 33) % 8192 + if seed & 1 == 0 { 0 } else { 65536 };
            let mut byte = [0];
            disk.read_exact_at(&mut byte, at).expect("in the image");
            disk.write_all_at(&[(seed >> 24) as u8], at).expect("in the image");
            let map = map_of(&image);
            assert!(map.ranges.as_slice().iter().all(|range| range.end <= 320 * MIB));
            disk.write_all_at(&byte, at).expect("in the image");
        }
    }
}
