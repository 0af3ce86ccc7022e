//! The assessment as one page for browsers that stands alone: no program, no file beside it, drawings within.

mod curves;
mod hosts;
mod scale;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Report;
use crate::assess::rules::Findings;
use crate::assess::sizing::{Fleet, Formula};
use crate::diagnostic::{LineIndexes, Severity};
use crate::inventory::model::Document;
use crate::render::{Engine, RenderError, Values};

const TEMPLATE: &str = include_str!("../../../../templates/reports/assess.html.hbs");
const NAME: &str = "reports/assess.html";
/// Width of a bar.
const BAR: f64 = 240.0;
/// Machines with drawings and formulas; those with the largest memory and processor needs.
const DETAILED: usize = 40;
/// Machines in the table.
const LISTED: usize = 2000;

/// What the page shows beyond the report for people.
pub(super) struct Page<'a> {
    pub report: &'a Report<'a>,
    /// Each machine's inventory document, in plan order.
    pub documents: &'a [Option<Arc<Document>>],
    /// What the rules say.
    pub rules: &'a Findings,
    /// The fleet as the proposal has it.
    pub proposed: Option<&'a Fleet>,
}

/// The page.
pub(super) fn render(page: &Page<'_>) -> Result<String, RenderError> {
    let engine = Engine::new(&BTreeMap::from([(NAME.to_owned(), TEMPLATE.to_owned())]))?;
    engine.render(NAME, &page.report.plan.name, &Values::from(values(page)))
}

fn values(page: &Page<'_>) -> Value {
    let Page { report, documents, rules, proposed } = page;
    let fleet = report.fleet;
    let mut indexes = LineIndexes::default();
    let detailed = detailed(fleet);
    let curves: Vec<Value> = detailed
        .iter()
        .filter_map(|at| {
            let measured = &documents.get(*at)?.as_ref()?.facts.utilisation;
            let panels =
                curves::panels(measured, &report.plan.machines[*at].inventory.utilisation, &fleet.machines[*at]);
            (!panels.is_empty()).then(|| json!({ "name": fleet.machines[*at].name, "panels": panels }))
        })
        .collect();
    let measured = |document: &&Option<Arc<Document>>| {
        document.as_ref().is_some_and(|document| !document.facts.utilisation.series.is_empty())
    };
    let measured = documents.iter().filter(measured).count();
    let formulas: Vec<Value> =
        Formula::ALL.iter().map(|formula| json!({ "id": formula.id(), "text": formula.text() })).collect();
    let derived: Vec<Value> = detailed
        .iter()
        .map(|at| {
            let machine = &fleet.machines[*at];
            let rows: Vec<Value> =
                machine.derivations().into_iter().map(|one| tables::derivation(one, &mut indexes)).collect();
            json!({ "name": machine.name, "host": machine.host, "rows": rows })
        })
        .collect();
    let host_derivations: Vec<Value> = fleet
        .hosts
        .iter()
        .take(DETAILED)
        .map(|host| {
            let rows: Vec<Value> =
                host.after.derivations.iter().map(|one| tables::derivation(one, &mut indexes)).collect();
            json!({ "name": host.after.name, "rows": rows })
        })
        .collect();
    let (cards, more_hosts) = hosts::cards(fleet, *proposed);
    json!({
        "plan": report.plan.name,
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": verdict(page),
        "tiles": tiles(page),
        "findings": tables::findings(report.findings),
        "rules": tables::rules(rules),
        "placement": report.proposal.map(|proposal| tables::placement(report.plan, proposal)).into_iter().collect::<Vec<_>>(),
        "fleet": hosts::total(fleet, *proposed),
        "hosts": cards,
        "more_hosts": more(more_hosts, "host", "the fullest are drawn; `--format csv` with `--csv=hosts` has them all"),
        "curves": curves,
        "more_curves": more(measured - curves.len(), "measured machine", "those with the largest needs are drawn"),
        "machines": fleet.machines.iter().take(LISTED).map(tables::machine).collect::<Vec<_>>(),
        "more_machines": more(fleet.machines.len().saturating_sub(LISTED), "machine", "`--format csv` has them all"),
        "formulas": formulas,
        "derived": derived,
        "open": derived_is_short(detailed.len()),
        "host_derivations": host_derivations,
        "more_derived": more(fleet.machines.len() - detailed.len(), "machine", "`--explain MACHINE` shows any of them"),
    })
}

/// Few are unfolded at once.
fn derived_is_short(count: usize) -> bool {
    count <= 4
}

/// `and 3 more hosts: why`, or nothing.
fn more(count: usize, noun: &str, why: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("and one more {noun}: {why}"),
        count => format!("and {count} more {noun}s: {why}"),
    }
}

/// The machines that are shown in detail, in plan order.
fn detailed(fleet: &Fleet) -> Vec<usize> {
    let mut places: Vec<usize> = (0..fleet.machines.len()).collect();
    if places.len() > DETAILED {
        let need = |at: &usize| {
            let machine = &fleet.machines[*at];
            let reserved = machine.cpu_reserved.as_ref().map_or(0, |reserved| reserved.value.0);
            (reserved, machine.memory_cost.as_ref().map_or(0, |cost| cost.value.0))
        };
        places.sort_by_key(|at| std::cmp::Reverse(need(at)));
        places.truncate(DETAILED);
        places.sort_unstable();
    }
    places
}

/// Refused, to be read, or sound.
fn verdict(page: &Page<'_>) -> Value {
    let count = |severity| page.report.findings.count(severity) + page.rules.count(severity);
    let (errors, warnings) = (count(Severity::Error) + page.rules.broken.len(), count(Severity::Warning));
    let homeless =
        page.report.proposal.map_or(0, |proposal| proposal.placement.host_of.iter().filter(|h| h.is_none()).count());
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let (class, text) = match (errors, homeless, warnings) {
        (0, 0, 0) => ("good", "Sound: nothing speaks against this plan.".to_owned()),
        (0, 0, warnings) => ("warn", format!("Possible: {} to be read.", plural(warnings, "warning"))),
        (0, homeless, _) => ("bad", format!("Refused: {} without a place.", plural(homeless, "machine"))),
        (errors, 0, _) => ("bad", format!("Refused: {}.", plural(errors, "error"))),
        (errors, homeless, _) => {
            ("bad", format!("Refused: {}, {} without a place.", plural(errors, "error"), plural(homeless, "machine")))
        }
    };
    json!({ "class": class, "text": text })
}

fn tiles(page: &Page<'_>) -> Value {
    let fleet = page.report.fleet;
    let total = |pick: &dyn Fn(&crate::assess::sizing::MachineSizing) -> Option<u64>| {
        fleet.machines.iter().filter_map(pick).fold(0_u64, u64::saturating_add)
    };
    let memory = total(&|machine| Some(machine.memory_cost.as_ref()?.value.0));
    let reserved = total(&|machine| Some(machine.cpu_reserved.as_ref()?.value.0));
    let storage = total(&|machine| Some(machine.storage.as_ref()?.value.0));
    let mut tiles = vec![
        json!({ "value": fleet.machines.len().to_string(), "label": "machines" }),
        json!({ "value": fleet.hosts.len().to_string(), "label": "hosts" }),
        json!({ "value": crate::units::ByteCount(memory).to_string(), "label": "memory, overhead included" }),
        json!({ "value": crate::units::Frequency(reserved).to_string(), "label": "processor, reserved" }),
        json!({ "value": crate::units::ByteCount(storage).to_string(), "label": "storage, with headroom" }),
    ];
    if let Some(proposal) = page.report.proposal {
        let placed = &proposal.placement;
        tiles.push(json!({
            "value": format!("{} of {}", placed.hosts_used, proposal.hosts.len()),
            "label": format!("hosts used as proposed; {} at least", placed.at_least),
        }));
    }
    json!(tiles)
}
