//! What is known of a Windows before anything is done: how it starts, what its conversion would change, and its document.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use replant::guest::windows::{BootDevice, BootMode, DiskView, TargetNic, WindowsOptions, WindowsOutcome, preview};
use replant::guest::{InspectedDisk, MachineInspection, SkipList, UserScript};
use replant::hardware::Firmware;
use replant::inventory::document::{from_xml, to_xml};
use replant::inventory::inspected_facts;
use replant::inventory::model::{Document, Method, Observation};

use crate::common::TestSite;

use super::fixture::{convert_volume, found, look, make_windows, packages, tables};

#[test]
fn the_boot_configuration_says_how_it_starts() {
    let site = TestSite::new();
    let boot = found(&make_windows(&site, "2019", "bios", "")).facts.boot.expect("a BCD on the first partition");
    assert_eq!(
        (boot.mode, boot.store.as_str(), boot.timeout, boot.others),
        (BootMode::Bios, "/dev/disk0p1", Some(30), 0)
    );
    let default = boot.default.expect("a default entry");
    assert_eq!(default.path.as_deref(), Some("\\Windows\\system32\\winload.exe"));
    assert_eq!(default.description.as_deref(), Some("Windows Server"));
    assert_eq!(default.os_device, Some(BootDevice::Mbr { disk: "31323334".into(), start: 67584 * 512 }));

    let boot = found(&make_windows(&site, "2022", "uefi", "")).facts.boot.expect("a BCD on the ESP");
    assert_eq!((boot.mode, boot.store.as_str()), (BootMode::Uefi, "/dev/disk0p1"));
    let default = boot.default.expect("a default entry");
    assert_eq!(default.path.as_deref(), Some("\\Windows\\system32\\winload.efi"));
    let partition = "03020100-0504-0706-0809-0a0b0c0d0e0f".to_owned();
    assert_eq!(
        default.device,
        Some(BootDevice::Gpt { disk: "13121110-1514-1716-1819-1a1b1c1d1e1f".into(), partition })
    );
}

fn preview_of(path: &Path, options: &WindowsOptions<'_>) -> WindowsOutcome {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let read_at = |buffer: &mut [u8], offset: u64| file.read_exact_at(buffer, offset);
    preview(&[DiskView { name: "/dev/disk0".into(), size, read_at: &read_at }], &found(path), options).unwrap()
}

#[test]
fn the_edits_are_known_beforehand() {
    let site = TestSite::new();
    let volume = make_windows(&site, "2016", "volume", "");
    let (tables, packages) = (tables(), packages(&site));
    let nics = [TargetNic { mac: "52:54:00:12:34:56".into(), name: None }];
    let skip = SkipList::default();
    let mut options =
        WindowsOptions { tables: &tables, packages: &packages, nics: &nics, first_boot: &[], skip: &skip };
    let known = preview_of(&volume, &options);
    let done = convert_volume(&site, &volume, &packages, &[]).unwrap();
    assert_eq!(known, done, "what was said beforehand is what was done");
    assert_eq!(preview_of(&volume, &options).edits, [], "and it is done");

    let script = |name: &str| UserScript {
        name: name.into(),
        text: "exit 0\n".into(),
        timeout: std::time::Duration::from_secs(60),
    };
    let scripts = [script("register.ps1"), script("fix.sh")];
    options.first_boot = &scripts;
    let more = preview_of(&volume, &options);
    let paths: Vec<&str> = more.edits.iter().map(|edit| edit.path.as_str()).collect();
    assert_eq!(paths, ["\\Windows\\replant\\scripts\\01-register.ps1"]);
    assert!(more.warnings.iter().any(|warning| warning.contains("fix.sh is no script for Windows")), "{more:?}");
}

#[test]
fn what_was_found_becomes_a_document() {
    let site = TestSite::new();
    let disk = make_windows(&site, "2025", "uefi", "");
    let mut inspection = MachineInspection::default();
    inspection.disks.push(InspectedDisk {
        name: "disk0".into(),
        size: disk.metadata().unwrap().len(),
        scheme: Some("gpt".into()),
        contents: Vec::new(),
    });
    inspection.add_windows(look(&disk));
    let facts = inspected_facts(&inspection);
    assert_eq!(facts.os.edition.as_ref().unwrap().value, "ServerStandard");
    assert_eq!(facts.os.build.as_ref().unwrap().value, "26100");
    assert_eq!(facts.system.firmware.as_ref().unwrap().value, Firmware::Uefi);
    assert!(!facts.system.tpm.as_ref().unwrap().value && !facts.os.hibernated.as_ref().unwrap().value);
    assert_eq!(facts.virtualisation.tools.as_ref().unwrap().value, "VMware Tools");
    assert_eq!(facts.network.nics[0].addresses[1].value, "10.77.0.61/24");
    let named = |name: &str| facts.software.drivers.iter().find(|driver| driver.name.as_ref().unwrap().value == name);
    assert!(named("disk").is_some() && named("VMTools").is_none());
    let observation = Observation { by: "test".into(), how: Method::Inspection, source: None, when: None };
    let document = Document::new("win", observation, facts);
    assert_eq!(from_xml(&to_xml(&document)).unwrap(), document);
}
