//! `replant plan --look`: what a machine behind ssh says of its volumes: which would be read from snapshots, which as they are.

use serde::Serialize;

use super::prepare::Prepared;
use crate::live::{Choice, SshTarget, Volumes};
use crate::plan::{Machine, SnapshotUse, SshSource};

/// What is known of a disk.
#[derive(Debug, Serialize)]
pub(super) struct LiveVolumes {
    machine: String,
    device: String,
    /// A line for each volume and each other thing in use.
    lines: Vec<String>,
    /// Why nothing is known, or why the capture would refuse.
    trouble: Option<String>,
}

/// Asks the selected machines; nothing is changed there.
pub(super) fn collect(prepared: &Prepared, chosen: &dyn Fn(&Machine) -> bool) -> Vec<LiveVolumes> {
    let machines = prepared.plan.plan.machines.iter().filter(|machine| chosen(machine));
    let pairs = machines.filter_map(|machine| Some((machine, machine.source.ssh.as_ref()?)));
    pairs
        .flat_map(|(machine, ssh)| {
            let devices = machine.source.disks.iter().filter_map(|disk| disk.live.as_ref());
            devices.map(move |live| of_disk(&machine.name.value.to_string(), ssh, &live.device))
        })
        .collect()
}

fn of_disk(machine: &str, ssh: &SshSource, device: &str) -> LiveVolumes {
    let target = SshTarget {
        host: ssh.host.clone(),
        user: ssh.user.clone(),
        port: ssh.port,
        key: ssh.key.as_std_path().into(),
        known_hosts: ssh.known_hosts.as_std_path().into(),
    };
    let (machine, device) = (machine.to_owned(), device.to_owned());
    match Volumes::look(&target, &device) {
        Ok(found) => {
            let choice = Choice::new(&found, ssh.snapshot, ssh.snapshot_size.map(|size| size.0));
            let lacking = choice.lacking(&found);
            let refused = ssh.snapshot == SnapshotUse::Required && !lacking.is_empty();
            let trouble = refused.then(|| format!("snapshots are required: {}", lacking.join("; ")));
            LiveVolumes { machine, device, lines: choice.lines(), trouble }
        }
        Err(error) => LiveVolumes { machine, device, lines: Vec::new(), trouble: Some(error.to_string()) },
    }
}

/// Prints them for people.
pub(super) fn print(all: &[LiveVolumes]) {
    for LiveVolumes { machine, device, lines, trouble } in all {
        anstream::println!("\n{machine}, {device}, as it is now:");
        lines.iter().for_each(|line| anstream::println!("  {line}"));
        match trouble {
            Some(trouble) => anstream::println!("  ! {trouble}"),
            None if lines.is_empty() => anstream::println!("  nothing on it is in use"),
            None => {}
        }
    }
}
