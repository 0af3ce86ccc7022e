//! What the rules found, for people in a preview and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::assess::rules::{Findings, Silenced, Unknown};

/// Silenced rules of a preview that are listed one by one.
const LISTED: usize = 12;

/// The lines below a preview: what is silenced and why, how much could not be checked.
pub fn preview(findings: &Findings) -> String {
    let mut text = String::new();
    for line in silenced(findings) {
        let _ = writeln!(text, "  - {line}");
    }
    let rules = findings.unknown.iter().map(|unknown| unknown.rule.code).collect::<std::collections::BTreeSet<_>>();
    if !rules.is_empty() {
        let _ = writeln!(
            text,
            "  - {} of {} rules are unknown: not checked, for their facts are not known ({} checks; `replant validate \
             --report` lists them)",
            rules.len(),
            findings.rules,
            findings.unchecked()
        );
    }
    text
}

/// A line per silenced rule and reason.
pub fn silenced(findings: &Findings) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Silenced>> = BTreeMap::new();
    for silenced in &findings.silenced {
        groups.entry((&silenced.violation.rule.spec.id, &silenced.reason)).or_default().push(silenced);
    }
    let line = |((id, reason), list): ((&str, &str), Vec<&Silenced>)| {
        let names: Vec<&str> = list.iter().take(LISTED).map(|one| one.violation.subject.name()).collect();
        let dots = if list.len() > names.len() { ", ..." } else { "" };
        format!("silenced: `{id}` for {} ({}{dots}): {reason}", list.len(), names.join(", "))
    };
    groups.into_iter().map(line).collect()
}

/// Where a rule is explained.
pub fn doc(id: &str) -> String {
    format!("docs/rules.md#{id}")
}

/// Everything that the rules found.
pub fn json(findings: &Findings) -> Value {
    let violation = |violation: &crate::assess::rules::Violation| {
        json!({
            "rule": violation.rule.spec.id,
            "doc": doc(&violation.rule.spec.id),
            "severity": violation.rule.spec.severity,
            "section": violation.rule.spec.section,
            "subject": violation.subject.to_string(),
            "message": violation.message,
            "help": violation.help,
        })
    };
    let unknown = |unknown: &Unknown| {
        json!({
            "rule": unknown.rule.spec.id,
            "fact": unknown.fact,
            "subjects": unknown.subjects.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    };
    let counts: Vec<Value> = findings
        .by_rule()
        .into_iter()
        .map(|(rule, list)| json!({ "rule": rule.spec.id, "severity": rule.spec.severity, "count": list.len() }))
        .collect();
    json!({
        "rules": findings.rules,
        "machines": findings.machines,
        "counts": counts,
        "violations": findings.violations.iter().map(violation).collect::<Vec<_>>(),
        "silenced": findings.silenced.iter().map(|silenced| {
            let mut value = violation(&silenced.violation);
            value["reason"] = json!(silenced.reason);
            value
        }).collect::<Vec<_>>(),
        "unknown": findings.unknown.iter().map(unknown).collect::<Vec<_>>(),
    })
}
