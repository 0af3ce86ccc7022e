//! Power through real emulators of management controllers, which switch a real QEMU process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use super::bmc::{Bmc, free_port};
use super::lab::require_tool_anywhere;
use crate::common::TestSite;

/// A machine: `machine.sh on|off|boot WHERE|state`.
const MACHINE: &str = r#"#!/bin/sh
cd "${0%/*}"
alive() { [ -s qemu.pid ] && kill -0 "$(cat qemu.pid)" 2>/dev/null; }
off() { alive && kill "$(cat qemu.pid)"; while alive; do sleep 0.1; done; rm -f qemu.pid; }
case $1 in
on) alive || qemu-system-x86_64 -accel tcg -m 32 -nodefaults -display none -daemonize -pidfile qemu.pid \
        -boot "order=$(cat boot 2>/dev/null || echo c)" -S; echo "on $(cat boot 2>/dev/null || echo c)" >>log ;;
off) off; echo off >>log ;;
boot) echo "$2" >boot ;;
state) alive && echo 1 || echo 0 ;;
esac
"#;

/// The chassis of `ipmi_sim`: asked with the controller's address, a verb, a thing and a value.
const CHASSIS: &str = r#"#!/bin/sh
here=${0%/*}
case "$2 $3" in
"get power") echo "power:$("$here/machine.sh" state)" ;;
"get boot") echo "boot:default" ;;
"set boot") [ "$4" = pxe ] && "$here/machine.sh" boot n ;;
"set power") if [ "$4" = 1 ]; then "$here/machine.sh" on; else "$here/machine.sh" off; fi ;;
"set reset") "$here/machine.sh" off; "$here/machine.sh" on ;;
"set shutdown") "$here/machine.sh" off ;;
esac
"#;

struct Emulator {
    site: TestSite,
    child: Option<Child>,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new(self.site.join("machine.sh")).arg("off").status();
    }
}

fn site() -> TestSite {
    require_tool_anywhere("qemu-system-x86_64", "qemu-system-x86");
    let site = TestSite::new();
    for (name, text) in [("machine.sh", MACHINE), ("chassis.sh", CHASSIS)] {
        let path = site.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    site
}

fn plan(site: &TestSite, power: &str) {
    let text = format!(
        "replant: 1\nname: p\nhosts: {{ local: {{ provider: qemu, settings: {{ folder: vms }} }} }}\nmachines:\n  \
         - name: web01\n    source: {{ disks: [{{ path: d.raw }}] }}\n    target: {{ host: local }}\n    power: {power}\n"
    );
    site.write("plan.yaml", text);
}

/// What every kind of power must do.
fn a_machine_is_switched(emulator: &Emulator) {
    let power = |words: &[&str], said: &str| {
        let finished = emulator.site.replant(&[&["power", "web01"], words].concat()).expect(0);
        assert!(finished.stdout.contains(said), "{words:?}: {}", finished.stdout);
    };
    power(&["status"], "web01 is off");
    power(&["pxe"], "web01 is on");
    power(&["on"], "web01 is on");
    power(&["off"], "web01 is off");
    power(&["off", "--force"], "web01 is off");
    let log = emulator.site.read("log");
    assert_eq!(log.lines().filter(|line| line.starts_with("on")).collect::<Vec<_>>(), ["on n"], "{log}");
}

#[test]
fn redfish_switches_a_machine_and_trusts_one_certificate() {
    let site = site();
    let bmc = Bmc::start(&site, None);
    let emulator = Emulator { child: None, site };
    let site = &emulator.site;
    let access = |password: &str, certificate: &str| {
        plan(site, &bmc.power(password, certificate));
    };
    access("secret", &format!("sha256:{}", "0".repeat(64)));
    let refused = site.replant(&["power", "web01", "on"]).expect(1);
    let shown = site.replant(&["power", "web01", "certificate"]).expect(0).stdout;
    let certificate = shown.lines().next().unwrap();
    assert_eq!(certificate, bmc.certificate());
    assert!(refused.stderr.contains(certificate) && refused.stderr.contains("the plan trusts sha256:0"));
    access("wrong", certificate);
    assert!(site.replant(&["power", "web01", "on"]).expect(1).stderr.contains("refuses the user `admin`"));
    assert!(!site.join("log").exists(), "nothing was switched");
    access("secret", certificate);
    a_machine_is_switched(&emulator);
}

#[test]
fn ipmi_switches_a_machine_and_its_password_is_in_no_argument_list() {
    require_tool_anywhere("ipmi_sim", "openipmi");
    require_tool_anywhere("ipmitool", "ipmitool");
    let (site, port) = (site(), free_port());
    let auths: String =
        ["callback", "user", "operator", "admin"].map(|kind| format!("  allowed_auths_{kind} md5\n")).concat();
    let chassis = site.join("chassis.sh").display().to_string();
    site.write(
        "lan.conf",
        format!(
            "name \"web01\"\nset_working_mc 0x20\nstartlan 1\n  addr 127.0.0.1 {port}\n  priv_limit admin\n{auths}\
             guid a123456789abcdefa123456789abcdef\nendlan\nchassis_control \"{chassis} 0x20\"\n\
             user 2 true \"admin\" \"secret\" admin 10 md5\n"
        ),
    );
    site.write(
        "sim.emu",
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n",
    );
    fs::create_dir(site.join("state")).unwrap();
    let mut command = Command::new("ipmi_sim");
    command.args(["-n", "-c", "lan.conf", "-f", "sim.emu", "-s", "state"]).current_dir(site.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let emulator = Emulator { child: Some(command.spawn().expect("the emulator starts")), site };
    let access = |password: &str| {
        plan(
            &emulator.site,
            &format!(
                "{{ ipmi: {{ host: \"127.0.0.1:{port}\", user: admin, password: {{ command: echo {password} }}, cipher: 3 }} }}"
            ),
        );
    };
    access("wrong");
    let refused = emulator.site.replant(&["power", "web01", "status"]).expect(1);
    assert!(refused.stderr.contains("no IPMI session") && !refused.stderr.contains("secret"), "{}", refused.stderr);
    access("secret");
    a_machine_is_switched(&emulator);
}
