//! What may belong to one machine only: VM names on a host, MAC addresses, source disks.

use std::collections::HashMap;

use camino::Utf8Path;

use super::access::At;
use super::machines::canonical_mac;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::Machine;
use crate::plan::document::shortened;

/// Reports everything that two machines claim.
pub(super) fn check(machines: &[Machine], folder: &Utf8Path, found: &mut Diagnostics) {
    vm_names(machines, found);
    disks(machines, folder, found);
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

/// Reports MAC addresses that several adapters claim, whatever their spelling.
pub(super) fn check_macs(machines: &[At<'_>], found: &mut Diagnostics) {
    let mut taken: HashMap<String, At<'_>> = HashMap::with_capacity(machines.len());
    let nics = machines.iter().filter_map(|machine| machine.get("inventory")?.get("nics")).flat_map(At::items);
    for mac in nics.filter_map(|nic| nic.get("mac")) {
        let Some(address) = mac.text().map(canonical_mac) else { continue };
        if let Some(first) = taken.get(&address) {
            found.push(
                Diagnostic::error("plan.duplicate-mac", format!("two network adapters have the MAC address {address}"))
                    .at(mac.span(), "this adapter has it")
                    .at(first.span(), "and so has this one")
                    .help("a virtual machine takes its source's addresses over: each exists once"),
            );
        } else {
            taken.insert(address, mac);
        }
    }
}

fn disks(machines: &[Machine], folder: &Utf8Path, found: &mut Diagnostics) {
    let mut taken: HashMap<&str, _> = HashMap::with_capacity(machines.len());
    for disk in machines.iter().flat_map(|machine| &machine.source.disks) {
        if let Some(first) = taken.insert(disk.path.value.as_str(), &disk.path.span) {
            let shown = disk.path.value.strip_prefix(folder).unwrap_or(&disk.path.value);
            let message = format!("the disk `{}` is read twice", shortened(shown.as_str()));
            found.push(
                Diagnostic::error("plan.shared-disk", message)
                    .at(disk.path.span.clone(), "read again here")
                    .at(first.clone(), "first read here")
                    .help("every disk belongs to one machine and is listed once"),
            );
        }
    }
}
