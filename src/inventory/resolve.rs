//! A plan's open questions answered: what the target says holds, then what the inventory declares, then what was seen.

use super::facts::{MachineFacts, ResolvedMachine, ResolvedPlan};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::{Firmware, Machine, Plan};
use crate::units::ByteCount;

/// Binds facts to a plan; `facts` stand at the same index as `plan.machines`. The diagnostics beside the result are
/// warnings.
pub fn resolve(plan: Plan, facts: Vec<MachineFacts>) -> Result<(ResolvedPlan, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::new();
    if facts.len() != plan.machines.len() {
        let message = format!("{} machines were observed, the plan has {}", facts.len(), plan.machines.len());
        return Err(Diagnostic::error("inventory.incomplete", message).help("observe the plan again").into());
    }
    let machines: Vec<ResolvedMachine> =
        plan.machines.iter().zip(facts).map(|(machine, facts)| bind(machine, facts, &mut found)).collect();
    found.into_result(Some(ResolvedPlan { plan, machines }))
}

fn bind(machine: &Machine, facts: MachineFacts, found: &mut Diagnostics) -> ResolvedMachine {
    let (target, inventory) = (&machine.target, &machine.inventory);
    let name = &machine.name;
    let memory = target.memory.as_ref().map(|memory| memory.value).or(inventory.memory);
    let cpus = target.cpus.as_ref().map(|cpus| cpus.value).or(inventory.cpus);
    let missing: Vec<&str> = [("memory", memory.is_none()), ("cpus", cpus.is_none())]
        .into_iter()
        .filter_map(|(key, missing)| missing.then_some(key))
        .collect();
    if !missing.is_empty() {
        let example: Vec<&str> =
            missing.iter().map(|key| if *key == "memory" { "memory: 4GiB" } else { "cpus: 2" }).collect();
        found.push(
            Diagnostic::error("inventory.unknown", format!("`{}` of `{}` is not known", missing.join("` and `"), name.value))
                .at(name.span.clone(), "its disks cannot tell")
                .help(format!("declare what the source has, `inventory: {{ {0} }}`, or what the virtual machine gets, `target: {{ {0} }}`", example.join(", "))),
        );
    }
    let boot_disk = facts.disks.first();
    let firmware = target.firmware.or(inventory.firmware).or_else(|| boot_disk.and_then(|disk| disk.boots));
    if let (Some(declared), Some(seen)) =
        (target.firmware.or(inventory.firmware), boot_disk.and_then(|disk| disk.boots))
        && declared != seen
    {
        found.push(
            Diagnostic::warning(
                "inventory.firmware",
                format!(
                    "`{}` is declared for {}, its boot disk is made for {}",
                    name.value,
                    word(declared),
                    word(seen)
                ),
            )
            .at(machine.source.disks[0].path.span.clone(), format!("this disk boots with {}", word(seen)))
            .help(format!("write `firmware: {}` unless the disk really boots both ways", word(seen))),
        );
    }
    if firmware.is_none() {
        found.push(
            Diagnostic::warning(
                "inventory.firmware",
                format!("the firmware of `{}` is not known; taking bios", name.value),
            )
            .at(
                machine.source.disks.first().map_or(name.span.clone(), |disk| disk.path.span.clone()),
                "no boot loader was found on this disk",
            )
            .help("declare it: `inventory: { firmware: uefi }` or `bios`"),
        );
    }
    ResolvedMachine {
        disks: facts.disks,
        document: facts.document,
        memory: memory.unwrap_or(ByteCount(0)),
        cpus: cpus.unwrap_or(0),
        firmware: firmware.unwrap_or(Firmware::Bios),
        nics: inventory.nics.clone(),
    }
}

fn word(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "bios",
        Firmware::Uefi => "uefi",
    }
}
