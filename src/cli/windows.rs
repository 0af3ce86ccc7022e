//! What `plan` and `patch validate` ask about Windows guests.

use crate::assess::check_windows;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::guest::windows::WindowsSurvey;
use crate::inventory::{ResolvedPlan, look_for_windows};
use crate::patch::{PatchCache, PatchError};
use crate::plan::Convert;
use crate::provider::Catalog;

/// Every Windows of the plan's machines that are to be converted, machine by machine.
pub(super) fn surveys(plan: &ResolvedPlan, found: &mut Diagnostics) -> Vec<WindowsSurvey> {
    let look = |(machine, facts): (&crate::plan::Machine, _)| {
        if machine.guest.convert != Convert::Auto {
            return WindowsSurvey::default();
        }
        look_for_windows(facts).unwrap_or_else(|error| {
            let message = format!("the guest of `{}` is not known", machine.name.value);
            found.push(
                Diagnostic::warning("inventory.guest", message)
                    .at(machine.name.span.clone(), "")
                    .help(format!("{error}; what its conversion needs is found out only when it runs")),
            );
            WindowsSurvey::default()
        })
    };
    plan.plan.machines.iter().zip(&plan.machines).map(look).collect()
}

/// What keeps the plan's Windows guests from being converted.
pub(super) fn check(plan: &ResolvedPlan, catalog: &Catalog) -> Result<Diagnostics, PatchError> {
    let mut found = Diagnostics::new();
    let surveys = surveys(plan, &mut found);
    // A plan without Windows needs no look at the cache.
    let packages = match surveys.iter().any(|survey| !survey.found.is_empty()) {
        true => PatchCache::of_store(plan.plan.store.path.as_std_path()).packages()?,
        false => Vec::new(),
    };
    let packages: Vec<_> = packages.into_iter().map(|(_, package)| package).collect();
    found.extend(check_windows(plan, catalog, &surveys, &packages));
    Ok(found)
}
