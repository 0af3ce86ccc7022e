//! What comes out is what went in.

use std::os::unix::fs::FileExt;

use replant::image::Control;
use replant::image::{Cipher, DiskName, ImageFormat, Qcow2Disk, digest_disk, export};
use std::sync::atomic::AtomicBool;

use super::site::*;

#[test]
fn raw_disks_come_back_byte_for_byte_encrypted_or_not() {
    for cipher in [Cipher::Aes256Gcm, Cipher::None] {
        let site = Site::with(cipher);
        let size = mixed(&site.path("source"), 1);
        let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
        assert_eq!(report.size, size);
        let source = std::fs::File::open(site.path("source")).unwrap();
        assert_eq!(report.digest, digest_disk(source, size, 64 << 10).unwrap());
        let restored = site.restored(&disk("web01"), size).unwrap();
        assert!(same_content(&site.path("source"), &restored));
    }
}

#[test]
fn holes_are_not_read_and_stay_holes() {
    let site = Site::new();
    let size = 4 << 40;
    sparse(&site.path("source"), size, &[(0, b"begin"), (size / 2 + 5, &noise(1, MIB)), (size - 3, b"end")]);
    let (before, report) =
        (std::time::Instant::now(), site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap());
    assert!(report.read < 3 * MIB, "{} bytes read in {:?}", report.read, before.elapsed());
    let restored = site.path("restored");
    std::fs::File::create(&restored).unwrap().set_len(size).unwrap();
    let mut request = site.deploy_request(&disk("web01"), "restored", ImageFormat::Raw);
    // Reading back 4 TiB of holes would take minutes.
    request.read_back = false;
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    replant::image::deploy(&site.store(), &request, &Control::new(&stop, &tick)).unwrap();
    assert!(allocated(&restored) < 3 * MIB);
    let (source, restored) =
        (std::fs::File::open(site.path("source")).unwrap(), std::fs::File::open(restored).unwrap());
    for offset in [0, size / 2, size - MIB] {
        let (mut one, mut two) = (vec![0; MIB as usize], vec![0; MIB as usize]);
        source.read_exact_at(&mut one, offset).unwrap();
        restored.read_exact_at(&mut two, offset).unwrap();
        assert_eq!(one, two);
    }
}

#[test]
fn qcow2_sources_of_every_kind_give_the_same_image() {
    let site = Site::new();
    let size = mixed(&site.path("raw"), 2).div_ceil(512) * 512;
    std::fs::OpenOptions::new().write(true).open(site.path("raw")).unwrap().set_len(size).unwrap();
    let raw = site.path("raw").display().to_string();
    let kinds: [(&str, &[&str]); 5] = [
        ("plain", &[]),
        ("zlib", &["-c"]),
        ("v2", &["-o", "compat=0.10"]),
        ("zstd", &["-c", "-o", "compression_type=zstd"]),
        ("extended", &["-o", "extended_l2=on,cluster_size=128k"]),
    ];
    let truth = site.capture(&disk("raw"), "raw", ImageFormat::Raw).unwrap().digest;
    for (kind, options) in kinds {
        let path = site.path(kind).display().to_string();
        qemu_img(&[&["convert", "-f", "raw", "-O", "qcow2"], options, &[raw.as_str(), path.as_str()]].concat());
        let report = site
            .capture(&disk(kind), kind, ImageFormat::Qcow2)
            .unwrap_or_else(|error| panic!("{kind}: {}", chain(&error)));
        assert_eq!((report.size, report.digest), (size, truth), "{kind}");
        // All of it was in the store already.
        assert_eq!(report.stored, 0, "{kind}");
    }
}

#[test]
fn a_backing_chain_is_read_through() {
    let site = Site::new();
    mixed(&site.path("raw"), 3);
    let path = |name: &str| site.path(name).display().to_string();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", &path("raw"), &path("base")]);
    qemu_img(&["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &path("base"), &path("top")]);
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &path("top"), &path("flat")]);
    let top = site.capture(&disk("top"), "top", ImageFormat::Qcow2).unwrap();
    let flat = site.capture(&disk("flat"), "flat", ImageFormat::Raw).unwrap();
    assert_eq!(top.digest, flat.digest);
}

#[test]
fn qcow2_targets_hold_the_source_and_are_sound() {
    let site = Site::new();
    let size = mixed(&site.path("source"), 4);
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    Qcow2Disk::create(&site.path("target"), size.div_ceil(512) * 512).unwrap();
    let report = site.deploy(&disk("web01"), "target", ImageFormat::Qcow2).unwrap();
    let target = site.path("target").display().to_string();
    qemu_img(&["compare", "-f", "raw", "-F", "qcow2", &site.path("source").display().to_string(), &target]);
    assert!(qemu_img(&["check", &target]).contains("No errors"));
    // Zeros take no space.
    assert!(allocated(&site.path("target")) < 12 * MIB, "{report:?}");
    // Once more: nothing to do.
    assert!(site.deploy(&disk("web01"), "target", ImageFormat::Qcow2).unwrap().present);
}

#[test]
fn a_used_target_keeps_nothing_of_what_was_there() {
    let site = Site::new();
    let size = mixed(&site.path("source"), 5);
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    std::fs::write(site.path("restored"), noise(9, size + 70_000)).unwrap();
    site.deploy(&disk("web01"), "restored", ImageFormat::Raw).unwrap();
    let (source, restored) =
        (std::fs::read(site.path("source")).unwrap(), std::fs::read(site.path("restored")).unwrap());
    assert!(restored[..size as usize] == source && restored[size as usize..].iter().all(|byte| *byte == 0));
    // Every block was reserved before, and is after.
    assert!(allocated(&site.path("restored")) >= size);
}

#[test]
fn a_second_machine_and_a_second_capture_store_only_what_is_new() {
    let site = Site::new();
    let size = mixed(&site.path("one"), 6);
    let first = site.capture(&disk("web01"), "one", ImageFormat::Raw).unwrap();
    std::fs::copy(site.path("one"), site.path("two")).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(site.path("two")).unwrap();
    file.write_all_at(&noise(77, 4096), 12 * MIB).unwrap();
    let second = site.capture(&disk("web02"), "two", ImageFormat::Raw).unwrap();
    assert!(first.stored > 4 * MIB && second.stored > 0 && second.stored < 3 * (64 << 10), "{first:?} {second:?}");
    assert!(same_content(&site.path("two"), &site.restored(&disk("web02"), size).unwrap()));
    assert!(same_content(&site.path("one"), &site.restored(&disk("web01"), size).unwrap()));
    // The same, unchanged source again: nothing is even read.
    let again = site.capture(&disk("web01"), "one", ImageFormat::Raw).unwrap();
    assert!(again.present && again.id == first.id && again.read == 0);
}

#[test]
fn sizes_at_the_borders_of_chunks_come_back() {
    let site = Site::new();
    for size in [1, 511, 65_535, 65_536, 65_537, 131_072, MIB, MIB + 1] {
        let name = DiskName::new("sizes", &format!("disk{size}")).unwrap();
        std::fs::write(site.path("source"), noise(size, size)).unwrap();
        site.capture(&name, "source", ImageFormat::Raw).unwrap();
        assert!(same_content(&site.path("source"), &site.restored(&name, size).unwrap()), "{size}");
    }
}

#[test]
fn an_export_is_the_disk() {
    let site = Site::new();
    mixed(&site.path("source"), 7);
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let control = Control::new(&stop, &tick);
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let path = site.path(format.name());
        export(&site.store(), &disk("web01"), None, &path, (format, replant::image::Subformat::Default), &control)
            .unwrap();
        let (source, exported) = (site.path("source").display().to_string(), path.display().to_string());
        qemu_img(&["compare", "-f", "raw", "-F", format.name(), &source, &exported]);
        let error =
            export(&site.store(), &disk("web01"), None, &path, (format, replant::image::Subformat::Default), &control)
                .unwrap_err();
        assert!(chain(&error).contains("is there already"), "{}", chain(&error));
    }
}
