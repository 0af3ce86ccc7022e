//! From power-on to the agent, and back to the own disk.

use std::fs;
use std::process::Stdio;

use super::lab::{BootLab, MAC, long};

const RANGE: [&str; 2] = ["--range", "10.77.0.100-10.77.0.200"];
/// The agent has drivers, an address, and looks for its controller.
const AGENT: &str = "replant-agent: machine";
/// Virtio with QEMU's own ROM, which is iPXE; SeaBIOS shows its screen on the serial port.
const BIOS: [&str; 4] =
    ["-machine", "pc,graphics=off", "-device", "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01,bootindex=1"];

fn device() -> String {
    format!("web01={MAC}")
}

fn uefi(lab: &BootLab) -> Vec<String> {
    let variables = lab.site.join("vars.fd");
    fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("UEFI variables: apt-get install ovmf");
    let words = [
        "-machine",
        "q35",
        "-drive",
        "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
        "-drive",
        &format!("if=pflash,format=raw,unit=1,file={}", variables.display()),
        // No ROM: the firmware's own PXE, which knows nothing of iPXE and takes the first stage by TFTP.
        "-device",
        "virtio-net-pci,netdev=n,mac=52:54:00:00:00:01,bootindex=1,romfile=",
    ];
    words.map(str::to_owned).to_vec()
}

#[test]
fn bios_boots_the_agent_and_a_machine_that_comes_back_too_often_boots_its_disk() {
    let lab = BootLab::new();
    let service = lab.serve(&[&RANGE[..], &["--device", &device(), "--limit", "1"]].concat());
    lab.power_on("first.log", &BIOS).shows(AGENT);
    // The agent was never heard from: the second boot is one too many.
    let mut machine = lab.power_on("second.log", &BIOS);
    machine.shows("never heard from");
    machine.shows("DISK-BOOTED");
    drop(machine);
    let said = service.stop();
    assert!(said.contains("agent 1 of 1") && said.contains("came to nothing"), "{said}");
    assert!(fs::read_dir(lab.site.join("state")).unwrap().next().is_none(), "nothing is left behind");
}

#[test]
fn uefi_boots_the_agent_through_proxy_dhcp_and_tftp() {
    let mut lab = BootLab::new();
    let router = lab.neighbour("52:54:00:00:00:f0", Some("10.77.0.2/24"));
    let mut lan = BootLab::inside(&router, "dnsmasq");
    lan.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces"]);
    lan.args(["--dhcp-range=10.77.0.50,10.77.0.60,1h", "--no-ping", "--user=root", "--pid-file="]);
    lan.arg(format!("--dhcp-leasefile={}", lab.site.join("leases").display()));
    lan.stderr(Stdio::null());
    lab.keep(lan);
    let service = lab.serve(&["--mode", "proxy", "--device", &device()]);
    let machine = uefi(&lab);
    let words: Vec<&str> = machine.iter().map(String::as_str).collect();
    let mut machine = lab.power_on("uefi.log", &words);
    machine.shows(&format!("{AGENT} "));
    machine.shows("address 10.77.0.5");
    drop(machine);
    assert!(service.stop().contains("agent 1 of 3"));
}

#[test]
fn long_uefi_full_dhcp_once() {
    if !long() {
        return;
    }
    let lab = BootLab::new();
    let service = lab.serve(&[&RANGE[..], &["--device", &device(), "--once"]].concat());
    let machine = uefi(&lab);
    let words: Vec<&str> = machine.iter().map(String::as_str).collect();
    lab.power_on("uefi.log", &words).shows(AGENT);
    // Once is once: UEFI leaves iPXE and goes on with its next boot entry.
    let mut again = lab.power_on("again.log", &words);
    again.shows("boots from its own disk");
    drop(again);
    assert!(service.stop().contains("local disk"));
}

#[test]
fn bios_boots_the_agent_through_proxy_dhcp() {
    let mut lab = BootLab::new();
    let router = lab.neighbour("52:54:00:00:00:f0", Some("10.77.0.2/24"));
    let mut lan = BootLab::inside(&router, "dnsmasq");
    lan.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces"]);
    lan.args(["--dhcp-range=10.77.0.50,10.77.0.60,1h", "--no-ping", "--user=root", "--pid-file="]);
    lan.arg(format!("--dhcp-leasefile={}", lab.site.join("leases").display()));
    lab.keep(lan);
    let _service = lab.serve(&["--mode", "proxy", "--device", &device()]);
    let mut machine = lab.power_on("bios.log", &BIOS);
    machine.shows("address 10.77.0.5");
}
