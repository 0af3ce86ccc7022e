//! Does it fit: every rule asked of every machine and host, every reference and setting checked. All mistakes at
//! once, each where the plan says the value. Pure; it knows no provider by name.

mod hosts;
mod machines;
mod windows;

pub mod placement;
pub mod rules;
pub mod sizing;

pub use windows::check_windows;

use crate::diagnostic::Diagnostics;
use crate::inventory::{KnownPlan, ResolvedPlan};
use crate::plan::Plan;
use crate::provider::Catalog;
use rules::{Checked, Coverage, Findings, RuleSet};

/// Violations of one rule that are spelled out where people read them.
const SPELLED_OUT: usize = 5;

/// What was found.
#[derive(Debug, Default)]
pub struct Assessment {
    /// References and settings that are wrong.
    pub diagnostics: Diagnostics,
    /// What the rules say.
    pub findings: Findings,
}

impl Assessment {
    /// Everything; the plan is refused if there are errors among it.
    pub fn all(&self) -> Diagnostics {
        let mut all = self.diagnostics.clone();
        all.extend(self.findings.diagnostics(SPELLED_OUT));
        all.finish()
    }
}

/// Checks a plan with its facts.
pub fn assess(plan: &ResolvedPlan, catalog: &Catalog, coverage: &dyn Coverage) -> Assessment {
    check(&plan.plan, &Checked::resolved(plan), catalog, coverage)
}

/// Checks a plan whose disks were not looked at: what only they can tell stays unknown.
pub fn assess_unseen(known: &KnownPlan, catalog: &Catalog, coverage: &dyn Coverage) -> Assessment {
    check(&known.plan, &Checked::unseen(known), catalog, coverage)
}

fn check(plan: &Plan, checked: &Checked<'_>, catalog: &Catalog, coverage: &dyn Coverage) -> Assessment {
    let mut diagnostics = Diagnostics::new();
    let sides = hosts::check(plan, catalog, &mut diagnostics);
    machines::check(plan, &sides, &mut diagnostics);
    let findings = match RuleSet::compile(catalog, &plan.rules) {
        Ok(set) => rules::check(checked, catalog, &set, coverage),
        Err(found) => {
            diagnostics.extend(found);
            Findings::default()
        }
    };
    Assessment { diagnostics, findings }
}
