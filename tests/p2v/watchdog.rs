//! An agent that hangs is ended by the machine's watchdog.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::lab::{Ends, agent, tail, wait_for};
use crate::common::TestSite;

/// The agent's own first process, with somebody who stops the agent as soon as it has armed the watchdog.
const SABOTAGE: &str = "\n(until busybox ls -l /proc/$(busybox pidof replant)/fd 2>/dev/null | busybox grep -q watchdog; do sleep 1; done\n \
                        busybox kill -STOP $(busybox pidof replant); say stopped) &\nreplant agent run";

/// The agent's initramfs with another first process behind it: the later one holds.
fn sabotaged(site: &TestSite, agent: &Path) {
    let init = include_str!("../../src/agent/build/init.sh");
    let changed = init.replacen("\nreplant agent run", SABOTAGE, 1);
    assert_ne!(init, changed);
    site.write("overlay/init", changed);
    let script = "chmod 755 overlay/init && cp \"$1\"/agent.img agent.img && truncate -s %4 agent.img && \
                  cd overlay && echo init | cpio -o -H newc -R 0:0 --quiet >>../agent.img";
    let made = Command::new("sh").args(["-ec", script, "sh"]).arg(agent).current_dir(site.path()).status();
    assert!(made.expect("sh runs").success());
}

#[test]
fn an_agent_that_hangs_is_ended_by_the_watchdog() {
    let (agent, site) = (agent(), TestSite::new());
    sabotaged(&site, &agent);
    site.replant(&["init", "."]).expect(0);
    let mut serve = site.command(&["serve", "--json", "--bind", "127.0.0.1:0"]);
    let mut serve = Ends(serve.stdout(Stdio::piped()).spawn().expect("replant starts"));
    let mut line = String::new();
    BufReader::new(serve.0.stdout.take().expect("it was piped")).read_line(&mut line).expect("it says where it is");
    let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let (_, port) = said["address"].as_str().and_then(|at| at.rsplit_once(':')).expect("an address has a port");
    site.replant(&["device", "add", "--name", "web01", "--mac", "52:54:00:70:32:80"]).expect(0);
    let url = format!("https://10.0.2.2:{port}");
    let order = site.replant(&["device", "boot-agent", "web01", "--order", &url]).expect(0).stdout;
    let console = site.join("console.log");
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", "q35", "-accel", "tcg,tb-size=256", "-cpu", "qemu64", "-m", "512", "-nodefaults"]);
    command.args(["-display", "none", "-no-reboot", "-device", "i6300esb", "-action", "watchdog=reset"]);
    command.args(["-netdev", "user,id=n,ipv6=off", "-device", "e1000,netdev=n,mac=52:54:00:70:32:80"]);
    command.arg("-kernel").arg(agent.join("vmlinuz")).arg("-initrd").arg(site.join("agent.img"));
    command.args(["-append", &format!("{} console=ttyS0 quiet panic=30 no_timer_check", order.trim())]);
    command.arg("-serial").arg(format!("file:{}", console.display())).stdin(Stdio::null());
    let mut machine = Ends(command.spawn().expect("QEMU starts"));
    let shown = || String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
    // A reset ends the emulator; nothing else would, for the agent that could switch it off is stopped.
    wait_for(
        || machine.0.try_wait().expect("it can be looked at").is_some(),
        || format!("the machine does not start again:\n{}", tail(&shown())),
    );
    let shown = shown();
    assert!(shown.contains("watchdog armed: i6300ESB"), "{}", tail(&shown));
    let stopped = shown.find("replant-agent: stopped").unwrap_or_else(|| panic!("{}", tail(&shown)));
    assert!(!shown[stopped..].contains("power off"), "it was not the agent that ended it: {}", &shown[stopped..]);
    std::io::stderr().flush().expect("errors can be written");
}
