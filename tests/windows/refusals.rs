//! What is refused, each with the way out, and nothing is written.

use std::fs;
use std::os::unix::fs::FileExt;

use replant::guest::windows::{Generation, Hazard};

use crate::common::TestSite;

use super::fixture::{convert_volume, found, look, make_windows, packages};

#[track_caller]
fn refused(variant: &str, words: &[&str]) {
    let site = TestSite::new();
    let volume = make_windows(&site, "2019", "volume", variant);
    assert_eq!(found(&volume).facts.hazards.len(), 1);
    let before = blake3(&volume);
    let packages = packages(&site);
    // ntfs-3g itself refuses to write to a hibernated volume, so what is asked is the plan.
    if variant == "dirty-hive" {
        let error = said(&convert_volume(&site, &volume, &packages, &[]).unwrap_err());
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let hazard = found(&volume).facts.hazards[0].to_string();
    assert!(words.iter().all(|word| hazard.contains(word)), "{hazard}");
    if variant != "dirty-hive" {
        assert_eq!(blake3(&volume), before);
    }
}

fn said(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {}", said(source)))
}

fn blake3(path: &std::path::Path) -> String {
    blake3::hash(&fs::read(path).unwrap()).to_string()
}

#[test]
fn a_hibernated_windows() {
    refused("hibernated", &["hibernated", "powercfg /h off"]);
}

#[test]
fn fast_startup() {
    refused("fast-startup", &["fast startup", "shutdown /s /t 0"]);
}

#[test]
fn a_hive_whose_log_was_not_written_back() {
    refused("dirty-hive", &["shutdown /s /t 0"]);
}

#[test]
fn missing_drivers_are_named_all_at_once() {
    let site = TestSite::new();
    let volume = make_windows(&site, "2022", "volume", "");
    let error = convert_volume(&site, &volume, &[], &[]).unwrap_err().to_string();
    for word in ["DEV_1001", "DEV_1041", "Windows Server 2022 (amd64, build 20348)", "replant patch add", "2k22/amd64"]
    {
        assert!(error.contains(word), "{word}: {error}");
    }
    // With the drivers left out by the plan, the rest is done.
    let outcome = convert_volume(&site, &volume, &[], &["windows.drivers", "windows.firstboot"]).unwrap();
    assert!(outcome.edits.iter().all(|edit| !edit.path.contains("viostor") && !edit.path.contains("firstboot")));
    assert!(outcome.edits.iter().any(|edit| edit.id == "windows.crash"));
}

#[test]
fn classic_windows_is_recognised_and_its_processor_driver_switched_off() {
    let site = TestSite::new();
    let volume = make_windows(&site, "2003", "volume", "");
    let facts = found(&volume).facts;
    assert_eq!((facts.generation, facts.hal.as_deref()), (Generation::Server2003, Some("acpiapic_mp")));
    let outcome = convert_volume(&site, &volume, &[], &["windows.drivers"]).unwrap();
    let edit = outcome.edits.iter().find(|edit| edit.path.contains("intelppm")).expect("an edit");
    assert_eq!((edit.before.as_deref(), edit.after.as_deref()), (Some("dword:0x3"), Some("dword:0x4")));
    assert!(outcome.warnings.iter().any(|warning| warning.contains("no PowerShell")), "{:?}", outcome.warnings);
}

#[test]
fn bitlocker_dynamic_disks_and_dirty_volumes_are_seen_on_whole_disks() {
    let site = TestSite::new();
    let disk = make_windows(&site, "2016", "bios", "");
    assert_eq!(found(&disk).volume, "/dev/disk0p2");
    let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
    // The second entry of the partition table becomes one of a dynamic disk.
    file.write_all_at(&[0x42], 446 + 16 + 4).unwrap();
    let survey = look(&disk);
    assert!(survey.found.is_empty());
    assert_eq!(survey.closed, [Hazard::DynamicDisk { disk: "/dev/disk0".into() }]);
    file.write_all_at(&[0x07], 446 + 16 + 4).unwrap();
    file.write_all_at(b"-FVE-FS-", 67584 * 512 + 3).unwrap();
    let survey = look(&disk);
    assert_eq!(survey.closed, [Hazard::BitLocker { volume: "/dev/disk0p2".into() }]);
    assert!(survey.closed[0].to_string().contains("manage-bde -off"));
}

#[test]
fn a_uefi_disk_is_found_by_its_gpt() {
    let site = TestSite::new();
    let disk = make_windows(&site, "2025", "uefi", "");
    let found = found(&disk);
    assert_eq!((found.volume.as_str(), found.partition), ("/dev/disk0p3", Some(3)));
    assert_eq!(found.facts.product, "Windows Server 2025 Standard");
}
