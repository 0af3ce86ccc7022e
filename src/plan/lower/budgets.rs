//! `budgets:` and who keeps to them.

use std::collections::BTreeMap;

use super::access::At;
use crate::diagnostic::{Diagnostic, Diagnostics, closest};
use crate::image::RateSchedule;
use crate::plan::Budget;
use crate::plan::document::shortened;

/// The budgets of all files, by name.
pub(super) fn lower(roots: &[At<'_>], found: &mut Diagnostics) -> BTreeMap<String, Budget> {
    let mut budgets = BTreeMap::new();
    for (name, place, budget) in roots.iter().filter_map(|root| root.get("budgets")).flat_map(At::entries) {
        if budgets.contains_key(name) {
            let message = format!("two budgets are named `{}`", shortened(name));
            found.push(Diagnostic::error("plan.duplicate-name", message).at(place, "this name is taken"));
            continue;
        }
        if let Some(rate) = schedule(budget, found) {
            budgets.insert(name.to_owned(), Budget { name: name.to_owned(), rate });
        }
    }
    budgets
}

/// A budget in the form that `replant image capture --budget` reads.
fn schedule(budget: At<'_>, found: &mut Diagnostics) -> Option<String> {
    let bytes = |key: &str| budget.get(key).and_then(At::rate).map(|rate| format!("{}Bps", rate.0));
    let mut text = bytes("rate")?;
    let words = |key: &str| budget.get(key).and_then(|at| at.text());
    match words("hours") {
        Some(hours) => {
            text.push_str(&format!(" {hours} else {}", bytes("otherwise").as_deref().unwrap_or("unlimited")));
            if let Some(zone) = words("timezone") {
                text.push_str(&format!(" in {zone}"));
            }
        }
        None => {
            for key in ["otherwise", "timezone"] {
                if let Some(at) = budget.get(key) {
                    found.push(
                        Diagnostic::warning("plan.unused", format!("`{key}` has no effect"))
                            .at(at.span(), "without `hours` the rate always holds")
                            .help("add `hours: \"08:00-18:00\"`, or take it out"),
                    );
                }
            }
        }
    }
    match RateSchedule::parse(&text) {
        Ok(_) => Some(text),
        // Every other part was checked by its form.
        Err(_) => {
            let at = budget.get("timezone").unwrap_or(budget);
            let zone = shortened(at.text().unwrap_or_default());
            found.push(
                Diagnostic::error("plan.value", format!("there is no time zone `{zone}`"))
                    .at(at.headline(), "")
                    .help("names are those of the IANA database, such as `Europe/Berlin` or `UTC`"),
            );
            None
        }
    }
}

/// The budget that is named at `at`.
pub(super) fn named(
    at: Option<At<'_>>,
    budgets: &BTreeMap<String, Budget>,
    complete: bool,
    found: &mut Diagnostics,
) -> Option<Budget> {
    let at = at?;
    let name = at.text()?;
    if !budgets.contains_key(name) && complete {
        let near = closest(name, budgets.keys().map(String::as_str));
        let label = near.map_or_else(|| "no budget of that name".to_owned(), |near| format!("did you mean `{near}`?"));
        found.push(
            Diagnostic::error("plan.value", format!("the budget `{}` is not declared", shortened(name)))
                .at(at.span(), label)
                .help("declare it: `budgets: { NAME: { rate: 100MBps, hours: \"08:00-18:00\" } }`"),
        );
    }
    budgets.get(name).cloned()
}
