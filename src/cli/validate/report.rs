//! The report, machine by machine and section by section: what was found, what the rules say of it, the verdict.

mod sections;

use std::fmt::Write as _;

use sections::Reported;

use super::Validated;
use crate::address::glob_matches;
use crate::assess::rules::{Findings, Subject, known_facts};
use crate::diagnostic::Severity;
use crate::provider::Section;

/// The report of one plan.
pub(super) fn text(one: &Validated, only: Option<&str>) -> String {
    let mut text = format!("Validation of {}\n", one.path);
    let Some(plan) = &one.plan else {
        for found in &one.found {
            let _ = writeln!(text, "  {}: {}", word(found.severity), found.message);
        }
        let _ = writeln!(text, "\nverdict: NOT READY: the plan cannot be read");
        return text;
    };
    let chosen = |name: &str| only.is_none_or(|glob| glob_matches(glob, name));
    for (at, machine) in plan.machines.iter().enumerate() {
        if chosen(&machine.name.value.0) {
            let document = one.documents.get(at).and_then(Option::as_deref);
            let subject = Reported {
                plan,
                machine,
                seen: one.seen.as_ref().map(|plan| &plan.machines[at]),
                document,
                facts: known_facts(machine, document),
                drivers: one.drivers.as_ref(),
            };
            self::machine(&subject, &one.findings, &mut text);
        }
    }
    for name in plan.hosts.keys().filter(|name| chosen(&name.0)) {
        let subject = Subject::Host(name.0.clone());
        let lines: Vec<String> = Section::ALL.iter().flat_map(|s| rules(&one.findings, &subject, *s)).collect();
        let _ = writeln!(text, "\nHost {name}\n{}", "=".repeat(name.0.len() + 5));
        lines.iter().for_each(|line| text.push_str(line));
        if lines.is_empty() {
            text.push_str("  nothing to remark\n");
        }
    }
    let others: Vec<_> = one.found.iter().filter(|found| !found.code.starts_with("rule.")).collect();
    if !others.is_empty() {
        text.push_str("\nPlan\n====\n");
        for found in others {
            let _ = writeln!(text, "  {}: {}", word(found.severity), found.message);
        }
    }
    for line in crate::cli::rules::silenced(&one.findings) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\n{}", verdict(one));
    text
}

/// The last line.
fn verdict(one: &Validated) -> String {
    let errors = one.findings.count(Severity::Error)
        + one.found.iter().filter(|f| f.severity == Severity::Error && !f.code.starts_with("rule.")).count();
    let warnings = one.findings.count(Severity::Warning);
    let (silenced, open) = (one.findings.silenced.len(), one.findings.unchecked());
    let counts = format!("{errors} errors, {warnings} warnings, {silenced} silenced, {open} unknown: not checked");
    match (errors, open) {
        (0, 0) => format!("verdict: READY ({counts})"),
        (0, _) => format!("verdict: READY AS FAR AS IS KNOWN ({counts})"),
        _ => format!("verdict: NOT READY ({counts})"),
    }
}

fn machine(reported: &Reported<'_>, findings: &Findings, text: &mut String) {
    let name = &reported.machine.name.value;
    let _ = writeln!(text, "\nMachine {name}\n{}", "=".repeat(name.0.len() + 8));
    let subject = Subject::Machine(name.0.clone());
    for section in Section::ALL {
        let mut lines = reported.lines(section);
        if lines.is_empty() {
            lines.push("  unknown: nothing is declared or seen\n".to_owned());
        }
        let _ = writeln!(text, "{}", section.title());
        lines.iter().for_each(|line| text.push_str(line));
        rules(findings, &subject, section).iter().for_each(|line| text.push_str(line));
    }
}

/// What the rules of a section say of somebody.
fn rules(findings: &Findings, subject: &Subject, section: Section) -> Vec<String> {
    let mut lines = Vec::new();
    for violation in &findings.violations {
        if violation.subject == *subject && violation.rule.spec.section == section {
            let spec = &violation.rule.spec;
            lines.push(format!("  {} [{}] {}\n", mark(spec.severity), spec.id, violation.message));
            lines.push(format!("      help: {}\n", violation.help));
        }
    }
    for silenced in &findings.silenced {
        let violation = &silenced.violation;
        if violation.subject == *subject && violation.rule.spec.section == section {
            let id = &violation.rule.spec.id;
            lines.push(format!("  s [{id}] {} (silenced: {})\n", violation.message, silenced.reason));
        }
    }
    for unknown in &findings.unknown {
        if unknown.rule.spec.section == section && unknown.subjects.contains(subject) {
            lines.push(format!("  ? [{}] unknown: not checked ({})\n", unknown.rule.spec.id, unknown.fact));
        }
    }
    lines
}

fn mark(severity: Severity) -> char {
    match severity {
        Severity::Error => 'x',
        Severity::Warning => '!',
        Severity::Advice => '-',
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}
