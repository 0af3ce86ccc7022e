//! The whole way: plan, capture, deploy, and the conversion in the booted agent, on a disk with qcow2 as its target. Takes
//! about a minute: runs with `REPLANT_TEST_LONG=1`. The VM stays off: this Windows cannot start.

use std::fs;
use std::process::Command;

use replant::guest::windows::{MountedVolume, NtfsMount, WindowsFiles};

use crate::common::{TestSite, require_tool};

use super::fixture::{collection, dump, found, make_windows};

#[test]
fn a_windows_is_migrated_and_converted_in_the_agent() {
    if std::env::var_os("REPLANT_TEST_LONG").is_none() {
        return;
    }
    require_tool("qemu-system-x86_64", "qemu-system-x86");
    let site = TestSite::new();
    let disk = make_windows(&site, "2019", "bios", "");
    fs::rename(&disk, site.join("source.img")).unwrap();
    collection(&site.join("media"));
    site.write(
        "plan.yaml",
        "replant: 1\nname: windows\nstore: { path: store, encryption: none }\n\
         hosts:\n  local: { provider: qemu, memory: 4GiB, settings: { folder: vms, accel: tcg } }\n\
         machines:\n  - name: win01\n    source: { disks: [{ path: source.img, format: raw }] }\n    \
         inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: \"52:54:00:12:34:56\", name: Ethernet }] }\n    \
         target: { host: local, network: user, disks: { format: qcow2 } }\n    guest: { convert: auto }\n    \
         post_deploy: { action: stop }\n",
    );
    site.replant(&["patch", "add", "--store", "store", "media"]).expect(0);
    let done = site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    assert!(done.stdout.contains("Windows Server 2019 Standard (build 17763)"), "{}", done.stdout);
    assert!(done.stdout.contains("Services\\viostor\\Start"), "{}", done.stdout);

    let raw = site.join("target.img");
    let target = site.join("vms/win01/disk0.qcow2");
    let converted = Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&target).arg(&raw).status().unwrap();
    assert!(converted.success());
    let windows = found(&raw);
    assert!(windows.facts.service("viostor").is_some() && windows.facts.hazards.is_empty());
    let bytes = fs::read(&raw).unwrap();
    let volume = site.join("volume.img");
    fs::write(&volume, &bytes[67584 * 512..(67584 + 120_000) * 512]).unwrap();
    let checked = Command::new("ntfsfix").arg("-n").arg(&volume).status().unwrap();
    assert!(checked.success());
    let mount = NtfsMount::writable(&volume, &site.join("mounted")).unwrap();
    let files = MountedVolume::new(mount.at());
    assert!(files.is_file("\\Windows\\System32\\drivers\\viostor.sys").unwrap());
    assert!(files.is_file("\\Windows\\replant\\drivers\\netkvm\\netkvm.inf").unwrap());
    let system = dump(&mount.at().join("Windows/System32/config/SYSTEM"));
    assert!(system.keys().any(|(key, _)| key.contains("DriverPackages\\replant-viostor.inf_amd64")));
    mount.release().unwrap();
    // The conversion is done, and is not done again.
    let again = site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    assert!(!again.stdout.contains("viostor"), "{}", again.stdout);
}
