//! A UEFI machine with a GPT disk, volumes and XFS becomes a VM that boots. Nobody is in front of it: it is off, and its
//! management controller switches it.

use std::process::Command;

use super::lab::{Apply, Chassis, NETBOOT, bring_agent, digest};
use crate::common::TestSite;
use crate::end_to_end::run;
use crate::guest::uefi_lvm_machine;
use crate::netboot::BootLab;

const MAC: &str = "52:54:00:70:32:78";

/// Off again when the test ends, however it ends.
struct Vm<'a>(&'a TestSite);

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        self.0.replant(&["vm", "stop", "--folder", "vms/db01", "--force"]);
    }
}

#[test]
fn a_uefi_machine_with_volumes_becomes_a_vm_that_boots() {
    let (lab, site) = (BootLab::new(), TestSite::new());
    let disk = site.join("source.raw");
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(uefi_lvm_machine().join("disk0.qcow2")).arg(&disk));
    let size = std::fs::metadata(&disk).expect("it was just made").len();
    let before = digest(&[&disk]);
    site.replant(&["init", "."]).expect(0);
    let disks = [(disk.display().to_string(), "SRC-U")];
    let chassis = Chassis { serial: "ACME-0077", mac: MAC, tap: "tap0", uefi: true, disks: &disks };
    let metal = chassis.behind_controller(&lab, &site);
    let power = metal.bmc.power("secret", metal.bmc.certificate());
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: p2v-uefi\n{NETBOOT}\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             machines:\n  - name: db01\n    source:\n      agent: {{ mac: \"{MAC}\" }}\n      \
             disks: [{{ path: \"serial:SRC-U\", size: {size} }}]\n    \
             inventory: {{ memory: 768MiB, cpus: 2, firmware: uefi, nics: [{{ mac: \"52:54:00:12:34:56\", name: ens3 }}] }}\n    \
             target: {{ host: local }}\n    power: {power}\n    \
             post_deploy: {{ action: start, wait_for: GUEST-READY, timeout: 15m }}\n"
        ),
    );
    bring_agent(&site);
    let mut apply = Apply::start(&lab, &site, "apply");
    let vm = Vm(&site);
    let code = apply.ends_beside(&|| vec![metal.console()]);
    apply.print_times("UEFI");
    let console = std::fs::read(site.join("vms/db01/console.log")).unwrap_or_default();
    let console = String::from_utf8_lossy(&console).into_owned();
    assert_eq!(code, 0, "{}\n--- VM\n{}", apply.said(), super::lab::tail(&console));
    assert!(!metal.is_on(), "it was shut down before its VM took its place: {}", super::lab::tail(&metal.console()));
    assert_eq!(site.read("switched"), "on n\n", "it was switched on once, to boot from the network");
    let ready = console.lines().find_map(|line| line.find("GUEST-READY").map(|at| line[at..].trim().to_owned()));
    let ready = ready.expect("post-deploy waited for it");
    for word in ["root=/dev/mapper/vg0-root", "fs=xfs", "nics=ens3", "failed= "] {
        assert!(ready.contains(word), "{word}: {ready}");
    }
    drop(vm);
    assert_eq!(digest(&[&disk]), before, "the source was not written");
}
