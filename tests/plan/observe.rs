//! Looking at source disks, and binding what was seen.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use camino::Utf8Path;
use replant::diagnostic::Diagnostics;
use replant::inventory::{DiskKind, MachineFacts, observe, resolve};
use replant::plan::{DiskFormat, Firmware};
use replant::units::ByteCount;

use super::files::{Scratch, plan_of, rendered};

/// The first sector of a disk that BIOS boots: code, one partition, signature.
fn bios_sector() -> Vec<u8> {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    sector[446 + 4] = 0x83;
    sector[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&2048u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn raw(scratch: &Scratch, name: &str, start: &[u8], size: u64) {
    let path = scratch.file(name, start);
    fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn qemu_img(folder: &Utf8Path, args: &[&str]) {
    // Where others use the processor it may find that it cannot measure how fast a key is derived; then it is asked again.
    let mut said = String::new();
    for _ in 0..60 {
        let output = Command::new("qemu-img").args(args).current_dir(folder).output();
        let output = output.unwrap_or_else(|error| panic!("qemu-img: {error}; install the Debian package qemu-utils"));
        if output.status.success() {
            return;
        }
        said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !said.contains("accurate CPU usage") {
            break;
        }
    }
    panic!("qemu-img {args:?}: {said}");
}

fn machine(name: &str, disks: &str, more: &str) -> String {
    format!("{{ name: {name}, source: {{ disks: [{disks}] }}{more} }}")
}

fn seen(scratch: &Scratch) -> Vec<MachineFacts> {
    observe(&scratch.plan()).unwrap_or_else(|found| panic!("{}", rendered(&found)))
}

fn refused(scratch: &Scratch) -> Diagnostics {
    observe(&scratch.plan()).unwrap_err()
}

#[test]
fn a_raw_file_is_seen_as_it_is() {
    let scratch = Scratch::new(&plan_of(&[&machine("a", "{ path: a.raw }, { path: b.raw, format: raw }", "")]));
    raw(&scratch, "a.raw", &bios_sector(), 8 << 20);
    raw(&scratch, "b.raw", b"data", 1 << 20);
    let facts = seen(&scratch);
    let (first, second) = (&facts[0].disks[0], &facts[0].disks[1]);
    assert_eq!((first.format, first.kind, first.size), (DiskFormat::Raw, DiskKind::File, ByteCount(8 << 20)));
    assert!(first.allocated.0 < 1 << 20, "most of it is a hole: {}", first.allocated);
    assert_eq!((first.boots, second.boots), (Some(Firmware::Bios), None));
    let words: Vec<&str> = first.identity.split(' ').collect();
    assert!(
        matches!(words[..], ["file", size, mtime, inode]
        if size == format!("size={}", 8 << 20) && mtime.starts_with("mtime=") && inode.starts_with("inode=")),
        "{words:?}"
    );

    let before = first.identity.clone();
    raw(&scratch, "a.raw", &bios_sector(), 9 << 20);
    assert_ne!(seen(&scratch)[0].disks[0].identity, before, "a disk that grew is another one");
}

#[test]
fn a_qcow2_file_is_looked_into() {
    let scratch = Scratch::new(&plan_of(&[&machine("a", "{ path: a.qcow2 }", "")]));
    raw(&scratch, "a.raw", &bios_sector(), 64 << 20);
    qemu_img(&scratch.path(), &["convert", "-O", "qcow2", "a.raw", "a.qcow2"]);
    let facts = seen(&scratch);
    let disk = &facts[0].disks[0];
    assert_eq!((disk.format, disk.size), (DiskFormat::Qcow2, ByteCount(64 << 20)));
    assert_eq!(disk.boots, Some(Firmware::Bios), "the sector inside says so");
    assert!(disk.identity.contains(&format!("size={} ", fs::metadata(scratch.path().join("a.qcow2")).unwrap().len())));
}

#[test]
fn every_disk_that_cannot_be_taken_is_named_with_a_way_out() {
    let disks = [
        "{ path: missing.raw }",
        "{ path: folder }",
        "{ path: pipe }",
        "{ path: empty.raw }",
        "{ path: odd.raw }",
        "{ path: over.qcow2 }",
        "{ path: any.qcow2 }",
        "{ path: secret.qcow2 }",
        "{ path: said-raw, format: raw }",
        "{ path: said-qcow2, format: qcow2 }",
        "{ path: a.vdi }",
        "{ path: part-s001.vmdk }",
        "{ path: cut.qcow2 }",
    ];
    let scratch = Scratch::new(&plan_of(&[&machine("a", &disks.join(", "), "")]));
    let folder = scratch.path();
    fs::create_dir(folder.join("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.join("pipe").as_std_path(),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    scratch.file("empty.raw", b"");
    scratch.file("odd.raw", &[1; 1000]);
    raw(&scratch, "said-qcow2", b"data", 1 << 20);
    scratch.file("cut.qcow2", b"QFI\xfb\0\0\0\x03");
    qemu_img(&folder, &["create", "-q", "-f", "qcow2", "said-raw", "1M"]);
    qemu_img(&folder, &["create", "-q", "-f", "qcow2", "-b", "said-raw", "-F", "qcow2", "over.qcow2"]);
    let secret =
        ["--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=1"];
    qemu_img(&folder, &[&["create", "-q", "-f", "qcow2"][..], &secret, &["secret.qcow2", "1M"]].concat());
    qemu_img(&folder, &["create", "-q", "-f", "vdi", "a.vdi", "1M"]);
    qemu_img(&folder, &["create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", "part.vmdk", "1M"]);
    // A chain whose lowest file is gone, and one that leaves the format of its lower file to be guessed.
    qemu_img(&folder, &["create", "-q", "-f", "qcow2", "-b", "said-raw", "-F", "qcow2", "any.qcow2"]);
    let mut any = fs::read(folder.join("any.qcow2")).unwrap();
    let extension = any.windows(4).position(|bytes| bytes == [0xe2, 0x79, 0x2a, 0xca]).unwrap();
    any[extension] = 0x12;
    scratch.file("any.qcow2", &any);
    qemu_img(&folder, &["rebase", "-u", "-F", "qcow2", "-b", "gone.qcow2", "over.qcow2"]);

    let found = refused(&scratch);
    let drawn = rendered(&found);
    assert_eq!(found.len(), disks.len(), "{drawn}");
    for (diagnostic, disk) in found.iter().zip(disks) {
        assert!(disk.contains(diagnostic.labels[0].span.text()), "the path is underlined: {drawn}");
        assert!(diagnostic.help.is_some(), "{drawn}");
    }
    for words in [
        "there is no disk at",
        "neither a disk file nor a block device",
        "has 0 bytes",
        "has 1000 bytes",
        "gone.qcow2` failed",
        "does not say which format its backing file has",
        "is one part of a disk that is split",
        "is encrypted",
        "is declared as raw, but it is qcow2",
        "is declared as qcow2, but it is raw",
        "is a VDI file",
        "has no readable header",
        "qemu-img convert",
    ] {
        assert!(drawn.contains(words), "{words}: {drawn}");
    }
}

#[test]
fn a_disk_that_may_not_be_read_says_so() {
    let scratch = Scratch::new(&plan_of(&[&machine("a", "{ path: a.raw }", "")]));
    raw(&scratch, "a.raw", b"data", 1 << 20);
    fs::set_permissions(scratch.path().join("a.raw"), fs::Permissions::from_mode(0o000)).unwrap();
    // Root reads everything: there the disk is simply taken.
    match rustix::process::geteuid().is_root() {
        true => assert_eq!(seen(&scratch).len(), 1),
        false => assert!(rendered(&refused(&scratch)).contains("may not be read by this user")),
    }
}

#[test]
fn two_paths_to_one_disk_are_found_out() {
    let scratch =
        Scratch::new(&plan_of(&[&machine("a", "{ path: a.raw }", ""), &machine("b", "{ path: link.raw }", "")]));
    raw(&scratch, "a.raw", b"data", 1 << 20);
    std::os::unix::fs::symlink("a.raw", scratch.path().join("link.raw")).unwrap();
    let found = refused(&scratch);
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), ["source.shared"]);
}

#[test]
fn what_the_target_says_holds_then_the_inventory_then_the_disk() {
    let scratch = Scratch::new(&plan_of(&[
        &machine("a", "{ path: a.raw }", ", inventory: { memory: 1GiB, cpus: 1 }, target: { cpus: 4 }"),
        &machine(
            "b",
            "{ path: b.raw }",
            ", inventory: { memory: 1GiB, cpus: 1, firmware: uefi, nics: [{ mac: \"52:54:00:00:00:01\" }] }",
        ),
        &machine("c", "{ path: c.raw }", ", inventory: { memory: 1GiB, cpus: 1 }"),
    ]));
    for name in ["a.raw", "b.raw"] {
        raw(&scratch, name, &bios_sector(), 1 << 20);
    }
    raw(&scratch, "c.raw", b"data", 1 << 20);
    let plan = scratch.plan();
    let facts = observe(&plan).unwrap();
    let (resolved, warnings) = resolve(plan, facts).unwrap();
    let [a, b, c] = &resolved.machines[..] else { panic!("three machines") };
    assert_eq!((a.memory, a.cpus, a.firmware), (ByteCount(1 << 30), 4, Firmware::Bios));
    assert_eq!((b.firmware, b.nics[0].mac.as_str()), (Firmware::Uefi, "52:54:00:00:00:01"), "declared wins");
    assert_eq!((c.firmware, c.nics.len()), (Firmware::Bios, 0));
    let drawn = rendered(&warnings);
    assert_eq!(warnings.len(), 2, "{drawn}");
    assert!(drawn.contains("`b` is declared for uefi, its boot disk is made for bios"), "{drawn}");
    assert!(drawn.contains("the firmware of `c` is not known"), "{drawn}");
}

#[test]
fn what_nobody_knows_is_asked_for() {
    let scratch = Scratch::new(&plan_of(&[&machine("a", "{ path: a.raw }", "")]));
    raw(&scratch, "a.raw", &bios_sector(), 1 << 20);
    let plan = scratch.plan();
    let facts = observe(&plan).unwrap();
    let found = resolve(plan, facts).unwrap_err();
    let drawn = rendered(&found);
    assert_eq!(found.len(), 1, "{drawn}");
    assert!(
        drawn.contains("`memory` and `cpus` of `a`") && drawn.contains("inventory: { memory: 4GiB, cpus: 2 }"),
        "{drawn}"
    );
}
