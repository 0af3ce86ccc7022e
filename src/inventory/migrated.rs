//! Machines whose migration is finished and whose source is gone: the normal end of a source machine.

use crate::address::Address;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::journal::{Ledger, TaskStatus};
use crate::plan::{Machine, MachineName, Plan};

/// Takes machines out of the plan that are past their point of no return and whose source disks are not there any
/// more: they stay as they are, and the others can go on. Says so for each.
pub fn leave_migrated(plan: &mut Plan, ledger: &Ledger) -> Diagnostics {
    let mut found = Diagnostics::new();
    let mut left: Vec<MachineName> = Vec::new();
    for machine in plan.machines.iter().filter(|machine| is_migrated(machine, ledger)) {
        // What a machine in the agent or behind ssh had cannot be looked for here.
        if machine.source.agent.is_some() || machine.source.ssh.is_some() {
            continue;
        }
        let Some(gone) = machine.source.disks.iter().find(|disk| !disk.path.value.exists()) else { continue };
        let name = &machine.name.value;
        let message = format!("`{}` is migrated and its source is gone: it stays as it is", name.0);
        found.push(
            Diagnostic::warning("inventory.source-gone", message)
                .at(gone.path.span.clone(), "this disk is not there any more")
                .help("remove the machine from the plan, or `replant rollback --past-commit` it if that was a mistake"),
        );
        left.push(name.clone());
    }
    if left.is_empty() {
        return found;
    }
    plan.machines.retain(|machine| !left.contains(&machine.name.value));
    for machine in &mut plan.machines {
        machine.after.retain(|name| !left.contains(&name.value));
    }
    for wave in &mut plan.waves {
        wave.machines.retain(|name| !left.contains(name));
    }
    found
}

fn is_migrated(machine: &Machine, ledger: &Ledger) -> bool {
    let end = Address::within(&machine.name.value.0, "post-deploy");
    ledger.entries.get(&end).is_some_and(|entry| entry.status == TaskStatus::Applied)
}
