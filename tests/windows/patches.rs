//! The patch cache: what it takes in, what it refuses, and what it hands on.

use std::fs;
use std::process::Command;

use replant::patch::{PatchCache, needs};

use crate::common::{TestSite, require_tool};

use super::fixture::{DISK, collection, driver, found, make_windows, tables};

#[test]
fn a_folder_an_iso_image_and_an_archive_bring_the_same() {
    require_tool("bsdtar", "libarchive-tools");
    require_tool("xorriso", "xorriso");
    let site = TestSite::new();
    let media = site.join("media");
    let infs = collection(&media);
    let (iso, zip) = (site.join("drivers.iso"), site.join("drivers.zip"));
    let made =
        Command::new("xorriso").args(["-as", "mkisofs", "-quiet", "-J", "-R", "-o"]).arg(&iso).arg(&media).output();
    assert!(made.unwrap().status.success());
    let made = Command::new("bsdtar").args(["-a", "-cf"]).arg(&zip).arg("-C").arg(&media).arg(".").output();
    assert!(made.unwrap().status.success());
    let mut keys = Vec::new();
    for source in [&media, &iso, &zip] {
        let cache = PatchCache::of_store(&site.join(format!("store-{}", keys.len())));
        let added = cache.add(source).unwrap();
        assert_eq!((added.new.len(), added.left_out.len()), (infs.len(), 0), "{source:?} {:?}", added.left_out);
        assert_eq!(cache.add(source).unwrap().known, infs.len(), "again brings nothing new");
        assert_eq!(cache.check().unwrap(), []);
        keys.push(cache.list().unwrap().into_iter().map(|record| record.key).collect::<Vec<_>>());
    }
    assert!(keys.iter().all(|own| *own == keys[0]), "a package is the same wherever it came from");
}

#[test]
fn damage_is_seen_and_handed_on_to_nobody() {
    let site = TestSite::new();
    let cache = PatchCache::of_store(&site.join("store"));
    driver(&site.join("media"), "viostor", "2k19", "NTamd64.10.0", &DISK);
    let key = cache.add(&site.join("media")).unwrap().new[0].key.clone();
    assert_eq!(cache.packages().unwrap().len(), 1);
    fs::write(cache.root().join(&key).join("files/viostor.sys"), "other").unwrap();
    let error = cache.packages().unwrap_err().to_string();
    assert!(
        error.contains("viostor.sys is not what it was when it came") && error.contains("add its source"),
        "{error}"
    );
}

#[test]
fn incomplete_packages_are_left_out_and_told() {
    let site = TestSite::new();
    let cache = PatchCache::of_store(&site.join("store"));
    let inf = driver(&site.join("media"), "viostor", "2k19", "NTamd64.10.0", &DISK);
    fs::remove_file(inf.with_extension("sys")).unwrap();
    fs::write(site.join("media/autorun.inf"), "[autorun]\nopen=setup.exe\n").unwrap();
    let error = cache.add(&site.join("media")).unwrap_err().to_string();
    assert!(error.contains("names files that are not beside it: viostor.sys"), "{error}");
    assert!(error.contains("autorun.inf"), "{error}");
    assert!(cache.list().unwrap().is_empty());
    assert_eq!(fs::read_dir(cache.root()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_verbs_say_what_is_missing_until_nothing_is() {
    let site = TestSite::new();
    let disk = make_windows(&site, "2019", "bios", "");
    fs::rename(&disk, site.join("source.img")).unwrap();
    site.write(
        "plan.yaml",
        "replant: 1\nname: windows\nstore: { path: store, encryption: none }\n\
         hosts:\n  local: { provider: qemu, memory: 4GiB, settings: { folder: vms, accel: tcg } }\n\
         machines:\n  - name: win01\n    source: { disks: [{ path: source.img, format: raw }] }\n    \
         inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: \"52:54:00:12:34:56\" }] }\n    \
         target: { host: local, network: user }\n    guest: { convert: auto }\n",
    );
    let missing = site.replant(&["patch", "validate", "plan.yaml"]).expect(3);
    for word in ["win01", "Windows Server 2019", "DEV_1001", "DEV_1000", "missing"] {
        assert!(missing.stdout.contains(word), "{word}: {}", missing.stdout);
    }
    let refused = site.replant(&["plan", "plan.yaml"]).expect(3);
    assert!(
        refused.stderr.contains("replant patch add") && refused.stderr.contains("2k19/amd64"),
        "{}",
        refused.stderr
    );
    collection(&site.join("media"));
    let added = site.replant(&["patch", "add", "--store", "store", "media"]).expect(0);
    assert!(added.stdout.contains("12 new"), "{}", added.stdout);
    let clean = site.replant(&["patch", "validate", "plan.yaml"]).expect(0);
    assert!(clean.stdout.contains("viostor") && clean.stdout.contains("nothing is missing"), "{}", clean.stdout);
    site.replant(&["plan", "plan.yaml"]).expect(0);
    let list = site.replant(&["patch", "ls", "--store", "store"]).expect(0);
    assert!(list.stdout.contains("viostor/2k19/amd64"), "{}", list.stdout);
    site.replant(&["patch", "check", "--store", "store"]).expect(0);
    let facts = found(&site.join("source.img")).facts;
    let packages = PatchCache::of_store(&site.join("store")).packages().unwrap();
    assert!(needs(&facts, &tables(), &packages).iter().all(|need| !need.is_missing()));
    let file = site.join("store/patches").join(&packages[0].0.key).join("files").join(&packages[0].0.inf);
    fs::write(file, "x").unwrap();
    let damaged = site.replant(&["patch", "check", "--store", "store"]).expect(1);
    assert!(damaged.stdout.contains("is not what it was"), "{}", damaged.stdout);
}
