//! The agent's emergency shell: there for whoever stands before the machine, if the plan allows it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::lab::{Ends, agent, tail, wait_for};
use crate::common::TestSite;

/// A machine without a network: its agent fails. What is typed goes to its console.
fn machine(site: &TestSite, words: &str) -> Ends {
    let agent = agent();
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-machine", "q35", "-accel", "tcg,tb-size=256", "-cpu", "qemu64", "-m", "512", "-nodefaults"]);
    command.args(["-display", "none", "-no-reboot", "-kernel"]).arg(agent.join("vmlinuz"));
    command.arg("-initrd").arg(agent.join("agent.img"));
    command.args(["-append", &format!("console=ttyS0 quiet panic=30 no_timer_check {words}"), "-serial", "stdio"]);
    let console = std::fs::File::create(site.join("console.log")).expect("the log can be made");
    command.stdin(Stdio::piped()).stdout(console).stderr(Stdio::inherit());
    Ends(command.spawn().expect("QEMU starts"))
}

#[test]
fn an_agent_that_fails_opens_a_shell_only_where_the_plan_allows_it() {
    let (site, locked) = (TestSite::new(), TestSite::new());
    let (mut open, mut shut) = (machine(&site, "replant.shell"), machine(&locked, ""));
    let shown =
        |site: &TestSite| String::from_utf8_lossy(&std::fs::read(site.join("console.log")).unwrap()).into_owned();
    let shows = |site: &TestSite, text: &str| {
        wait_for(|| shown(site).contains(text), || format!("`{text}` is not shown:\n{}", tail(&shown(site))));
    };
    shows(&site, "a shell, because the plan allows one");
    let keys = open.0.stdin.as_mut().expect("it was piped");
    keys.write_all(b"echo answer-$((6 * 7)) of $(cat /etc/replant-agent | wc -l)\n").expect("it can be typed");
    shows(&site, "answer-42 of 1");
    keys.write_all(b"poweroff -f\n").expect("it can be typed");
    wait_for(|| open.0.try_wait().unwrap().is_some(), || format!("it stays on:\n{}", tail(&shown(&site))));

    wait_for(|| shut.0.try_wait().unwrap().is_some(), || format!("it stays on:\n{}", tail(&shown(&locked))));
    let said = shown(&locked);
    assert!(said.contains("FAILED") && said.contains("power off in 30 seconds"), "{}", tail(&said));
    assert!(!said.contains("a shell"), "{}", tail(&said));
}
