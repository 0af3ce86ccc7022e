//! What a valid plan means.

use std::time::Duration;

use replant::diagnostic::Severity;
use replant::guest::linux::initramfs::InitramfsChoice;
use replant::plan::{
    Allocation, CaptureRead, Compression, Convert, DiskFormat, Encryption, EndState, Firmware, OnFailure, OnReadError,
    Role, ScriptTime, SecretRef,
};
use replant::units::{ByteCount, ByteRate};

use super::files::{Scratch, plan_of, rendered};

const FULL: &str = r#"
replant: 1
name: quickstart
store: { path: images, encryption: aes-256-gcm, key: { command: "pass show key" }, parallel: 7 }
hosts:
  local: { provider: qemu, parallel: 3, memory: 8GiB, settings: { folder: vms, accel: auto, deep: { a: [1, -2, 1.5, null] } } }
machines:
  - name: web01
    source:
      disks:
        - path: source/web01-sda.qcow2
        - { path: /dev/sdb, format: raw }
    inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: "52:54:00:AB:34:56", name: eth0 }] }
    workload: { role: training, description: "a 'shop' $(with) <all> \n the \"quotes\"" }
    target:
      host: local
      vm_name: Web 01
      memory: 1GiB
      cpus: 2
      firmware: uefi
      disks: { format: raw, allocation: fixed }
      network: lan
      settings: { a: 1 }
    capture: { compression: none, limit: 200MBps, read: whole, on_read_error: zero-and-report }
    guest: { convert: none, initramfs: rebuild, serial_console: true, root: "UUID=1", skip: [network] }
    post_deploy: { action: start, wait_for: "READY", timeout: 90s }
    on_failure: rollback
    after: []
waves:
  - { name: first, machines: ["web*"], max_failures: 1 }
"#;

#[test]
fn everything_that_is_said_is_in_the_plan() {
    let scratch = Scratch::new(FULL);
    let plan = scratch.plan();
    assert_eq!((plan.name.as_str(), &plan.root), ("quickstart", &scratch.path()));
    assert_eq!(plan.store.path, scratch.path().join("images"));
    assert_eq!(plan.store.encryption, Encryption::Aes256Gcm { key: SecretRef::Command("pass show key".into()) });
    assert_eq!(plan.store.parallel, 7);
    let host = &plan.hosts["local"];
    assert_eq!((host.provider.value.as_str(), host.parallel, host.memory), ("qemu", 3, Some(ByteCount(8 << 30))));
    assert_eq!(host.settings["deep"]["a"], serde_json::json!([1, -2, 1.5, null]));
    assert!(host.settings_span.text().starts_with("folder: vms") || host.settings_span.text().starts_with('{'));

    let machine = &plan.machines[0];
    assert_eq!(machine.name.span.text(), "web01");
    let disks: Vec<_> = machine
        .source
        .disks
        .iter()
        .map(|disk| (disk.index.to_string(), disk.path.value.clone(), disk.format))
        .collect();
    assert_eq!(disks[0], ("disk0".into(), scratch.path().join("source/web01-sda.qcow2"), None));
    assert_eq!(disks[1], ("disk1".into(), "/dev/sdb".into(), Some(DiskFormat::Raw)));
    assert_eq!(machine.inventory.nics[0].mac, "52:54:00:ab:34:56", "one spelling");
    assert_eq!(machine.workload.role, Role::Training);
    assert_eq!(machine.workload.description.as_deref(), Some("a 'shop' $(with) <all> \n the \"quotes\""));
    let target = &machine.target;
    assert_eq!((&*target.host.value.0, target.vm_name.as_str()), ("local", "Web 01"));
    assert_eq!(
        target.memory.as_ref().map(|memory| (memory.value, memory.span.text())),
        Some((ByteCount(1 << 30), "1GiB"))
    );
    assert_eq!((target.cpus.as_ref().unwrap().value, target.firmware), (2, Some(Firmware::Uefi)));
    assert_eq!((target.disk_format, target.allocation), (DiskFormat::Raw, Allocation::Fixed));
    assert_eq!((target.network.value.as_str(), &target.settings["a"]), ("lan", &serde_json::json!(1)));
    assert_eq!((machine.capture.compression, machine.capture.limit), (Compression::None, Some(ByteRate(200_000_000))));
    assert_eq!((machine.capture.read, machine.capture.on_read_error), (CaptureRead::Whole, OnReadError::ZeroAndReport));
    assert_eq!((machine.guest.convert, machine.guest.serial_console), (Convert::None, true));
    assert_eq!(machine.guest.initramfs, InitramfsChoice::Rebuild);
    assert_eq!(
        (machine.guest.root.as_deref(), machine.guest.skip.as_slice()),
        (Some("UUID=1"), &["network".to_owned()][..])
    );
    assert_eq!(machine.post_deploy.action, EndState::Start);
    assert_eq!(machine.post_deploy.timeout, Duration::from_secs(90));
    assert_eq!(machine.on_failure, OnFailure::Rollback);
    assert_eq!(plan.waves[0].machines, std::slice::from_ref(&machine.name.value));
}

#[test]
fn what_is_not_said_is_safe() {
    let scratch = Scratch::new(&plan_of(&["{ name: a, source: { disks: [{ path: a.raw }] } }"]));
    let plan = scratch.plan();
    let key = SecretRef::File(scratch.path().join(".replant/store.key"));
    assert_eq!(plan.store.encryption, Encryption::Aes256Gcm { key }, "images are encrypted unless asked otherwise");
    assert_eq!(plan.store.path, scratch.path().join("store"));
    let machine = &plan.machines[0];
    assert_eq!((machine.on_failure, machine.workload.role), (OnFailure::Keep, Role::Production));
    assert_eq!((machine.target.disk_format, machine.target.allocation), (DiskFormat::Qcow2, Allocation::Dynamic));
    assert_eq!(machine.target.vm_name, "a");
    assert_eq!((machine.target.memory.is_none(), machine.target.firmware), (true, None), "left to the inventory");
    assert_eq!((machine.guest.convert, machine.guest.serial_console), (Convert::Auto, false));
    assert_eq!(machine.guest.initramfs, InitramfsChoice::Auto);
    assert_eq!((machine.post_deploy.action, machine.post_deploy.timeout), (EndState::Start, Duration::from_secs(300)));
}

#[test]
fn defaults_hold_key_by_key_and_the_first_file_comes_first() {
    let scratch = Scratch::new(
        "replant: 1\nname: t\ninclude: [more.yaml]\nhosts: { h: { provider: qemu } }\n\
         defaults: { target: { host: h, memory: 1GiB, disks: { format: raw }, settings: { a: 1, b: 1 } } }\n\
         machines:\n\
         \x20 - { name: a, source: { disks: [{ path: a.raw }] }, target: { settings: { a: 2 }, disks: { allocation: fixed } } }\n",
    );
    scratch.file(
        "more.yaml",
        b"replant: 1\nstore: { parallel: 9 }\n\
          defaults: { target: { memory: 2GiB, cpus: 3, settings: { b: 5, c: 5 } }, on_failure: rollback }\n",
    );
    let plan = scratch.plan();
    let machine = &plan.machines[0];
    assert_eq!(machine.target.memory.as_ref().unwrap().value, ByteCount(1 << 30), "the including file comes first");
    assert_eq!(machine.target.cpus.as_ref().unwrap().value, 3, "the included one fills in");
    assert!(machine.target.cpus.as_ref().unwrap().span.source.path.ends_with("more.yaml"));
    assert_eq!((machine.target.disk_format, machine.target.allocation), (DiskFormat::Raw, Allocation::Fixed));
    assert_eq!(serde_json::json!(machine.target.settings), serde_json::json!({ "a": 2, "b": 1, "c": 5 }));
    assert_eq!((machine.on_failure, plan.store.parallel), (OnFailure::Rollback, 9));
}

#[test]
fn a_file_that_two_others_include_is_read_once() {
    let scratch = Scratch::new(
        &plan_of(&["{ name: a, source: { disks: [{ path: a.raw }] } }"])
            .replace("name: test\n", "name: test\ninclude: [left.yaml, right.yaml]\n"),
    );
    scratch.file("left.yaml", b"replant: 1\ninclude: [shared.yaml]\n");
    scratch.file("right.yaml", b"replant: 1\ninclude: [./shared.yaml]\n");
    scratch.file("shared.yaml", b"replant: 1\nmachines:\n  - { name: b, source: { disks: [{ path: b.raw }] } }\n");
    let plan = scratch.plan();
    assert_eq!(plan.machines.len(), 2);
    assert_eq!(plan.files.len(), 4);
}

#[test]
fn merges_and_aliases_are_values_like_any_other() {
    let scratch = Scratch::new(
        "replant: 1\nname: t\nhosts: { h: { provider: qemu } }\n\
         defaults: { target: &t { host: h, memory: 1GiB } }\n\
         machines:\n\
         \x20 - { name: a, source: { disks: [{ path: a.raw }] }, target: *t }\n\
         \x20 - { name: b, source: { disks: [{ path: b.raw }] }, target: { <<: *t, memory: 2GiB } }\n",
    );
    let plan = scratch.plan();
    let memory: Vec<u64> = plan.machines.iter().map(|m| m.target.memory.as_ref().unwrap().value.0 >> 30).collect();
    assert_eq!(memory, [1, 2]);
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let scratch = Scratch::new(
        "replant: 1\nname: t\nstore: { encryption: none, key: { env: KEY } }\nhosts: { h: { provider: qemu } }\n\
         machines:\n\
         \x20 - { name: a, source: { disks: [{ path: a.raw }] }, target: { host: h }, post_deploy: { action: stop, wait_for: x } }\n",
    );
    let (_, warnings) = scratch.load().unwrap();
    assert_eq!((warnings.len(), warnings.count(Severity::Warning)), (2, 2), "{}", rendered(&warnings));
}

#[test]
fn scripts_are_read_with_the_plan() {
    let text = FULL.replace(
        "skip: [network] }",
        "run: [{ when: after, script: fix.sh, timeout: 90s }, { when: first-boot, script: reg.PS1 }] }",
    );
    let scratch = Scratch::new(&text);
    std::fs::write(scratch.path().join("fix.sh"), "#!/bin/sh\ntrue\n").unwrap();
    std::fs::write(scratch.path().join("reg.PS1"), "exit 0\r\n").unwrap();
    let run = &scratch.plan().machines[0].guest.run;
    assert_eq!(run.len(), 2);
    assert_eq!((run[0].when, run[0].script.timeout), (ScriptTime::After, Duration::from_secs(90)));
    assert_eq!((run[0].script.name.as_str(), run[0].script.text.as_str()), ("fix.sh", "#!/bin/sh\ntrue\n"));
    assert_eq!((run[1].when, run[1].script.timeout), (ScriptTime::FirstBoot, Duration::from_secs(600)));
    assert!(run[1].script.is_for_windows());
}
