//! SARIF 2.1.0, which code review tools read.

use serde_json::{Value, json};

use super::Validated;
use crate::diagnostic::{DiagnosticRecord, LineIndexes, Severity};

/// One run with every diagnostic; what could not be checked is `open`, what is silenced is suppressed.
pub(super) fn document(all: &[Validated]) -> Value {
    let mut indexes = LineIndexes::default();
    let mut rules: Vec<Value> = Vec::new();
    let mut results: Vec<Value> = Vec::new();
    for one in all {
        for rule in one.set.iter().flat_map(|set| &set.rules) {
            if rules.iter().all(|known| known["id"] != rule.code) {
                rules.push(json!({
                    "id": rule.code,
                    "shortDescription": { "text": rule.spec.message },
                    "help": { "text": rule.spec.help },
                    "defaultConfiguration": { "level": level(rule.spec.severity) },
                    "properties": { "section": rule.spec.section, "doc": crate::cli::rules::doc(&rule.spec.id) },
                }));
            }
        }
        // The rules' own are listed one by one, not folded as for people.
        for diagnostic in one.found.iter().filter(|one| !one.code.starts_with("rule.")) {
            results.push(result(&DiagnosticRecord::new(diagnostic, &mut indexes), None));
        }
        for violation in &one.findings.violations {
            results.push(result(&DiagnosticRecord::new(&violation.diagnostic(), &mut indexes), None));
        }
        for silenced in &one.findings.silenced {
            let diagnostic = silenced.violation.diagnostic();
            results.push(result(&DiagnosticRecord::new(&diagnostic, &mut indexes), Some(&silenced.reason)));
        }
        for unknown in &one.findings.unknown {
            let names: Vec<String> = unknown.subjects.iter().take(20).map(ToString::to_string).collect();
            let count = unknown.subjects.len();
            let text =
                format!("unknown: not checked: `{}` is not known of {count}: {}", unknown.fact, names.join(", "));
            results.push(json!({
                "ruleId": unknown.rule.code, "kind": "open", "level": "none", "message": { "text": text },
                "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri(one.path.as_str()) } } }],
            }));
        }
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "replant", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "note",
    }
}

fn result(record: &DiagnosticRecord<'_>, silenced: Option<&str>) -> Value {
    let text = match record.help {
        Some(help) => format!("{}\nhelp: {help}", record.message),
        None => record.message.to_owned(),
    };
    let mut value = json!({
        "ruleId": record.code, "kind": "fail", "level": level(record.severity), "message": { "text": text },
    });
    if let Some(place) = &record.place {
        value["locations"] = json!([{ "physicalLocation": {
            "artifactLocation": { "uri": uri(place.file) },
            "region": {
                "startLine": place.line, "startColumn": place.column,
                "endLine": place.end_line, "endColumn": place.end_column,
            },
        } }]);
    }
    if let Some(reason) = silenced {
        value["suppressions"] = json!([{ "kind": "inSource", "status": "accepted", "justification": reason }]);
    }
    value
}

/// A path as a relative reference, or a `file:` one.
fn uri(path: &str) -> String {
    let mut text = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
