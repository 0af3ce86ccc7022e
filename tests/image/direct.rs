//! Past the page cache, on a file system that does that: what is written is not left in the cache, and a full disk loses
//! nothing that was called done.

use std::fs::File;
use std::path::PathBuf;

use replant::image::{ImageFormat, open_source};

use super::site::*;

/// An ext4 file system in a file, mounted; in it a file that takes up room.
struct Ext4 {
    point: PathBuf,
}

impl Ext4 {
    fn mount(site: &Site, name: &str, size: u64, ballast: u64) -> Self {
        crate::common::require_root();
        let point = site.path(name);
        let script = "truncate -s \"$2\" \"$1.img\"; mke2fs -q -F -t ext4 -m 0 -O ^has_journal \"$1.img\"; mkdir \"$1\"
             mount -o loop \"$1.img\" \"$1\"; fallocate -l \"$3\" \"$1/ballast\"";
        let arguments = ["-euc", script, "sh", point.to_str().unwrap(), &size.to_string(), &ballast.to_string()];
        let output = tool("sh", "e2fsprogs", &arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        Self { point }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.point.join("ballast")).unwrap();
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.point).status();
    }
}

const SIZE: u64 = 24 * MIB;

#[test]
fn neither_a_deploy_nor_its_read_back_leaves_the_disk_in_the_page_cache() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let _disk = Ext4::mount(&site, "target", 40 * MIB, MIB);
    File::create(site.path("target/raw")).unwrap().set_len(SIZE).unwrap();
    // Reads back, too: from the medium, or this would be in the cache now.
    site.deploy(&disk("web01"), "target/raw", ImageFormat::Raw).unwrap();
    let target = open_source(&site.path("target/raw"), ImageFormat::Raw).unwrap();
    // Opening it looked at the first bytes.
    for offset in (MIB..SIZE).step_by(MIB as usize) {
        assert!(!target.cached(offset, 4096), "byte {offset} is in the page cache");
    }
    assert!(same_content(&site.path("source"), &site.path("target/raw")));
    assert!(target.cached(SIZE / 2, 4096), "now that it was read, it is");
}

#[test]
fn a_target_of_odd_size_that_was_full_of_other_bytes_holds_the_image_and_zeros() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    // A file of odd size in pages: its last bytes go through the cache, all else past it.
    let odd = SIZE + 12 * 512;
    std::fs::write(site.path("raw"), vec![0xee; odd as usize]).unwrap();
    site.deploy(&disk("web01"), "raw", ImageFormat::Raw).unwrap();
    let found = std::fs::read(site.path("raw")).unwrap();
    assert!(found[..SIZE as usize] == noise(1, SIZE) && found[SIZE as usize..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_full_store_keeps_what_is_in_it() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    let store = Ext4::mount(&site, "store", 40 * MIB, 24 * MIB);
    let message = chain(&site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap_err());
    assert!(message.starts_with("cannot capture web01/disk0: the store is full: no space left at "), "{message}");
    store.make_room();
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert!(report.stored < SIZE - 8 * MIB, "{} bytes stored again", report.stored);
    let verified = site.run(&["image", "verify", "--deep"]);
    assert_eq!(exit(&verified), 0, "{verified:?}");
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
}

#[test]
fn a_full_target_is_gone_on_with() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let target = Ext4::mount(&site, "target", 40 * MIB, 24 * MIB);
    File::create(site.path("target/raw")).unwrap().set_len(SIZE).unwrap();
    let message = chain(&site.deploy(&disk("web01"), "target/raw", ImageFormat::Raw).unwrap_err());
    assert!(message.starts_with("cannot deploy web01/disk0: no space left for "), "{message}");
    target.make_room();
    site.deploy(&disk("web01"), "target/raw", ImageFormat::Raw).unwrap();
    assert!(same_content(&site.path("source"), &site.path("target/raw")));
}
