//! A machine in the agent whose disk has a bad sector, and a plan that takes it with zeros there.

use super::lab::{Apply, Chassis, NETBOOT, bring_agent, digest, noise};
use crate::common::TestSite;
use crate::netboot::BootLab;

const MAC: &str = "52:54:00:70:32:81";
const SECTOR: u64 = 40_000;

#[test]
fn a_bad_sector_becomes_zeros_that_the_image_names_where_the_plan_says_so() {
    let (lab, site) = (BootLab::new(), TestSite::new());
    let disk = site.join("bad.raw");
    noise(&disk, 24, b"a disk with a bad sector");
    let before = digest(&[&disk]);
    let config = format!("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{SECTOR}\"\n");
    let config = site.write("bad.cfg", config);
    site.replant(&["init", "."]).expect(0);
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: bad-sector\n{NETBOOT}\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             machines:\n  - name: old01\n    source:\n      agent: {{ mac: \"{MAC}\" }}\n      \
             disks: [{{ path: any, size: 24MiB }}]\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"{MAC}\" }}] }}\n    \
             capture: {{ on_read_error: zero-and-report }}\n    target: {{ host: local, disks: {{ format: raw }} }}\n    \
             guest: {{ convert: none }}\n    post_deploy: {{ action: stop }}\n"
        ),
    );
    bring_agent(&site);
    let disks = [(format!("blkdebug:{}:{}", config.display(), disk.display()), "SRC-Z")];
    let chassis = Chassis { serial: "ACME-0081", mac: MAC, tap: "tap0", uefi: false, disks: &disks };
    let mut apply = Apply::start(&lab, &site, "apply");
    apply.begins("old01/boot");
    let metal = chassis.power_on(&lab, &site);
    assert_eq!(apply.ends(&[&metal]), 0, "{}", apply.said());
    metal.goes_off();
    apply.print_times("bad sector");
    let page = SECTOR * 512 / 4096 * 4096;
    let shown = site.replant(&["image", "show", "old01/disk0", "--key", "file:.replant/store.key"]).expect(0).stdout;
    assert!(shown.contains(&format!("4 KiB at byte {page} could not be read and are zeros")), "{shown}");
    assert!(apply.said().contains("4 KiB of old01/disk0 could not be read"), "it is said while it happens");
    let (mut expected, found) = (std::fs::read(&disk), std::fs::read(site.join("vms/old01/disk0.raw")));
    if let Ok(expected) = &mut expected {
        expected[page as usize..page as usize + 4096].fill(0);
    }
    assert!(expected.expect("the source") == found.expect("the VM's disk"), "all but that page is the source");
    assert_eq!(digest(&[&disk]), before, "the source was not written");
}
