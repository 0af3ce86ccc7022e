//! Does it fit: every machine against its provider's limits, every host against the sum of its VMs. All mistakes at
//! once, each where the plan says the value. Pure; it knows no provider by name.

mod hosts;
mod machines;
mod windows;

pub mod placement;
pub mod sizing;

pub use windows::check_windows;

use crate::diagnostic::Diagnostics;
use crate::inventory::ResolvedPlan;
use crate::provider::Catalog;

/// Checks the plan; the plan is refused if there are errors among what is returned.
pub fn assess(plan: &ResolvedPlan, catalog: &Catalog) -> Diagnostics {
    let mut found = Diagnostics::new();
    let sides = hosts::check(plan, catalog, &mut found);
    machines::check(plan, &sides, &mut found);
    found
}
