//! A Linux that runs becomes the agent, over ssh: an emulated Debian with sshd and kexec.

use std::fs::File;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use super::guest::{Guest, running_guest};
use super::native::{Controller, agent};
use crate::common::TestSite;

const MAC: &str = "52:54:00:70:32:99";
const PATIENCE: Duration = Duration::from_secs(900);

#[test]
#[ignore = "builds a Debian and starts it for minutes: cargo test --test integration -- --ignored remote::kexec"]
fn a_linux_that_runs_becomes_the_agent() {
    let agent = agent();
    let cache = running_guest();
    let site = TestSite::new();
    site.replant(&["init", "."]).expect(0);
    site.replant(&["device", "add", "--name", "running", "--mac", MAC]).expect(0);
    let controller = Controller::start(&site, 0);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let (console, disk) = (site.join("console.log"), site.join("disk.raw"));
    File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("a disk");
    let drive = format!("file={},format=raw", disk.display());
    let network = format!("user,id=n,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22");
    let guest = Guest::start(&mut Command::new("qemu-system-x86_64"), &network, MAC, &drive, "RUNNING0", &console, "");
    let shown = || String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
    let options = [
        "--ssh-option=-oStrictHostKeyChecking=accept-new".to_owned(),
        format!("--ssh-option=-oUserKnownHostsFile={}", site.join("known").display()),
        format!("--ssh-option=-i{}", cache.join("user_key").display()),
        format!("--ssh-option=-p{port}"),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let folder = agent.to_str().expect("a plain path");
    let words = [&["agent", "kexec", "root@127.0.0.1", "--agent", folder][..], &options].concat();
    let begun = Instant::now();
    loop {
        let asked = site.replant(&[&words[..], &["--check"]].concat());
        if asked.code == 0 {
            assert!(asked.stdout.contains("can start the agent"), "{}", asked.stdout);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}\n{}", asked.stderr, shown());
        std::thread::sleep(Duration::from_secs(2));
    }
    let at = format!("10.0.2.2:{}", controller.port);
    let order = ["--device", "running", "--controller", &at, "--order", "console=ttyS0 no_timer_check mitigations=off"];
    site.replant(&[&words[..], &order].concat()).expect(0);
    let waited = site.replant(&["device", "wait", "running", "--timeout", "900s"]);
    assert_eq!(waited.code, 0, "{}\n{}", waited.stderr, shown());
    let device = site.replant(&["device", "show", "running", "--json"]).expect(0).stdout;
    assert!(device.contains("RUNNING0"), "the agent sees the machine's disk: {device}");
    drop(guest);
    controller.stop();
}
