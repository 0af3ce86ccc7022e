//! From a plan and a machine that is switched on to a VM that boots.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::machine::{Controller, DISK_SERIAL, MAC, Machine, agent};
use crate::end_to_end::{Migration, Running, marker, run};

const SECOND_SERIAL: &str = "SRCDISK1";

#[test]
#[ignore = "starts emulated machines for minutes, and has not been seen to pass yet: cargo test --release -- --ignored p2v"]
fn a_machine_without_virtio_becomes_a_virtual_machine_that_boots() {
    let agent = agent();
    let migration = Migration::new("");
    let site = &migration.site;
    let disks: Vec<(PathBuf, &str)> =
        vec![(site.join("source/sda.raw"), DISK_SERIAL), (site.join("source/web01-sdb.raw"), SECOND_SERIAL)];
    let from = site.join("source/web01-sda.qcow2");
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&from).arg(&disks[0].0));
    std::fs::remove_file(from).expect("our own copy can be removed");
    let size = |index: usize| std::fs::metadata(&disks[index].0).expect("the disk is there").len();
    let digests = || run(Command::new("b2sum").args(disks.iter().map(|(path, _)| path)));
    let before = digests();
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: p2v\n\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             machines:\n  - name: web01\n    source:\n      agent: {{ mac: \"{MAC}\" }}\n      disks:\n        \
             - {{ path: \"serial:{DISK_SERIAL}\", size: {} }}\n        \
             - {{ path: any, size: {} }}\n    \
             inventory: {{ memory: 512MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"52:54:00:aa:bb:01\", name: ens3 }}] }}\n    \
             target: {{ host: local }}\n    \
             post_deploy: {{ action: start, wait_for: QUICKSTART-READY, timeout: 10m }}\n",
            size(0),
            size(1)
        ),
    );
    let wanted = [
        "host:local/agent",
        "web01/validate",
        "web01/boot",
        "web01/capture/disk0",
        "web01/capture/disk1",
        "web01/capture",
        "web01/release",
        "web01/create",
        "web01/deploy/disk0",
        "web01/deploy/disk1",
        "web01/deploy/guest",
        "web01/post-deploy",
    ];
    let (mut tasks, mut wanted) = (migration.tasks(), wanted.map(str::to_owned).to_vec());
    tasks.sort();
    wanted.sort();
    assert_eq!(tasks, wanted);

    let controller = Controller::start(site, 0);
    let log = std::fs::File::create(site.join("apply.log")).expect("the log can be made");
    let errors = log.try_clone().expect("the log can be shared");
    let mut apply = migration.apply(&[]).stdout(log).stderr(errors).stdin(Stdio::null()).spawn().expect("it starts");
    let begun = Instant::now();
    while !site.replant(&["device", "show", "web01", "--json"]).stdout.contains("\"boot\":\"agent\"") {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody asks for the machine:\n{}", site.read("apply.log"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let url = format!("https://10.0.2.2:{}", controller.port);
    let order = site.replant(&["device", "boot-agent", "web01", "--order", &url]).expect(0).stdout;
    let machine = Machine::boot(site, &agent, &disks, order.trim());
    let code = apply.wait().expect("it ends").code();
    let _running = Running(&migration);
    assert_eq!(code, Some(0), "{}\n--- console\n{}", site.read("apply.log"), machine.console());
    machine.wait_off();
    let line = marker(&migration, "QUICKSTART-READY").expect("post-deploy waited for the marker");
    assert_eq!(line, migration.expected(), "the checksums of files on both disks");
    assert_eq!(digests(), before, "the source was not written");
    assert_eq!(migration.resume(), Vec::<String>::new(), "nothing runs a second time");
    controller.stop();
}
