//! Scripts of the user's own, in a booted agent: run in the restored system, reported, and kept for the first boot.

use std::fs;

use crate::common::TestSite;

use super::agent::{build, convert, guest_file, shell, small_vm};

fn step(id: &str, command: &str, name: &str, timeout: &str, lines: &[&str]) -> String {
    let lines: String = lines
        .iter()
        .map(|line| line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
        .map(|line| format!("<parameter name=\"line\">{line}</parameter>"))
        .collect();
    format!(
        "<step id=\"{id}\" command=\"{command}\"><parameter name=\"name\">{name}</parameter>\
         <parameter name=\"timeout\">{timeout}</parameter>{lines}</step>\n"
    )
}

fn sequence(before: &str, after: &str) -> String {
    format!(
        "<sequence xmlns=\"urn:replant:sequence:1\" id=\"small_deploy-vm\" description=\"\">\n\
         <step id=\"detect\" command=\"guest.detect\"/>\n{before}\
         <step id=\"convert\" command=\"guest.convert\"><parameter name=\"driver\">virtio_blk</parameter></step>\n{after}\
         <step id=\"flush\" command=\"disk.flush\"/>\n</sequence>\n"
    )
}

/// A small guest that has a shell of its own, and systemd's file.
fn site() -> TestSite {
    let site = TestSite::new();
    fs::create_dir_all(site.join("root/bin")).unwrap();
    fs::copy("/bin/busybox", site.join("root/bin/busybox")).expect("Debian package busybox-static");
    shell(
        &site,
        "for tool in sh cat echo touch sleep; do ln -s busybox root/bin/$tool; done; mkdir root/proc root/dev root/sys",
    );
    site.write("root/usr/lib/systemd/systemd", "");
    small_vm(&site);
    build(&site, &["--out", "agent"]).expect(0);
    site
}

#[test]
fn scripts_run_in_the_restored_system_and_what_they_say_is_reported() {
    let site = site();
    let before = [
        "#!/bin/sh -e",
        "echo \"root has $(cat /etc/fstab | cat)\"",
        "cat /proc/self/mounts > /dev/null",
        "echo before > /before",
        "sleep 1000 &",
        "test ! -e /run/replant-run/../nothing",
    ];
    let first = ["#!/bin/sh", "echo first"];
    let after =
        ["#!/bin/sh -e", "cat /before", "cat /etc/fstab", "test -x /var/lib/replant/firstboot/scripts/01-reg.sh"];
    let text = sequence(
        &(step("before-1", "guest.run", "look.sh", "60s", &before)
            + &step("first-boot-1", "guest.first-boot", "reg.sh", "60s", &first)
            + &step("first-boot-2", "guest.first-boot", "reg.ps1", "60s", &["exit 0"])),
        &step("after-1", "guest.run", "check.sh", "60s", &after),
    );
    site.write("sequence.xml", text);
    let done = convert(&site, &[]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("the report is JSON");
    let edits = report["edits"].as_array().expect("a list of edits");
    let of = |path: &str| {
        let edit = edits.iter().find(|edit| edit["path"] == path).unwrap_or_else(|| panic!("{path}: {edits:#?}"));
        edit["after"].as_str().unwrap_or_default().to_owned()
    };
    assert!(of("look.sh").contains("root has # mine"), "{}", of("look.sh"));
    let said = of("check.sh");
    assert!(said.contains("before") && said.contains("UUID=11111111") && !said.contains("/dev/sda1"), "{said}");
    assert_eq!(guest_file(&site, "/before"), "before\n");
    assert!(guest_file(&site, "/var/lib/replant/firstboot/run").contains("run 01-reg.sh 60"));
    assert!(guest_file(&site, "/etc/systemd/system/replant-firstboot.service").contains("ExecStart=/bin/sh"));
}

#[test]
fn a_script_that_fails_or_hangs_fails_the_step_with_what_it_said() {
    let site = site();
    let lines = ["#!/bin/sh", "echo no name server >&2", "exit 7"];
    site.write("sequence.xml", sequence(&step("before-1", "guest.run", "bad.sh", "60s", &lines), ""));
    let said = convert(&site, &[]).expect(1).stderr;
    assert!(said.contains("bad.sh failed") && said.contains("7") && said.contains("no name server"), "{said}");
    assert!(guest_file(&site, "/etc/fstab").contains("/dev/sda1"), "nothing was converted after it");
    let lines = ["#!/bin/sh", "echo waiting", "sleep 1000"];
    site.write("sequence.xml", sequence("", &step("after-1", "guest.run", "slow.sh", "2s", &lines)));
    let said = convert(&site, &[]).expect(1).stderr;
    assert!(said.contains("slow.sh did not end within 2s") && said.contains("waiting"), "{said}");
}
