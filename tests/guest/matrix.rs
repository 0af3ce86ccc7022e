//! The guest matrix: real machines that do not start on the target's hardware, converted, started, and asked over the
//! network. Each row prints what docs/guest-matrix.md shows (`-- --nocapture`).
//!
//! Four rows run always; all of them with `REPLANT_TEST_LONG=1`.

use std::time::Instant;

use crate::common::TestSite;

use super::machine::{Also, BOOKWORM, CONTAINER, READY, Row, Vm, word};

/// Two scripts that run in the restored system, and one that its own init runs, once.
const SCRIPTS: [(&str, &str, &[&str]); 3] = [
    (
        "before-1",
        "guest.run",
        &["#!/bin/sh", "echo \"offline in $(hostname -f 2>/dev/null; cat /etc/hostname)\"", "touch /root/before"],
    ),
    (
        "first-boot-1",
        "guest.first-boot",
        &["#!/bin/sh -e", "test -e /root/before", "test ! -e /root/again", "touch /root/again"],
    ),
    ("after-1", "guest.run", &["#!/bin/sh -e", "test -e /var/lib/replant/firstboot/scripts/01-first-boot-1.sh"]),
];

fn prove(row: &Row) {
    let site = TestSite::new();
    let vm = Vm::new(&site, row);
    if row.also.contains(&Also::SourceBoots) {
        let begun = Instant::now();
        vm.start("source");
        let own = vm.wait_for(&[READY, row.gives_up]);
        println!("| {} on its own hardware | {:.0} s: `{own}` |", row.name, begun.elapsed().as_secs_f64());
        assert!(own.contains("root=/dev/sda1") && own.contains("nics=ens3"), "{own}");
        vm.stop();
        vm.fresh_disks();
    }
    vm.fresh_nvram();
    let begun = Instant::now();
    vm.start("run");
    let before = vm.wait_for(&[row.gives_up, READY]);
    let before_time = begun.elapsed();
    assert!(!before.starts_with(READY), "the copy needs no conversion, so the proof is worth nothing: {before}");
    vm.stop();

    vm.fresh_nvram();
    let scripts = row.also.contains(&Also::Scripts);
    let step = |index: usize| {
        let (id, command, lines) = SCRIPTS[index];
        let lines: Vec<String> = lines.iter().map(|line| parameter("line", line)).collect();
        let name = parameter("name", &format!("{id}.sh"));
        let step = format!("<step id=\"{id}\" command=\"{command}\">{name}{}</step>\n", lines.concat());
        if scripts { step } else { String::new() }
    };
    let (report, convert_time) = vm.convert(&(step(0) + &step(1)), &step(2));
    let edits = report["edits"].as_array().expect("a list of edits");
    let mut ids: Vec<String> = edits.iter().filter_map(|edit| edit["id"].as_str().map(str::to_owned)).collect();
    ids.dedup();

    let begun = Instant::now();
    vm.start("run");
    if row.also.contains(&Also::Encrypted) {
        vm.unlock();
    }
    let ready = vm.wait_for(&[READY, row.gives_up]);
    println!(
        "| {} | {:.0} s: `{}` | {:.0} s, {} edits: {} | {:.0} s: `{}` |",
        row.name,
        before_time.as_secs_f64(),
        before,
        convert_time.as_secs_f64(),
        edits.len(),
        ids.join(", "),
        begun.elapsed().as_secs_f64(),
        ready
    );
    assert!(ready.starts_with(READY), "{}: {ready}", row.name);
    let word = |key: &str| word(&ready, key);
    assert!(word("root=").starts_with(row.root), "{ready}");
    assert_eq!(word("nics="), "ens3", "the adapter keeps its name: {ready}");
    assert!(word("address=").contains("ens3=10.0.9.15/24"), "{ready}");
    assert_eq!(word("gateway="), "10.0.9.2", "{ready}");
    assert!(ready.contains("console=ttyS0") && ready.contains("rootdelay=4"), "the command line is kept: {ready}");
    assert_eq!(vm.answer(), row.name, "the machine answers on its static address");
    if row.also.contains(&Also::Encrypted) {
        for path in ["/etc/crypttab", ":cryptroot/crypttab"] {
            let edit = edits.iter().find(|edit| edit["path"].as_str().is_some_and(|own| own.ends_with(path)));
            let edit = edit.unwrap_or_else(|| panic!("{path}: {edits:#?}"));
            assert_eq!(edit["before"], "cryptroot /dev/sda2 none luks,initramfs");
            assert_eq!(edit["after"], format!("cryptroot UUID={CONTAINER} none luks,initramfs"));
        }
    }
    if row.also.contains(&Also::Rebuilt) {
        let made = edits.iter().find(|edit| edit["id"] == "initramfs.drivers").expect("the initramfs is an edit");
        assert!(made["after"].as_str().is_some_and(|after| after.contains("made anew by the guest's")), "{made}");
    }
    if scripts {
        assert_eq!(vm.wait_for(&["REPLANT-GUEST-"]), "REPLANT-GUEST-READY");
        let ran = edits.iter().find(|edit| edit["path"] == "before-1.sh").expect("a script is an edit");
        assert!(ran["after"].as_str().is_some_and(|said| said.contains(row.name)), "{ran}");
    }
}

fn parameter(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<parameter name=\"{name}\">{value}</parameter>")
}

/// Rows that take a package download or minutes of their own.
fn only_when_long(row: &Row) {
    match std::env::var_os("REPLANT_TEST_LONG") {
        Some(_) => prove(row),
        None => println!("{}: runs with REPLANT_TEST_LONG=1", row.name),
    }
}

#[test]
fn debian_12_bios_ext4_grub_ifupdown() {
    prove(&Row {
        name: "deb12-ext4",
        tree: BOOKWORM,
        options: &["net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[],
    });
}

#[test]
fn debian_12_uefi_vendor_path_lvm_xfs_networkd() {
    prove(&Row {
        name: "deb12-uefi-lvm",
        tree: BOOKWORM,
        options: &["firmware=uefi", "layout=lvm", "fs=xfs", "net=networkd"],
        disks: 1,
        gives_up: ">>Start PXE",
        root: "/dev/mapper/vg0-root",
        also: &[],
    });
}

#[test]
fn debian_12_bios_raid_1_ext4_netplan() {
    prove(&Row {
        name: "deb12-raid",
        tree: BOOKWORM,
        options: &["layout=raid", "net=netplan"],
        disks: 2,
        gives_up: "ALERT!",
        root: "/dev/md",
        also: &[],
    });
}

#[test]
fn debian_13_bios_ext4_networkd() {
    prove(&Row {
        name: "deb13-ext4",
        tree: ["trixie", "cloud", "initramfs-tools"],
        options: &["net=networkd"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[Also::Scripts],
    });
}

#[test]
fn debian_12_bios_ext4_with_its_own_initramfs_tool() {
    only_when_long(&Row {
        name: "deb12-rebuilt",
        tree: BOOKWORM,
        options: &["net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[Also::Rebuilt],
    });
}

#[test]
fn debian_12_bios_lvm_ext4_with_its_own_initramfs_tool() {
    only_when_long(&Row {
        name: "deb12-lvm-rebuilt",
        tree: BOOKWORM,
        options: &["layout=lvm", "filter=yes", "net=networkd"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/mapper/vg0-root",
        also: &[Also::Rebuilt],
    });
}

#[test]
fn debian_12_bios_ext4_with_dracut_as_its_own_tool() {
    only_when_long(&Row {
        name: "deb12-dracut-rebuilt",
        tree: ["bookworm", "cloud", "dracut"],
        options: &["net=networkd"],
        disks: 1,
        gives_up: "Boot has failed",
        root: "/dev/vda1",
        also: &[Also::Rebuilt],
    });
}

#[test]
fn debian_12_bios_encrypted_root_ifupdown() {
    only_when_long(&Row {
        name: "deb12-luks",
        tree: ["bookworm", "cloud-crypt", "initramfs-tools"],
        options: &["layout=luks", "net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/mapper/cryptroot",
        also: &[Also::Encrypted],
    });
}

#[test]
fn debian_12_bios_extlinux_network_manager() {
    only_when_long(&Row {
        name: "deb12-extlinux",
        tree: BOOKWORM,
        options: &["loader=extlinux", "net=networkmanager"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[],
    });
}

#[test]
fn debian_12_bios_btrfs_subvolume_networkd() {
    only_when_long(&Row {
        name: "deb12-btrfs",
        tree: BOOKWORM,
        options: &["fs=btrfs", "net=networkd"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[],
    });
}

#[test]
fn debian_12_bios_lvm_ext4_network_manager() {
    only_when_long(&Row {
        name: "deb12-lvm",
        tree: BOOKWORM,
        options: &["layout=lvm", "filter=yes", "net=networkmanager"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/mapper/vg0-root",
        also: &[],
    });
}

#[test]
fn debian_12_bios_ext4_dracut_networkd() {
    only_when_long(&Row {
        name: "deb12-dracut",
        tree: ["bookworm", "cloud", "dracut"],
        options: &["net=networkd"],
        disks: 1,
        gives_up: "Boot has failed",
        root: "/dev/vda1",
        also: &[],
    });
}

#[test]
fn debian_12_generic_kernel_xfs_ifupdown() {
    only_when_long(&Row {
        name: "deb12-generic",
        tree: ["bookworm", "generic", "initramfs-tools"],
        options: &["fs=xfs", "net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[Also::SourceBoots],
    });
}

#[test]
fn debian_11_bios_ext4_ifupdown() {
    only_when_long(&Row {
        name: "deb11-ext4",
        tree: ["bullseye", "cloud", "initramfs-tools"],
        options: &["net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[],
    });
}

#[test]
fn ubuntu_24_04_bios_ext4_netplan() {
    only_when_long(&Row {
        name: "ubuntu24-ext4",
        tree: ["noble", "generic", "initramfs-tools"],
        options: &["net=netplan"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
        also: &[],
    });
}
