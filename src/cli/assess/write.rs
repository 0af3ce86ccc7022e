//! `replant assess --write`.

use camino::Utf8Path;

use crate::assess::placement::Proposal;
use crate::assess::sizing::Fleet;
use crate::cli::inventory::replace;
use crate::cli::{Exit, Failure};
use crate::diagnostic::Diagnostics;
use crate::plan::{Plan, TargetEdit, edit_targets};
use crate::units::ByteCount;

const MIB: u64 = 1 << 20;

/// Writes hosts and sizes into the plan's files; nothing, if a machine has no place.
pub(super) fn run(
    plan: &Plan,
    fleet: &Fleet,
    proposal: Option<&Proposal>,
    findings: &Diagnostics,
) -> Result<(), Failure> {
    let Some(proposal) = proposal.filter(|proposal| proposal.placement.no_place.is_empty()) else {
        return Err(Failure::with(Exit::Refused, "nothing is written: not every machine has a place"));
    };
    let edits: Vec<TargetEdit> = plan
        .machines
        .iter()
        .zip(&fleet.machines)
        .zip(&proposal.placement.host_of)
        .map(|((machine, sizing), host)| {
            let host = host.map(|at| proposal.hosts[at].name.clone());
            let target = &machine.target;
            // What somebody wrote stays; only what is left open is filled in.
            let memory = sizing.memory.as_ref().filter(|_| target.memory.is_none());
            TargetEdit {
                machine: machine.name.value.clone(),
                host: host.filter(|host| *host != target.host.value),
                memory: memory.and_then(|memory| memory.value.0.checked_next_multiple_of(MIB)).map(ByteCount),
                cpus: machine.inventory.cpus.filter(|_| target.cpus.is_none()),
            }
        })
        .filter(|edit| edit.host.is_some() || edit.memory.is_some() || edit.cpus.is_some())
        .collect();
    let files = edit_targets(plan, &edits)?;
    for file in &files {
        let path = Utf8Path::new(&file.source.path);
        let now = std::fs::read_to_string(path)?;
        if now != file.source.text {
            return Err(Failure::with(
                Exit::Error,
                format!("`{path}` has changed meanwhile: nothing is written to it"),
            ));
        }
        replace(path, &file.text)
            .map_err(|error| Failure::with(Exit::Error, format!("cannot write `{path}`: {error}")))?;
        anstream::eprintln!("written: {path}");
    }
    if files.is_empty() {
        anstream::eprintln!("nothing to write: the plan says all of it already");
    } else if findings.has_errors() {
        anstream::eprintln!("the findings above are of the plan as it was: assess it again");
    }
    Ok(())
}
