//! The warm way: a Linux that works is captured over ssh from snapshots, then boots into the agent, which moves what changed.

use std::process::Command;

use super::lab::{Apply, Chassis, NETBOOT, bring_agent, sent};
use crate::common::TestSite;
use crate::end_to_end::run;
use crate::netboot::BootLab;
use crate::remote::guest::{Guest, Shell, running_guest};

const MAC: &str = "52:54:00:70:32:82";
const ADDRESS: &str = "10.77.0.50";
/// What is read in the second pass is at most this part of what was moved in the first; a file of 2 MiB is new.
const PART: u64 = 4;

fn plan(name: &str, size: u64, mac: &str, parts: &str) -> String {
    format!(
        "replant: 1\nname: warm\n{NETBOOT}\
         store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
         hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
         machines:\n  - name: {name}\n    source:\n      agent: {{ mac: \"{mac}\" }}\n      \
         ssh: {{ host: {ADDRESS}, key: {parts}/user_key, known_hosts: known_hosts, snapshot: required }}\n      \
         disks: [{{ path: \"serial:SRC-W\", size: {size}, live: /dev/vda }}]\n    \
         inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"{mac}\" }}] }}\n    \
         target: {{ host: local }}\n    guest: {{ convert: none }}\n    post_deploy: {{ action: stop }}\n"
    )
}

#[test]
#[ignore = "builds a Debian and starts it for minutes: cargo test --test integration -- --ignored p2v::warm"]
fn a_machine_that_works_is_captured_first_and_down_for_what_changed() {
    let (lab, site, parts) = (BootLab::new(), TestSite::new(), running_guest());
    let disk = site.join("source.raw");
    run(Command::new("cp").arg("--sparse=always").arg(parts.join("disk.raw")).arg(&disk));
    let size = std::fs::metadata(&disk).expect("the disk is there").len();
    site.replant(&["init", "."]).expect(0);
    site.write("plan.yaml", plan("web01", size, MAC, &parts.display().to_string()));
    bring_agent(&site);
    let preview = site.replant(&["plan", "plan.yaml"]).expect(0).stdout;
    assert!(preview.contains("every LVM volume in use from a snapshot, taken there (lvcreate -s"), "{preview}");
    assert!(preview.contains("how long web01 is down after the pre-copy is known after"), "{preview}");

    // The machine works, and writes.
    let console = site.join("running.log");
    let mut qemu = BootLab::inside(lab.namespace(), "qemu-system-x86_64");
    let (network, drive) =
        ("tap,id=n,ifname=tap0,script=no,downscript=no", format!("file={},format=raw", disk.display()));
    let guest = Guest::start(&mut qemu, network, MAC, &drive, "SRC-W", &console, &format!("address={ADDRESS}/24"));
    let shell = Shell::new(&site, ADDRESS, 22, Some(lab.namespace().to_owned()));
    shell.wait(&console);
    shell.begin_writing();
    let wire = sent(&lab, "tap0");
    let mut apply = Apply::start(&lab, &site, "apply");
    apply.begins("web01/boot");
    let first = sent(&lab, "tap0") - wire;

    // It goes on for a while, then it goes down; from here on it is the time that counts.
    shell.run("head -c 2000000 /dev/urandom > /srv/new; sync; sleep 3; systemctl stop pairs; (sleep 1; systemctl poweroff) >/dev/null 2>&1 &");
    guest.goes_off();
    let wire = sent(&lab, "tap0");
    let disks = [(disk.display().to_string(), "SRC-W")];
    let metal =
        Chassis { serial: "ACME-0082", mac: MAC, tap: "tap0", uefi: false, disks: &disks }.power_on(&lab, &site);
    let code = apply.ends(&[&metal]);
    assert_eq!(code, 0, "{}", apply.said());
    metal.goes_off();
    let second = sent(&lab, "tap0") - wire;
    apply.print_times("warm");

    // The copy is the machine as it was when it went down.
    let target = site.join("vms/web01/disk0.qcow2");
    let e2fsck = |name: &str| {
        let volumes = std::fs::read_to_string(parts.join("volumes")).expect("it was made");
        let at = volumes.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).expect("an offset").to_owned();
        run(Command::new("e2fsck").arg("-fn").arg(format!("{}?offset={at}", site.join("copy.raw").display())));
    };
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&target).arg(site.join("copy.raw")));
    e2fsck("root");
    e2fsck("data");
    let number = |task: &str, output: &str| output_of(&site, task, output);
    let (read, moved) = (number("web01/precopy", "bytes_read"), number("web01/capture/disk0", "bytes_received"));
    println!("pre-copy: {read} read over ssh, {first} on the wire; agent: {moved} of content, {second} on the wire");
    assert!(moved > 2_000_000, "the new file is among it: {moved}");
    assert!(second < first / PART, "{second} bytes on the wire after {first}");

    // What was measured tells how long the next machine will be down.
    let begun = apply.events("task-started");
    let at = |task: &str, events: &[(String, f64)]| events.iter().find(|(name, _)| name == task).map(|(_, at)| *at);
    let down = at("web01/deploy/disk0", &apply.events("task-done"))
        .zip(at("web01/boot", &begun))
        .map(|(end, begin)| end - begin);
    site.write("plan.yaml", plan("web02", size, "52:54:00:70:32:83", &parts.display().to_string()));
    let preview = site.replant(&["plan", "plan.yaml"]).expect(0).stdout;
    let forecast =
        preview.lines().find(|line| line.contains("web02 is down for about")).unwrap_or_else(|| panic!("{preview}"));
    println!("web01 was down for {:.0} s; {forecast}", down.unwrap_or_default());
    assert!(forecast.contains("after the pre-copy"), "{forecast}");
}

/// A number that a task has left in the journal.
fn output_of(site: &TestSite, task: &str, name: &str) -> u64 {
    let printed = site.replant(&["status", "--json"]).expect(0).stdout;
    let status: serde_json::Value = serde_json::from_str(&printed).expect("the status is JSON");
    let tasks = status["tasks"].as_array().expect("a list of tasks");
    let found = tasks.iter().find(|found| found["task"] == task).unwrap_or_else(|| panic!("{task}: {status}"));
    let value = &found["outputs"][name];
    value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok()).unwrap_or_else(|| panic!("{found}"))
}
