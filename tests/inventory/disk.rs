//! A machine that is off: its disks, what `inspect` found on them, what the agent reported.

use std::process::Command;

use replant::inventory::document::{from_xml, plain_facts};
use serde_json::Value;

use super::document::assert_valid;
use crate::common::{TestSite, require_tool};
use crate::windows::fixture::make_windows;

#[track_caller]
fn facts(site: &TestSite, machine: &str) -> Value {
    let xml = site.read(&format!("facts/{machine}.xml"));
    assert_valid(&xml);
    plain_facts(&from_xml(&xml).expect("a document").facts)
}

fn run(command: &mut Command) {
    let output = command.output().expect("the command starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A disk of 64 MiB: a partition with ext4 and some files, and swap.
fn disk(site: &TestSite, name: &str) {
    require_tool("mke2fs", "e2fsprogs");
    require_tool("sfdisk", "fdisk");
    let path = site.join(name);
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(64 << 20).expect("it can be long");
    site.write("table", "label: dos\nstart=2048, size=65536, type=83, bootable\nstart=67584, size=32768, type=82\n");
    run(Command::new("sh").arg("-c").arg(format!("sfdisk -q {} <table", path.display())).current_dir(site.path()));
    site.write("tree/etc/hostname", "web01\n");
    site.write("tree/blob", vec![7; 5 << 20]);
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-L", "root", "-E", "offset=1048576", "-d", "tree"])
        .arg(&path)
        .arg("32768k")
        .current_dir(site.path()));
}

#[test]
fn disks_tell_their_partitions_used_bytes_and_ways_of_capture() {
    let site = TestSite::new();
    disk(&site, "web01.raw");
    let finished = site.replant(&["inventory", "disk", "web01.raw"]).expect(0);
    assert!(finished.stdout.contains("facts/web01.xml"), "{}", finished.stdout);
    let facts = facts(&site, "web01");
    let storage = &facts["storage"];
    assert_eq!(storage["disks"][0]["size"], 64 << 20);
    assert_eq!(storage["disks"][0]["partition_table"], "mbr");
    assert_eq!(storage["disks"][0]["file"], "web01.raw");
    let partitions: Vec<(&str, u64)> = storage["partitions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| Some((one["name"].as_str()?, one["start"].as_u64()?)))
        .collect();
    assert_eq!(partitions, [("disk0p1", 1 << 20), ("disk0p2", 33 << 20)]);
    let root = &storage["volumes"][0];
    assert_eq!((&root["file_system"], &root["capture"]), (&"ext4".into(), &"used-blocks".into()));
    let used = root["used"].as_u64().expect("a number");
    assert!((5 << 20..20 << 20).contains(&used), "five of 32 MiB and the metadata are in use: {used}");
    let other = &storage["volumes"][1];
    assert_eq!((&other["capture"], other["capture_reason"].is_string()), (&"whole".into(), true));
    let missing = site.replant(&["inventory", "disk", "web01.raw", "nothing.raw"]).expect(3).stderr;
    assert!(missing.contains("there is no disk at `nothing.raw`"), "{missing}");
}

#[test]
fn a_windows_that_is_off_tells_services_drivers_and_adapters() {
    let site = TestSite::new();
    let path = make_windows(&site, "2019", "bios", "plain");
    site.replant(&["inventory", "disk", "--name", "dc01", path.to_str().expect("text")]).expect(0);
    let facts = facts(&site, "dc01");
    assert_eq!(facts["os"]["family"], "windows");
    assert!(facts["os"]["name"].as_str().is_some_and(|name| name.contains("2019")), "{facts:#}");
    let drivers = facts["software"]["drivers"].as_array().expect("drivers");
    assert!(drivers.iter().all(|one| one["start"].is_string()) && !drivers.is_empty(), "{facts:#}");
    let hosts = facts["storage"]["volumes"].as_array().expect("volumes").iter().filter(|one| one["hosts_os"] == true);
    assert_eq!(hosts.count(), 1, "{facts:#}");
}

pub(super) const INSPECTION: &str = r#"{ "disks": [{ "name": "disk0", "size": 2147483648, "scheme": "gpt", "contents": [
      { "name": "/dev/disk0p1", "size": 536870912, "content": { "kind": "vfat", "uuid": "1234-ABCD", "label": "EFI" } },
      { "name": "/dev/disk0p2", "size": 1600000000, "content": { "kind": "ext4", "uuid": "0f6e", "label": null, "state": "usable" } }] }],
  "volumes": [], "closed": [],
  "systems": [{ "root": "UUID=0f6e", "device": "/dev/disk0p2", "name": "Debian GNU/Linux 12", "facts": { "family": "linux",
      "distribution": "debian", "version": "12", "architecture": "x86_64", "hostname": "web01.example.org", "init": "systemd", "packages": "dpkg",
      "kernels": [{ "release": "6.1.0-1-amd64", "initramfs": [], "virtio": true }], "initramfs_tools": [], "boot_loaders": ["grub"], "uefi": null,
      "interfaces": [{ "name": "enp0s3", "stack": "ifupdown", "file": "/etc/network/interfaces", "kind": "ethernet", "mac": "52:54:00:00:00:01",
        "dhcp": false, "addresses": ["192.0.2.17/24"], "gateways": ["192.0.2.1"], "dns": [], "below": [] }],
      "mounts": [{ "device": "UUID=0f6e", "point": "/", "kind": "ext4", "options": "errors=remount-ro" }], "services": ["ssh.service"], "hypervisor_tools": [],
      "selinux": null, "apparmor": true, "cloud_init": false, "machine_id": "x" } }] }"#;

#[test]
fn what_inspect_printed_joins_what_the_disk_told() {
    let site = TestSite::new();
    disk(&site, "web01.raw");
    site.write("inspection.json", INSPECTION);
    site.replant(&["inventory", "disk", "web01.raw"]).expect(0);
    site.replant(&["inventory", "import", "inspection.json"]).expect(0);
    let facts = facts(&site, "web01");
    assert_eq!(facts["os"]["name"], "Debian GNU/Linux 12");
    assert_eq!(facts["network"]["nics"][0]["addresses"][0], "192.0.2.17/24");
    let root = &facts["storage"]["volumes"].as_array().expect("volumes").iter().find(|one| one["name"] == "disk0p2");
    assert_eq!(root.map(|root| (&root["mounted_at"], &root["hosts_os"])), Some((&"/".into(), &true.into())));
    assert_eq!(facts["storage"]["disks"].as_array().map(Vec::len), Some(1), "it is the same disk");
    assert_eq!(facts["storage"]["disks"][0]["file"], "web01.raw", "what only the first look knew stays");
    site.write("cut.json", &INSPECTION[..INSPECTION.len() / 2]);
    let stderr = site.replant(&["inventory", "import", "cut.json"]).expect(3).stderr;
    assert!(stderr.contains("cut.json:") && stderr.contains("inspect --json"), "{stderr}");
}

pub(super) const DEVICE: &str = r#"{ "id": "d-7", "name": "db01", "uuid": "564d0f11-2233-4455-6677-8899aabbccdd", "serial": "S1", "macs": ["52:54:00:00:00:02"],
  "inventory": { "firmware": "uefi", "smbios.sys_vendor": "Dell Inc.", "smbios.product_name": "PowerEdge", "smbios.product_uuid": "564d0f11-2233-4455-6677-8899aabbccdd",
    "nic.eth0.mac": "52:54:00:00:00:02", "disk.sda.bytes": "107374182400", "disk.sda.serial": "WD-1" },
  "certificate": null, "state": "enrolled", "boot": "agent", "one_shot": false, "boots": 1, "unheard": 0, "last_seen": 1790000000000, "added": 1780000000000 }"#;

#[test]
fn what_the_agent_saw_of_a_device() {
    let site = TestSite::new();
    site.write("device.json", DEVICE);
    site.replant(&["inventory", "import", "device.json"]).expect(0);
    let xml = site.read("facts/db01.xml");
    assert!(xml.contains("how=\"agent\"") && xml.contains("2026-09-21T"), "{xml}");
    let facts = facts(&site, "db01");
    assert_eq!(facts["system"]["firmware"], "uefi");
    assert_eq!(facts["storage"]["disks"][0]["serial"], "WD-1");
    assert_eq!(facts["network"]["nics"][0]["mac"], "52:54:00:00:00:02");
    for (from, to, part) in [
        ("\"107374182400\"", "\"many\"", "`inventory.disk.sda.bytes`: `many` is no number of bytes"),
        (
            "\"nic.eth0.mac\": \"52:54:00:00:00:02\"",
            "\"nic.eth0.mac\": \"x\"",
            "`inventory.nic.eth0.mac`: `x` is no MAC",
        ),
        ("\"id\": \"d-7\", ", "", "it is no record of a device"),
    ] {
        site.write("device.json", DEVICE.replace(from, to));
        let stderr = site.replant(&["inventory", "import", "device.json"]).expect(3).stderr;
        assert!(stderr.contains(part), "no `{part}` in {stderr}");
    }
}
