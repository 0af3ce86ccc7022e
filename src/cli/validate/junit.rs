//! JUnit's XML, which CI servers read: a suite per plan, a test case per rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Validated;
use crate::assess::rules::{Unknown, Violation};
use crate::diagnostic::Severity;

/// Errors fail their test case; what could not be checked is skipped; warnings, advice and what is silenced are output.
pub(super) fn document(all: &[Validated]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"replant validate\">\n");
    for one in all {
        suite(one, &mut text);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(one: &Validated, text: &mut String) {
    let mut cases: Vec<String> = Vec::new();
    let (mut failures, mut skipped) = (0, 0);
    let own: Vec<_> = one.found.iter().filter(|found| !found.code.starts_with("rule.")).collect();
    let mut body = String::new();
    for found in own.iter().filter(|found| found.severity == Severity::Error) {
        let _ = writeln!(body, "{}: {}", found.code, found.message);
    }
    cases.push(match body.is_empty() {
        true => "    <testcase classname=\"plan\" name=\"reads\"/>\n".to_owned(),
        false => {
            failures += 1;
            case("plan", "reads", &element("failure", "the plan is refused", &body))
        }
    });
    let mut violated: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    let mut accepted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, Vec<&Unknown>> = BTreeMap::new();
    one.findings.violations.iter().for_each(|v| violated.entry(v.rule.code).or_default().push(v));
    for silenced in &one.findings.silenced {
        let violation = &silenced.violation;
        let line = format!("silenced for {}: {} ({})", violation.subject, violation.message, silenced.reason);
        accepted.entry(violation.rule.code).or_default().push(line);
    }
    one.findings.unknown.iter().for_each(|u| unknown.entry(u.rule.code).or_default().push(u));
    for rule in one.set.iter().flat_map(|set| &set.rules) {
        let section = format!("rules.{}", rule.spec.section.title());
        let list = violated.get(rule.code).map_or(&[][..], Vec::as_slice);
        let mut lines: Vec<String> =
            list.iter().map(|v| format!("{}: {}\n  help: {}", v.subject, v.message, v.help)).collect();
        lines.extend(accepted.remove(rule.code).unwrap_or_default());
        let open = unknown.get(rule.code).map_or(&[][..], Vec::as_slice);
        let open: Vec<String> = open.iter().map(|u| format!("`{}` of {}", u.fact, u.subjects.len())).collect();
        let inner = if !list.is_empty() && rule.spec.severity == Severity::Error {
            failures += 1;
            element("failure", &format!("{} violations", list.len()), &lines.join("\n"))
        } else if !open.is_empty() {
            skipped += 1;
            element("skipped", &format!("unknown: not checked: {}", open.join(", ")), "")
        } else if !lines.is_empty() {
            format!("      <system-out>{}</system-out>\n", escape(&lines.join("\n")))
        } else {
            String::new()
        };
        cases.push(case(&section, &rule.spec.id, &inner));
    }
    let _ = writeln!(
        text,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\">",
        escape(one.path.as_str()),
        cases.len()
    );
    cases.iter().for_each(|case| text.push_str(case));
    text.push_str("  </testsuite>\n");
}

fn case(class: &str, name: &str, inner: &str) -> String {
    let (class, name) = (escape(class), escape(name));
    match inner.is_empty() {
        true => format!("    <testcase classname=\"{class}\" name=\"{name}\"/>\n"),
        false => format!("    <testcase classname=\"{class}\" name=\"{name}\">\n{inner}    </testcase>\n"),
    }
}

fn element(name: &str, message: &str, body: &str) -> String {
    format!("      <{name} message=\"{}\">{}</{name}>\n", escape(message), escape(body))
}

/// For text and attributes; characters that XML cannot hold are shown as `?`.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'.. => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}
