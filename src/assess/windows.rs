//! Windows guests: what keeps them from being converted, and drivers that are not there.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::guest::SkipList;
use crate::guest::windows::driver::DriverPackage;
use crate::guest::windows::{FoundWindows, TargetTables, WindowsOptions, WindowsSurvey, refusals};
use crate::inventory::ResolvedPlan;
use crate::plan::{Convert, Machine};
use crate::provider::Catalog;

/// Checks each machine that has a Windows and is to be converted; `surveys` stand at the index of `plan.machines`.
pub fn check_windows(
    plan: &ResolvedPlan,
    catalog: &Catalog,
    surveys: &[WindowsSurvey],
    packages: &[DriverPackage],
) -> Diagnostics {
    let mut found = Diagnostics::new();
    for (machine, survey) in plan.plan.machines.iter().zip(surveys) {
        let Some(windows) = converted(machine, survey) else { continue };
        let Some(tables) = tables(plan, catalog, machine) else { continue };
        let skip = SkipList::new(machine.guest.skip.iter().cloned());
        let options = WindowsOptions { tables, packages, nics: &[], first_boot: &[], skip: &skip };
        for reason in refusals(&windows.facts, &options) {
            let message = format!("the Windows of `{}` on {} cannot be converted", machine.name.value, windows.volume);
            found.push(
                Diagnostic::error("assess.windows", message)
                    .at(machine.name.span.clone(), windows.facts.product.clone())
                    .help(reason),
            );
        }
    }
    for (machine, survey) in plan.plan.machines.iter().zip(surveys) {
        if machine.guest.convert != Convert::Auto || !survey.found.is_empty() {
            continue;
        }
        let closed = survey.closed.iter().map(ToString::to_string).chain(survey.damaged.iter().cloned());
        for reason in closed {
            let message = format!("a disk of `{}` cannot be looked into", machine.name.value);
            found.push(Diagnostic::warning("assess.windows", message).at(machine.name.span.clone(), "").help(reason));
        }
    }
    found
}

/// The Windows that the plan wants to be converted, if it is the only one or the declared one.
fn converted<'s>(machine: &Machine, survey: &'s WindowsSurvey) -> Option<&'s FoundWindows> {
    if machine.guest.convert != Convert::Auto {
        return None;
    }
    match (&machine.guest.root, survey.found.as_slice()) {
        (None, [only]) => Some(only),
        (Some(root), found) => found.iter().find(|one| one.volume == *root),
        _ => None,
    }
}

/// What the provider of a machine's host says about Windows.
fn tables<'c>(plan: &ResolvedPlan, catalog: &'c Catalog, machine: &Machine) -> Option<&'c TargetTables> {
    let host = plan.plan.hosts.get(&machine.target.host.value)?;
    Some(catalog.get(&host.provider.value)?.windows())
}
