//! Findings, rules, placement and formulas as rows.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::assess::placement::Proposal;
use crate::assess::rules::Findings;
use crate::assess::sizing::{Derivation, MachineSizing};
use crate::cli::assess::text;
use crate::diagnostic::{Diagnostics, LineIndexes, Severity};
use crate::plan::Plan;

/// Findings and moves that are spelled out.
const LISTED: usize = 200;
/// Subjects of a rule that are named.
const NAMED: usize = 8;

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

/// What sizing found, the worst first.
pub(super) fn findings(found: &Diagnostics) -> Value {
    let mut indexes = LineIndexes::default();
    let mut all: Vec<_> = found.iter().collect();
    all.sort_by_key(|one| one.severity);
    let rows: Vec<Value> = all
        .iter()
        .take(LISTED)
        .map(|one| {
            let place = one.labels.first().map(|label| text::place(&label.span, &mut indexes)).unwrap_or_default();
            json!({
                "severity": word(one.severity), "code": one.code, "message": one.message, "place": place,
                "help": one.help.clone().unwrap_or_default(),
            })
        })
        .collect();
    let rest = all.len() - rows.len();
    json!({ "rows": rows, "more": super::more(rest, "finding", "`--format json` has them all") })
}

/// What the rules say, rule by rule, with counts.
pub(super) fn rules(findings: &Findings) -> Value {
    let rows: Vec<Value> = findings
        .by_rule()
        .into_iter()
        .map(|(rule, list)| {
            let names: Vec<&str> = list.iter().take(NAMED).map(|violation| violation.subject.name()).collect();
            let dots = if list.len() > names.len() { ", …" } else { "" };
            json!({
                "severity": word(rule.spec.severity), "id": rule.spec.id, "count": list.len().to_string(),
                "message": list[0].message, "help": list[0].help, "subjects": format!("{}{dots}", names.join(", ")),
            })
        })
        .collect();
    let mut unknown: BTreeMap<&str, (Vec<&str>, usize)> = BTreeMap::new();
    for one in &findings.unknown {
        let entry = unknown.entry(&one.rule.spec.id).or_default();
        entry.0.push(&one.fact);
        entry.1 += one.subjects.len();
    }
    let unknown_rules = unknown.len();
    let unknown: Vec<Value> = unknown
        .into_iter()
        .map(|(id, (mut facts, count))| {
            facts.sort_unstable();
            facts.dedup();
            json!({ "id": id, "facts": facts.join(", "), "count": count.to_string() })
        })
        .collect();
    json!({
        "summary": format!(
            "{} rules asked of {} machines: {} errors, {} warnings, {} pieces of advice, {} silenced; {unknown_rules} rules \
             had a fact unknown somewhere and were not checked there.",
            findings.rules,
            findings.machines,
            findings.count(Severity::Error),
            findings.count(Severity::Warning),
            findings.count(Severity::Advice),
            findings.silenced.len(),
        ),
        "rows": rows,
        "silenced": crate::cli::rules::silenced(findings),
        "unknown": unknown,
        "broken": findings.broken.iter().map(|one| one.message.clone()).collect::<Vec<_>>(),
    })
}

/// The proposal: what moves, wave by wave, and what found no place.
pub(super) fn placement(plan: &Plan, proposal: &Proposal) -> Value {
    let placed = &proposal.placement;
    let moves: Vec<Value> = plan
        .machines
        .iter()
        .zip(&placed.host_of)
        .filter_map(|(machine, host)| {
            let (now, next) = (&machine.target.host.value, &proposal.hosts[(*host)?].name);
            (now != next).then(|| json!({ "machine": machine.name.value, "now": now, "proposed": next }))
        })
        .collect();
    let missing: Vec<Value> = placed
        .no_place
        .iter()
        .take(LISTED)
        .map(|missing| {
            let (names, why, reasons) = text::no_place_lines(proposal, missing);
            json!({ "machines": names, "why": why, "reasons": reasons })
        })
        .collect();
    let waves: Vec<Value> = text::waves(plan, proposal)
        .into_iter()
        .map(|(name, wave)| {
            json!({
                "name": name, "machines": wave.machines.to_string(), "placed": wave.placed.to_string(),
                "hosts": wave.hosts_used.to_string(),
            })
        })
        .collect();
    let count = moves.len();
    json!({
        "summary": text::placement_summary(proposal),
        "waves": waves,
        "moves": moves.into_iter().take(LISTED).collect::<Vec<_>>(),
        "more_moves": super::more(count.saturating_sub(LISTED), "move", "`--format csv` has them all"),
        "missing": missing,
        "more_missing": super::more(placed.no_place.len().saturating_sub(LISTED), "group", "`--format json` has them all"),
    })
}

/// A machine's row.
pub(super) fn machine(machine: &MachineSizing) -> Value {
    json!({
        "name": machine.name,
        "host": machine.host,
        "memory": text::or_unknown(machine.memory.as_ref().map(|memory| memory.value)),
        "cost": text::or_unknown(machine.memory_cost.as_ref().map(|cost| cost.value)),
        "demand": text::or_unknown(machine.cpu_demand.as_ref().map(|demand| demand.value)),
        "reserved": text::or_unknown(machine.cpu.as_ref().map(|cpu| cpu.reserved.value)),
        "network": text::or_unknown(machine.network.as_ref().map(|load| super::scale::bits(load.value.0))),
        "storage": text::or_unknown(machine.storage.as_ref().map(|need| need.value)),
        "advice": machine.advice.iter().map(|advice| advice.text()).collect::<Vec<_>>().join("; "),
    })
}

/// A result with what went into it.
pub(super) fn derivation(derivation: &Derivation, indexes: &mut LineIndexes) -> Value {
    let inputs: Vec<Value> = derivation
        .inputs
        .iter()
        .map(|input| {
            json!({
                "name": input.name, "amount": input.amount.to_string(), "source": text::origin(&input.origin, indexes),
            })
        })
        .collect();
    let rounded = derivation.before_rounding.filter(|before| *before != derivation.value);
    json!({
        "id": derivation.formula.id(), "value": derivation.value.to_string(), "inputs": inputs,
        "rounded": rounded.map(|before| format!(", rounded from {before}")).unwrap_or_default(),
    })
}
