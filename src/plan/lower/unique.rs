//! What may belong to one machine only: VM names on a host, MAC addresses, source disks.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::document::shortened;
use crate::plan::model::Machine;

/// Reports everything that two machines claim.
pub(super) fn check(machines: &[Machine], found: &mut Diagnostics) {
    vm_names(machines, found);
    macs(machines, found);
    disks(machines, found);
}

fn vm_names(machines: &[Machine], found: &mut Diagnostics) {
    let mut taken: HashMap<(&str, &str), &Machine> = HashMap::with_capacity(machines.len());
    for machine in machines {
        let key = (&*machine.target.host.value.0, machine.target.vm_name.as_str());
        let Some(first) = taken.insert(key, machine) else { continue };
        // Machines of one name have been reported as such.
        if first.name.value != machine.name.value {
            let name = shortened(&machine.target.vm_name);
            found.push(
                Diagnostic::error(
                    "plan.duplicate-vm",
                    format!("two virtual machines would be `{name}` on `{}`", key.0),
                )
                .at(machine.name.span.clone(), format!("its virtual machine is `{name}`"))
                .at(first.name.span.clone(), "and so is this one's")
                .help("give one of them another `vm_name` or another `host`"),
            );
        }
    }
}

fn macs(machines: &[Machine], found: &mut Diagnostics) {
    let mut taken: HashMap<&str, &Machine> = HashMap::with_capacity(machines.len());
    for machine in machines {
        for nic in &machine.inventory.nics {
            let Some(first) = taken.insert(&nic.mac, machine) else { continue };
            let message = format!("two network adapters have the MAC address {}", nic.mac);
            let diagnostic = Diagnostic::error("plan.duplicate-mac", message);
            let diagnostic = match std::ptr::eq(first, machine) {
                true => diagnostic.at(machine.name.span.clone(), "this machine lists it twice"),
                false => diagnostic
                    .at(machine.name.span.clone(), "this machine lists it")
                    .at(first.name.span.clone(), "this one lists it, too"),
            };
            found.push(diagnostic.help("a virtual machine takes its source's addresses over: each exists once"));
        }
    }
}

fn disks(machines: &[Machine], found: &mut Diagnostics) {
    let mut taken: HashMap<&str, _> = HashMap::with_capacity(machines.len());
    for disk in machines.iter().flat_map(|machine| &machine.source.disks) {
        if let Some(first) = taken.insert(disk.path.value.as_str(), &disk.path.span) {
            let message = format!("the disk `{}` is read twice", shortened(disk.path.value.as_str()));
            found.push(
                Diagnostic::error("plan.shared-disk", message)
                    .at(disk.path.span.clone(), "read again here")
                    .at(first.clone(), "first read here")
                    .help("every disk belongs to one machine and is listed once"),
            );
        }
    }
}
