//! Removing images and collecting garbage.

use replant::image::{Control, Depth, ImageFormat, collect_garbage, plan_garbage, remove, seal_set, verify};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use super::site::*;

fn whole(site: &Site) -> bool {
    let (stop, tick) = (AtomicBool::new(false), |_| ());
    let store = site.store();
    verify(&store, &store.disks().unwrap(), None, Depth::Deep, &Control::new(&stop, &tick)).unwrap().faults.is_empty()
}

fn pack_bytes(site: &Site) -> u64 {
    std::fs::read_dir(site.path("store/packs")).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn only_what_no_image_uses_is_removed() {
    let site = Site::new();
    // Two machines share the first half of their disks.
    let shared = noise(1, 2 * MIB);
    std::fs::write(site.path("one"), [shared.clone(), noise(2, 2 * MIB)].concat()).unwrap();
    std::fs::write(site.path("two"), [shared, noise(3, 2 * MIB)].concat()).unwrap();
    let one = site.capture(&disk("one"), "one", ImageFormat::Raw).unwrap();
    site.capture(&disk("two"), "two", ImageFormat::Raw).unwrap();
    assert!(plan_garbage(&site.store()).unwrap().is_empty());

    remove(&site.store(), &disk("one"), one.id, false).unwrap();
    // The first pack is half in use: not worth moving. The image of the other machine is whole.
    collect_garbage(&site.store()).unwrap();
    assert!(whole(&site));
    assert!(same_content(&site.path("two"), &site.restored(&disk("two"), 4 * MIB).unwrap()));

    // A third capture keeps a quarter of the first pack in use, and nothing else does.
    std::fs::write(site.path("three"), noise(1, MIB)).unwrap();
    let three = site.capture(&disk("three"), "three", ImageFormat::Raw).unwrap();
    assert_eq!(three.stored, 0);
    let two = site.store().newest(&disk("two")).unwrap();
    remove(&site.store(), &disk("two"), two.id, false).unwrap();
    let before = pack_bytes(&site);
    let plan = plan_garbage(&site.store()).unwrap();
    assert_eq!((plan.remove.len(), plan.repack.len()), (1, 1), "{plan:?}");
    assert_eq!(pack_bytes(&site), before, "a plan changes nothing");
    collect_garbage(&site.store()).unwrap();
    assert!(pack_bytes(&site) < MIB + 65_536, "{} of {before}", pack_bytes(&site));
    assert!(whole(&site) && plan_garbage(&site.store()).unwrap().is_empty());
    assert!(same_content(&site.path("three"), &site.restored(&disk("three"), MIB).unwrap()));
}

#[test]
fn a_member_of_a_sealed_set_is_not_removed_by_accident() {
    let site = Site::new();
    std::fs::write(site.path("one"), noise(1, MIB)).unwrap();
    let report = site.capture(&disk("one"), "one", ImageFormat::Raw).unwrap();
    let identity = replant::device::identity(&site.path("one")).unwrap();
    let set = seal_set(&site.store(), "one", &[("disk0".into(), identity)]).unwrap();
    let error = remove(&site.store(), &disk("one"), report.id, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("image {} of one/disk0 belongs to sealed set {set}; remove the set with it: `--force`", report.id)
    );
    remove(&site.store(), &disk("one"), report.id, true).unwrap();
    assert!(replant::image::newest_set(&site.store(), "one").unwrap().is_none());
    collect_garbage(&site.store()).unwrap();
    assert_eq!(pack_bytes(&site), 0);
}

#[test]
fn an_unreadable_map_stops_the_collection() {
    let site = Site::new();
    std::fs::write(site.path("one"), noise(1, MIB)).unwrap();
    site.capture(&disk("one"), "one", ImageFormat::Raw).unwrap();
    let map = site.only("images/one/disk0", "map");
    let len = std::fs::metadata(&map).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&map).unwrap().set_len(len - 1).unwrap();
    let error = collect_garbage(&site.store()).unwrap_err();
    assert!(chain(&error).starts_with("cannot find what is in use by one/disk0: "), "{}", chain(&error));
    assert!(pack_bytes(&site) > MIB);
}

/// A capture that ends in a damaged part of its source; returns the bytes it has stored.
fn leave_unfinished(site: &Site, machine: &str) -> u64 {
    std::fs::write(site.path("raw"), text(machine.len() as u64, 16 * MIB)).unwrap();
    let path = |name: &str| site.path(name).display().to_string();
    qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "-c", &path("raw"), &path(machine)]);
    let file = std::fs::File::options().write(true).open(site.path(machine)).unwrap();
    let len = file.metadata().unwrap().len();
    file.write_all_at(&noise(1, len / 8), len * 3 / 4).unwrap();
    let before = pack_bytes(site);
    let error = chain(&site.capture(&disk(machine), machine, ImageFormat::Qcow2).unwrap_err());
    assert!(error.starts_with(&format!("cannot capture {machine}/disk0: reading ")), "{error}");
    pack_bytes(site) - before
}

#[test]
fn what_an_unfinished_capture_has_stored_stays_until_it_is_discarded() {
    let site = Site::new();
    site.store();
    let stored = leave_unfinished(&site, "one");
    assert!(stored > 100_000, "{stored}");
    // What came after the damaged part is in no checkpoint, and may go.
    collect_garbage(&site.store()).unwrap();
    let kept = pack_bytes(&site);
    assert!(kept > stored / 2, "{kept} of {stored}");
    // Everything that was read before the damage is found again by the next capture.
    std::fs::write(site.path("head"), text(3, MIB)).unwrap();
    assert_eq!(site.capture(&disk("two"), "head", ImageFormat::Raw).unwrap().stored, 0);
    assert_eq!(replant::image::discard(&site.store(), &disk("one")).unwrap(), 1);
    let two = site.store().newest(&disk("two")).unwrap();
    collect_garbage(&site.store()).unwrap();
    assert!(pack_bytes(&site) < kept && whole(&site));
    remove(&site.store(), &disk("two"), two.id, false).unwrap();
    collect_garbage(&site.store()).unwrap();
    assert_eq!(pack_bytes(&site), 0);
}
