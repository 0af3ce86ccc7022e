//! What may happen to a migration under way, one after the other: a cut network, a killed controller, a machine without
//! power, a controller killed once more. It goes on where it was each time, and the target is the source, bit for bit.

use std::process::Command;
use std::time::Duration;

use super::lab::{Apply, Chassis, NETBOOT, arrive, arrived, bring_agent, digest, noise, sent, tail, wait_for};
use crate::common::TestSite;
use crate::end_to_end::run;
use crate::netboot::{BootLab, shell};

const MAC: &str = "52:54:00:70:32:79";
const MIB: usize = 96;
/// Three of four are noise.
const CONTENT: u64 = (MIB as u64 * 3 / 4) << 20;
/// So long nothing passes.
const CUT: Duration = Duration::from_secs(60);

#[test]
fn a_cut_network_a_killed_controller_and_a_lost_machine_cost_no_new_begin() {
    let (lab, site) = (BootLab::new(), TestSite::new());
    let disk = site.join("source.raw");
    noise(&disk, MIB, b"a machine in trouble");
    let before = digest(&[&disk]);
    site.replant(&["init", "."]).expect(0);
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: trouble\n{NETBOOT}\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             budgets: {{ restore: {{ rate: 8MBps }} }}\n\
             machines:\n  - name: web01\n    source:\n      agent: {{ mac: \"{MAC}\" }}\n      \
             disks: [{{ path: any, size: {MIB}MiB }}]\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"{MAC}\" }}] }}\n    \
             capture: {{ limit: 4MBps }}\n    target: {{ host: local, budget: restore }}\n    \
             guest: {{ convert: none }}\n    post_deploy: {{ action: stop }}\n"
        ),
    );
    bring_agent(&site);
    let disks = [(disk.display().to_string(), "SRC-F")];
    let chassis = Chassis { serial: "ACME-0666", mac: MAC, tap: "tap0", uefi: false, disks: &disks };
    let mut apply = Apply::start(&lab, &site, "first");
    apply.begins("web01/boot");
    let metal = chassis.power_on(&lab, &site);
    arrive(&site, 8 << 20, &apply, &metal);

    // The network is cut: nothing comes, and then it goes on by itself.
    shell(&format!("ip -n {} link set tap0 down", lab.namespace()));
    std::thread::sleep(CUT / 2);
    let cut = arrived(&site);
    std::thread::sleep(CUT / 2);
    assert_eq!(arrived(&site), cut, "the network was cut");
    shell(&format!("ip -n {} link set tap0 up", lab.namespace()));
    arrive(&site, 8 << 20, &apply, &metal);
    assert_eq!(apply.begun().iter().filter(|task| *task == "web01/capture/disk0").count(), 1, "not begun again");

    // The controller is killed in the middle; the next one goes on with the same agent.
    apply.kill();
    let mut apply = Apply::start(&lab, &site, "second");
    arrive(&site, 8 << 20, &apply, &metal);
    let enrolled = |console: &str| console.matches("enrolled as").count();
    assert_eq!(enrolled(&metal.console()), 1, "the agent needed no new certificate:\n{}", tail(&metal.console()));

    // The machine loses power: everything in its memory is gone.
    metal.cut_power();
    let metal = chassis.power_on(&lab, &site);
    apply.begins("web01/deploy/disk0");
    assert_eq!(apply.begun().iter().filter(|task| *task == "web01/capture/disk0").count(), 1, "not begun again");
    let wire = sent(&lab, "tap0");

    // The controller is killed while it restores.
    let target = site.join("vms/web01/disk0.qcow2");
    let written = || std::fs::metadata(&target).map_or(0, |file| file.len());
    wait_for(|| written() > 16 << 20, || format!("nothing is restored:\n{}", tail(&apply.said())));
    apply.kill();
    let mut last = Apply::start(&lab, &site, "third");
    let code = last.ends(&[&metal]);
    assert_eq!(code, 0, "{}", last.said());
    metal.goes_off();

    let mut begun = last.begun();
    begun.sort();
    begun.dedup();
    for done in ["web01/boot", "web01/capture/disk0", "web01/create"] {
        assert!(!begun.iter().any(|task| task == done), "{done} was done before: {begun:?}");
    }
    assert!(begun.iter().any(|task| task == "web01/deploy/disk0"), "{begun:?}");
    let compared =
        Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "qcow2"]).arg(&disk).arg(&target).output();
    let compared = compared.expect("qemu-img runs");
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    assert_eq!(digest(&[&disk]), before, "the source was not written");

    // Headers of TCP and TLS are some 5 % of their content; what came twice is less than 5 % of it.
    let (twice, most) = (repeated(&site), CONTENT / 20);
    println!("content {CONTENT}, on the wire {wire}, repeated in the last attempt {twice}");
    assert!(twice < most, "{twice} bytes came twice");
    assert!(wire < CONTENT * 110 / 100 + (2 << 20), "{wire} bytes on the wire for {CONTENT} of content");
    run(&mut site.command(&["image", "verify", "--store", "store", "--key", "file:.replant/store.key"]));
}

/// What the journal says of bytes that the store had already.
fn repeated(site: &TestSite) -> u64 {
    let printed = site.replant(&["status", "--json"]).expect(0).stdout;
    let status: serde_json::Value = serde_json::from_str(&printed).expect("the status is JSON");
    let tasks = status["tasks"].as_array().expect("a list of tasks");
    let task = tasks.iter().find(|task| task["task"] == "web01/capture/disk0").expect("it was captured");
    let value = &task["outputs"]["bytes_repeated"];
    value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok()).unwrap_or_else(|| panic!("{task}"))
}
