//! The provider for Virtual Server 2005, which is data alone.

use std::fs;

use replant::provider::Catalog;

use super::site;
use super::snapshots::{render_into, tool};
use crate::common::TestSite;

/// Two machines: everything declared, and as plain as can be.
const CLASSIC: &str = r#"replant: 1
name: classic
store: { path: store, encryption: aes-256-gcm, key: { file: .replant/store.key } }
hosts:
  vs01:
    provider: virtual-server-2005
    memory: 8GiB
    settings: { virtual_server: vs01, ads_server: ads01, vm_folder: 'D:\VMs', disk_folder: 'E:\Disks', image_folder: '\\ads01\images' }
machines:
  - name: nt4
    source: { disks: [{ path: nt4-c.raw, format: raw }, { path: nt4-d.raw, format: raw }] }
    inventory:
      memory: 256MiB
      cpus: 1
      firmware: bios
      nics: [{ mac: "00:03:ff:00:00:01", name: LAN }, { mac: "00:03:ff:00:00:02" }]
    workload: { role: test }
    target: { host: vs01, network: VM0, disks: { allocation: fixed } }
    post_deploy: { action: start }
  - name: plain
    source: { disks: [{ path: plain.raw, format: raw }] }
    inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: "00:03:ff:00:00:03" }] }
    target: { host: vs01, network: internal, settings: { bus: ide } }
    guest: { convert: none }
    post_deploy: { action: stop }
"#;

#[test]
fn every_artifact_reads_as_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let set = render_into(&site::resolved(CLASSIC), folder.path());
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/providers/virtual-server-2005/sequence.xsd");
    let mut sequences = 0;
    for record in set.records() {
        let path = folder.path().join(&record.path);
        let text = fs::read_to_string(&path).unwrap();
        if record.path.ends_with(".xml") {
            let arguments = ["--noout", "--nonet", "--schema", schema, path.to_str().unwrap()];
            let (valid, complaint) = tool("xmllint", "libxml2-utils", &arguments);
            assert!(valid, "{}: {complaint}", record.path);
            sequences += 1;
        } else {
            assert!(text.lines().count() == text.matches("\r\n").count(), "{}: lines end in CR LF", record.path);
            assert!(!record.executable, "{} is no script of this system", record.path);
        }
        insta::assert_snapshot!(record.path.replace('/', "__"), text.replace("\r\n", "\n"));
    }
    assert_eq!((set.records().len(), sequences), (11 * 2 + 1, 8), "ten artifacts, one that validates, one of the host");
}

/// What cmd.exe makes of a script line: text inside double quotes is literal but for `%`, which the script doubles.
fn check_line(line: &str, values: &[&str]) {
    assert!(line.matches('"').count().is_multiple_of(2), "quotes are balanced: {line}");
    for (at, part) in line.split('"').enumerate() {
        let doubled: Vec<String> = values.iter().map(|value| value.replace('%', "%%")).collect();
        if at % 2 == 0 {
            assert!(doubled.iter().all(|value| !part.contains(value.as_str())), "a value outside quotes: {line}");
            assert!(!part.contains('^'), "{line}");
        }
    }
}

#[test]
fn hostile_names_come_out_harmless() {
    for name in ["a b & del c", "100% ^safe^ (x86)", "%PATH%", "x & echo y > z", "é %~dp0"] {
        let evil = CLASSIC.replace("network: VM0", &format!("vm_name: {}, network: VM0", serde_json::json!(name)));
        let plan = site::resolved(&evil);
        let folder = tempfile::tempdir().unwrap();
        let set = render_into(&plan, folder.path());
        for record in set.records().iter().filter(|record| record.path.ends_with(".cmd")) {
            let text = fs::read_to_string(folder.path().join(&record.path)).unwrap();
            text.lines().for_each(|line| check_line(line, &[name]));
            // Once for the value itself, nowhere else: everything else goes through the variable.
            let set = format!("set \"VM_NAME={}\"", name.replace('%', "%%"));
            assert_eq!(text.contains(&set), record.path.ends_with("nt4_common-init.cmd"), "{}", record.path);
            for line in text.lines().filter(|line| line.starts_with("call ")) {
                assert!(line.starts_with("call \"%~dp0") && !line.contains("%VM_NAME%"), "call reads twice: {line}");
            }
        }
        let xml = fs::read_to_string(folder.path().join("nt4/nt4_internal-state.xml")).unwrap();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let vm = document.descendants().find(|node| node.attribute("name") == Some("vm")).unwrap();
        assert_eq!(vm.text(), Some(name));
    }
    // What the language cannot say is refused, by name.
    for name in ["a\"b", "a!b"] {
        let evil = CLASSIC.replace("network: VM0", &format!("vm_name: {}, network: VM0", serde_json::json!(name)));
        let catalog = Catalog::embedded().unwrap();
        let error =
            replant::render::render(&site::resolved(&evil), &catalog, &|_| true, &replant::render::NoSink).unwrap_err();
        assert!(error.to_string().contains("no way to say"), "{error}");
    }
}

#[test]
fn it_plans_and_renders_and_apply_refuses_with_the_reason() {
    let site = TestSite::new();
    for disk in ["nt4-c.raw", "nt4-d.raw", "plain.raw"] {
        fs::File::create(site.join(disk)).unwrap().set_len(8 << 20).unwrap();
    }
    site.write(".replant/store.key", "00".repeat(32));
    site.write("plan.yaml", CLASSIC);
    let plan = site.replant(&["plan", "plan.yaml"]).expect(0);
    assert!(plan.stdout.contains("make VM `nt4` on vs01: 256 MiB, 1 CPU, BIOS, 2 fixed"), "{}", plan.stdout);
    assert!(plan.stderr.contains("renders its artifacts only"), "{}", plan.stderr);
    site.replant(&["render", "plan.yaml", "--out", "out"]).expect(0);
    let init = site.read("out/nt4/nt4_common-init.cmd");
    for line in
        ["set \"ENCRYPT=yes\"", "set \"DISK_KIND=fixed\"", "set \"NETWORK=VM0\"", "set \"BOOT_MAC=00:03:ff:00:00:01\""]
    {
        assert!(init.contains(line), "{line}\n{init}");
    }
    let apply = site.replant(&["apply", "plan.yaml", "--yes"]).expect(3);
    assert!(apply.stderr.contains("run by hand on the Virtual Server host"), "{}", apply.stderr);
    assert!(!site.join(".replant/state.db").exists(), "nothing was begun");
    site.replant(&["plan", "plan.yaml", "--out", "run"]).expect(0);
    let apply = site.replant(&["apply", "run", "--yes"]).expect(3);
    assert!(apply.stderr.contains("not a script that this system runs"), "{}", apply.stderr);
}

#[test]
fn its_limits_refuse_what_it_never_could() {
    let site = TestSite::new();
    fs::File::create(site.join("nt4-c.raw")).unwrap().set_len(3 << 40).unwrap();
    for disk in ["nt4-d.raw", "plain.raw"] {
        fs::File::create(site.join(disk)).unwrap().set_len(8 << 20).unwrap();
    }
    site.write(".replant/store.key", "00".repeat(32));
    let nics: Vec<String> = (0..5).map(|at| format!("{{ mac: '00:03:ff:00:01:0{at}' }}")).collect();
    let big = CLASSIC
        .replace(
            "memory: 256MiB\n      cpus: 1\n      firmware: bios",
            "memory: 4GiB\n      cpus: 2\n      firmware: uefi",
        )
        .replace(
            "nics: [{ mac: \"00:03:ff:00:00:01\", name: LAN }, { mac: \"00:03:ff:00:00:02\" }]",
            &format!("nics: [{}]", nics.join(", ")),
        );
    site.write("plan.yaml", big);
    let found = site.replant(&["validate", "plan.yaml"]).expect(3).stderr;
    for rule in ["memory-limit", "cpu-limit", "nic-limit", "disk-size", "firmware"] {
        assert!(found.contains(&format!("[rule.{rule}]")), "{rule}\n{found}");
    }
}
