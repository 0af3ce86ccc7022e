//! No space left, on a small file system made for it.

use std::path::{Path, PathBuf};

use replant::image::ImageFormat;

use super::site::*;
use crate::common::SmallDisk;

#[test]
fn a_full_store_says_so_keeps_what_it_has_and_goes_on_later() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, 24 * MIB)).unwrap();
    let small = SmallDisk::mount(site.path("store"), 300 << 10);
    // At every stage: while packs grow, and again with hardly more space.
    for size in [400 << 10, 900 << 10, 3 * MIB, 11 * MIB] {
        small.resize(size);
        let error = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap_err();
        let message = chain(&error);
        assert!(message.starts_with("cannot capture web01/disk0: the store is full: no space left at "), "{message}");
        assert!(site.store().image_ids(&disk("web01")).unwrap().is_empty());
    }
    small.resize(64 * MIB);
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert!(report.stored < 16 * MIB, "{} bytes stored again", report.stored);
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), 24 * MIB).unwrap()));
}

#[test]
fn a_full_target_says_so_and_goes_on_later() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, 24 * MIB)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let small = SmallDisk::mount(site.path("target"), 9 * MIB);
    for (name, format) in [("target/raw", ImageFormat::Raw), ("target/qcow2", ImageFormat::Qcow2)] {
        small.resize(9 * MIB);
        let path = site.path(name);
        match format {
            ImageFormat::Raw => std::fs::File::create(&path).unwrap().set_len(24 * MIB).unwrap(),
            _ => replant::image::Qcow2Disk::create(&path, 24 * MIB).unwrap(),
        }
        let message = chain(&site.deploy(&disk("web01"), name, format).unwrap_err());
        assert!(message.starts_with("cannot deploy web01/disk0: no space left for "), "{message}");
        assert!(!deployed(&path));
        small.resize(64 * MIB);
        site.deploy(&disk("web01"), name, format).unwrap();
        assert!(deployed(&path));
        qemu_img(&[
            "compare",
            "-f",
            "raw",
            "-F",
            format.name(),
            &site.path("source").display().to_string(),
            &path.display().to_string(),
        ]);
        std::fs::remove_file(&path).unwrap();
    }
}

fn deployed(path: &Path) -> bool {
    PathBuf::from(format!("{}.deployed", path.display())).exists()
}
