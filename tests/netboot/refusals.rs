//! Who gets nothing: strangers, our own adapters, the hosts of the VMs; and what a bad setup is told.

use std::process::Command;

use super::lab::{BootLab, MAC, agent, gets_address, shell};

const RANGE: [&str; 2] = ["--range", "10.77.0.100-10.77.0.200"];
const HOST: &str = "52:54:00:00:00:99";

#[test]
fn strangers_and_hypervisor_hosts_get_no_address_and_the_listed_device_does() {
    let mut lab = BootLab::new();
    let stranger = lab.neighbour("52:54:00:00:00:02", None);
    let host = lab.neighbour(HOST, None);
    let device = lab.neighbour(MAC, None);
    let (web, hypervisor) = (format!("web01={MAC}"), format!("host={HOST}"));
    let words = ["--device", &web, "--device", &hypervisor, "--host-mac", HOST];
    let service = lab.serve(&[&RANGE[..], &words].concat());
    assert!(gets_address(&device), "the device is answered");
    assert!(!gets_address(&stranger), "a stranger is not");
    assert!(!gets_address(&host), "nor is a hypervisor's host, listed or not");

    // The same question by HTTP: the script is the device's alone.
    let ask = |mac: &str| {
        let url = format!("http://10.77.0.1:8069/boot?mac={mac}&uuid=");
        let output = BootLab::inside(&device, "busybox").args(["wget", "-q", "-O", "-", &url]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    shell(&format!("ip -n {device} address add 10.77.0.9/24 dev eth0"));
    let (found, script) = ask(MAC);
    assert!(found && script.starts_with("#!ipxe") && script.contains("console=ttyS0"), "{script}");
    assert!(!ask(HOST).0 && !ask("52:54:00:00:00:02").0 && !ask("x").0);

    // Asked like a machine's firmware would ask, it answers; stopped, it does not.
    let probe = |code: bool| {
        let mut command = BootLab::inside(lab.namespace(), env!("CARGO_BIN_EXE_replant"));
        let output = command.args(["netboot", "probe", "--interface", "br0"]).output().unwrap();
        assert_eq!(output.status.success(), code, "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    probe(true);
    service.stop();
    let silence = probe(false);
    assert!(silence.contains("DHCP on br0 did not answer"), "{silence}");
}

#[test]
fn a_killed_service_leaves_nothing_that_the_next_one_cannot_end() {
    let lab = BootLab::new();
    let device = format!("web01={MAC}");
    let words = [&RANGE[..], &["--device", &device]].concat();
    lab.serve(&words).kill();
    let count = || {
        let list = Command::new("ip").args(["netns", "pids", lab.namespace()]).output().unwrap();
        String::from_utf8_lossy(&list.stdout).lines().count()
    };
    assert_eq!(count(), 1, "dnsmasq outlives a killed service");
    lab.serve(&words).stop();
    assert_eq!(count(), 0, "the next service has ended it, and its own");
}

#[test]
fn a_bad_setup_is_refused_with_the_way_out() {
    let lab = BootLab::new();
    let agent = agent().display().to_string();
    let refused = |words: &[&str]| {
        let mut command = BootLab::inside(lab.namespace(), env!("CARGO_BIN_EXE_replant"));
        command.args(["netboot", "serve", "--agent", &agent]).args(words).current_dir(lab.site.path());
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (words, said) in [
        (&["--interface", "br9", "--mode", "proxy"][..], "there are `br0`, `tap0`"),
        (&["--interface", "tap0", "--mode", "proxy"], "ip address add"),
        (&["--interface", "br0"], "say which with a range"),
        (&["--interface", "br0", "--range", "10.0.0.9-10.0.0.1"], "FIRST-LAST"),
        (&["--interface", "br0", "--range", "10.78.0.1-10.78.0.9"], "not in the network of `br0`"),
        (&["--interface", "br0", "--range", "10.77.0.1-10.77.0.9"], "our own address"),
        (&["--interface", "br0", "--mode", "proxy", "--device", "a b=52:54:00:00:00:01"], "a name has letters"),
        (&["--interface", "br0", "--mode", "proxy", "--device", "a=ff:ff:ff:ff:ff:ff"], "is no MAC address"),
    ] {
        let error = refused(words);
        assert!(error.contains(said), "{words:?}: {error}");
    }
}
