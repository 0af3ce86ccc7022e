//! Damage of every kind, then repair, then a second capture: everything is whole again. And the scrub that finds it.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use replant::image::{Control, Depth, ImageFormat, Lost, RepairReport, ScrubReport, repair, scrub, verify};

use super::site::{MIB, Site, disk, exit, mixed, noise, same_content, sparse, stderr};

fn repaired(site: &Site) -> RepairReport {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    repair(&site.store(), &Control::new(&stop, &tick)).unwrap()
}

fn scrubbed(site: &Site, most: Option<u64>) -> ScrubReport {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    scrub(&site.store(), most, &Control::new(&stop, &tick)).unwrap()
}

fn faults(site: &Site) -> Vec<String> {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let store = site.store();
    let report = verify(&store, &store.disks().unwrap(), None, Depth::Deep, &Control::new(&stop, &tick)).unwrap();
    report.faults.into_iter().map(|fault| fault.message).collect()
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
}

/// Where a pack's records begin.
fn records(pack: &Path) -> Vec<u64> {
    let bytes = std::fs::read(pack).unwrap();
    let (mut at, mut found) = (32, Vec::new());
    while at < bytes.len() {
        found.push(at as u64);
        at += 56 + u32::from_le_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
    }
    found
}

fn cut(path: &Path, by: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - by).unwrap();
}

fn captured() -> (Site, u64) {
    let site = Site::new();
    let size = mixed(&site.path("source"), 1);
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    (site, size)
}

/// After repair, a capture of the same, unchanged source makes every image whole.
fn assert_heals(site: &Site, size: u64) {
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert_eq!(faults(site), [""; 0]);
    let restored = site.restored(&disk("web01"), size).unwrap();
    assert!(same_content(&site.path("source"), &restored));
    let again = repaired(site);
    assert!(again.losses.is_empty() && again.repairs.is_empty(), "{again:?}");
}

#[test]
fn a_sound_store_needs_nothing() {
    let (site, size) = captured();
    let report = repaired(&site);
    assert!(report.repairs.is_empty() && report.losses.is_empty() && report.missing.is_empty(), "{report:?}");
    assert!(report.chunks > 100, "{report:?}");
    let before = std::fs::read(site.only("packs", "pack")).unwrap();
    assert_heals(&site, size);
    assert!(before == std::fs::read(site.only("packs", "pack")).unwrap());
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_again() {
    let (site, size) = captured();
    let index = site.only("index", "idx");
    let whole = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    let report = repaired(&site);
    assert!(report.losses.is_empty() && report.repairs[0].indexed, "{report:?}");
    assert!(std::fs::read(&index).unwrap() == whole);
    flip(&index, 40);
    assert!(repaired(&site).losses.is_empty());
    assert!(std::fs::read(&index).unwrap() == whole);
    assert_heals(&site, size);
}

#[test]
fn flipped_bits_are_named_by_disk_and_range_and_come_back() {
    let (site, size) = captured();
    let pack = site.only("packs", "pack");
    // Content of one chunk, and the header of another.
    let records = records(&pack);
    flip(&pack, records[records.len() / 2] + 60);
    flip(&pack, records[records.len() / 4] + 17);

    let found = scrubbed(&site, None);
    let report = repaired(&site);
    assert_eq!(report.losses, found.losses, "the scrub said the same");
    let [loss] = &report.losses[..] else { panic!("{report:?}") };
    assert_eq!(loss.disk, disk("web01"));
    let Lost::Ranges(ranges) = &loss.what else { panic!("{loss:?}") };
    assert_eq!(loss.bytes(), Some(2 * (64 << 10)), "{ranges:?}");
    assert_eq!((report.repairs[0].damaged, report.repairs[0].indexed), (1, true), "{report:?}");
    assert!(report.repairs[0].garbage > 0);
    // What is said to be lost is what cannot be read, and nothing else.
    let whole = std::fs::read(site.path("source")).unwrap();
    for range in ranges {
        assert!(whole[range.start as usize..range.end as usize].iter().any(|byte| *byte != 0));
    }
    assert_eq!(faults(&site).len(), 2);
    assert_heals(&site, size);
}

#[test]
fn a_pack_that_is_gone_is_named_and_comes_back() {
    let (site, size) = captured();
    std::fs::remove_file(site.only("packs", "pack")).unwrap();
    let report = repaired(&site);
    assert_eq!(report.missing.len(), 1);
    assert_eq!((report.packs, report.losses.len()), (0, 1), "{report:?}");
    assert_heals_without_the_pack(&site, size);
}

fn assert_heals_without_the_pack(site: &Site, size: u64) {
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert_eq!(faults(site), [""; 0]);
    let restored = site.restored(&disk("web01"), size).unwrap();
    assert!(same_content(&site.path("source"), &restored));
}

#[test]
fn a_cut_pack_and_a_torn_tail_are_repaired() {
    let (site, size) = captured();
    let pack = site.only("packs", "pack");
    cut(&pack, 100_000);
    let report = repaired(&site);
    assert_eq!(report.losses.len(), 1, "{report:?}");
    assert!(report.repairs[0].cut > 0, "{report:?}");
    // How much of the disk lay there depends on how well it compressed, and which thread came last.
    assert!(report.losses[0].bytes().unwrap() < size / 2, "{report:?}");
    assert_heals(&site, size);

    // Bytes behind the last chunk, as a dying writer leaves them.
    let packs: Vec<_> =
        std::fs::read_dir(site.path("store/packs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let file = OpenOptions::new().write(true).open(&packs[0]).unwrap();
    file.write_all_at(b"rpCH torn", file.metadata().unwrap().len()).unwrap();
    let report = repaired(&site);
    let cut: u64 = report.repairs.iter().map(|repair| repair.cut).sum();
    assert_eq!((report.losses.len(), cut), (0, 9), "{report:?}");
}

#[test]
fn a_damaged_header_of_a_pack_is_written_again() {
    let (site, size) = captured();
    flip(&site.only("packs", "pack"), 3);
    std::fs::remove_file(site.only("index", "idx")).unwrap();
    assert!(!faults(&site).is_empty());
    let report = repaired(&site);
    assert!(report.losses.is_empty() && report.repairs[0].header, "{report:?}");
    assert_heals(&site, size);
}

#[test]
fn a_map_that_is_damaged_loses_its_image_and_no_other() {
    let (site, _) = captured();
    mixed(&site.path("other"), 2);
    site.capture(&disk("web02"), "other", ImageFormat::Raw).unwrap();
    flip(&site.only("images/web01/disk0", "map"), 60);
    let report = repaired(&site);
    let [loss] = &report.losses[..] else { panic!("{report:?}") };
    assert_eq!(loss.disk, disk("web01"));
    assert!(loss.to_string().contains("lost as a whole"), "{loss}");
}

#[test]
fn a_scrub_goes_on_where_it_stopped_and_reads_every_byte_once() {
    let (site, _) = captured();
    sparse(&site.path("other"), 8 * MIB, &[(MIB, &noise(3, 4 * MIB))]);
    site.capture(&disk("web02"), "other", ImageFormat::Raw).unwrap();
    let (mut runs, mut bytes, mut chunks) = (0, 0, 0);
    loop {
        let report = scrubbed(&site, Some(MIB));
        (runs, bytes, chunks) = (runs + 1, bytes + report.bytes, chunks + report.chunks);
        assert!(report.losses.is_empty() && report.bytes < 2 * MIB, "{report:?}");
        assert_eq!(report.passed, bytes);
        if report.complete {
            break;
        }
    }
    let whole = scrubbed(&site, None);
    assert!(whole.complete && runs > 4);
    assert_eq!((whole.bytes, whole.chunks), (bytes, chunks), "{runs} runs did what one does");
}

#[test]
fn the_verbs_say_what_is_lost_and_what_to_do() {
    let (site, _) = captured();
    let pack = site.only("packs", "pack");
    let records = records(&pack);
    flip(&pack, records[records.len() / 2] + 60);
    let found = site.run(&["image", "scrub", "--store", "store", "--rate", "1GBps"]);
    let said = String::from_utf8_lossy(&found.stdout).into_owned();
    assert_eq!(exit(&found), 1, "{said} {}", stderr(&found));
    assert!(said.contains("web01/disk0 image") && said.contains("65536 bytes are lost"), "{said}");
    assert!(said.contains("replant image repair"), "{said}");
    let fixed = site.run(&["--json", "image", "check", "--repair", "--store", "store"]);
    assert_eq!(exit(&fixed), 1, "{}", stderr(&fixed));
    let json: serde_json::Value = serde_json::from_slice(&fixed.stdout).unwrap();
    assert_eq!(json["losses"][0]["bytes"], 65_536, "{json}");
    assert_eq!(json["repairs"][0]["damaged"], 1, "{json}");
    let source = site.path("source");
    let source = source.to_str().unwrap();
    let capture = ["image", "capture", "--store", "store", "--machine", "web01", "--disk", "disk0", "--format", "raw"];
    let again = site.run(&[&capture[..], &["--source", source]].concat());
    assert_eq!(exit(&again), 0, "{}", stderr(&again));
    let whole = site.run(&["image", "repair", "--store", "store"]);
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert_eq!(exit(&whole), 0, "{said}");
    assert!(said.contains("every image is whole"), "{said}");
    assert_eq!(exit(&site.run(&["image", "scrub", "--store", "store"])), 0);
}
