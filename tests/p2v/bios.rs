//! A BIOS machine with an MBR disk becomes a VM that boots; another machine of the same plan fails and harms nobody.

use std::path::Path;
use std::process::Command;

use super::lab::{Apply, Chassis, NETBOOT, bring_agent, digest, noise};
use crate::end_to_end::{Migration, Running, marker, run};
use crate::netboot::{BootLab, boot_sector};

const WEB: &str = "52:54:00:70:32:76";
const BAD: &str = "52:54:00:70:32:77";

/// One sector of the failing machine's disk cannot be read, however often it is tried.
const BAD_SECTOR: &str = "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"40000\"\n";

#[test]
fn a_plan_and_a_machine_that_is_switched_on_become_a_vm_that_boots_beside_one_that_fails() {
    let migration = Migration::new("");
    let (site, mut lab) = (&migration.site, BootLab::new());
    lab.tap("tap1");
    let (first, second, bad) =
        (site.join("source/sda.raw"), site.join("source/web01-sdb.raw"), site.join("source/bad.raw"));
    let from = site.join("source/web01-sda.qcow2");
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&from).arg(&first));
    std::fs::remove_file(from).expect("our own copy can be removed");
    noise(&bad, 32, b"a disk with a bad sector");
    let mut content = std::fs::read(&bad).expect("it was just written");
    content[..512].copy_from_slice(&boot_sector()[..512]);
    std::fs::write(&bad, content).expect("it can be written");
    site.write("bad.cfg", BAD_SECTOR);
    let size = |path: &Path| std::fs::metadata(path).expect("the disk is there").len();
    let paths = [first.as_path(), &second, &bad];
    let before = digest(&paths);
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: p2v\n{NETBOOT}\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             defaults:\n  target: {{ host: local }}\n  on_failure: rollback\n\
             machines:\n  - name: web01\n    source:\n      agent: {{ mac: \"{WEB}\" }}\n      disks:\n        \
             - {{ path: \"serial:SRC-A\", size: {} }}\n        - {{ path: any, size: {} }}\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"52:54:00:aa:bb:01\", name: ens3 }}] }}\n    \
             post_deploy: {{ action: start, wait_for: QUICKSTART-READY, timeout: 15m }}\n  \
             - name: bad01\n    source:\n      agent: {{ mac: \"{BAD}\" }}\n      disks: [{{ path: any, size: {} }}]\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"{BAD}\" }}] }}\n    \
             guest: {{ convert: none }}\n    post_deploy: {{ action: stop }}\n",
            size(&first),
            size(&second),
            size(&bad)
        ),
    );
    bring_agent(site);

    let disks = [(first.display().to_string(), "SRC-A"), (second.display().to_string(), "SRC-B")];
    let web = Chassis { serial: "ACME-0042", mac: WEB, tap: "tap0", uefi: false, disks: &disks };
    let broken = [(format!("blkdebug:{}:{}", site.join("bad.cfg").display(), bad.display()), "SRC-C")];
    let broken = Chassis { serial: "ACME-0043", mac: BAD, tap: "tap1", uefi: false, disks: &broken };
    let mut apply = Apply::start(&lab, site, "apply");
    apply.begins("web01/boot");
    apply.begins("bad01/boot");
    let (web, broken) = (web.power_on(&lab, site), broken.power_on(&lab, site));
    let code = apply.ends(&[&web, &broken]);
    let _running = Running(&migration);
    apply.print_times("BIOS");

    // The one that could not be read is back on its own disk, and nothing is left of its VM.
    assert_eq!(code, 4, "one machine was rolled back:\n{}", apply.said());
    broken.shows("DISK-BOOTED");
    let failed = apply.events("task-failed");
    let failed: Vec<&str> = failed.iter().map(|(task, _)| task.as_str()).collect();
    assert!(!failed.is_empty() && failed.iter().all(|task| *task == "bad01/capture/disk0"), "{failed:?}");
    assert!(apply.said().contains("reading the disk"), "it is said what failed:\n{}", apply.said());
    assert!(!site.join("vms/bad01").exists());

    // The other is a virtual machine, and its source is off.
    web.goes_off();
    let line = marker(&migration, "QUICKSTART-READY").expect("post-deploy waited for the marker");
    assert_eq!(line, migration.expected(), "the checksums of files on both disks");
    let known: serde_json::Value =
        serde_json::from_str(&site.replant(&["device", "show", "web01", "--json"]).expect(0).stdout).expect("JSON");
    assert_eq!((&known["serial"], &known["state"]), (&"ACME-0042".into(), &"released".into()));
    // Which of them the kernel calls sda is its own affair.
    let inventory = known["inventory"].as_object().expect("it was told what it has");
    let serials = inventory.iter().filter(|(name, _)| name.starts_with("disk.") && name.ends_with(".serial"));
    let mut serials: Vec<&str> = serials.filter_map(|(_, value)| value.as_str()).collect();
    serials.sort_unstable();
    assert_eq!(serials, ["SRC-A", "SRC-B"]);
    assert_eq!(digest(&paths), before, "no source was written");
}
