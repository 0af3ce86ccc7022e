//! docs/rules.md is made from the rules and their cases.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use replant::assess::rules::{FUNCTIONS, Origin, RuleSet};
use replant::plan::PlanRules;
use replant::provider::{Catalog, Section};
use serde_yaml::{Mapping, Value};

use super::case::CASES;

const INTRODUCTION: &str = include_str!("introduction.md");

/// The page as it should be.
fn page() -> String {
    let catalog = Catalog::embedded().unwrap();
    let set = RuleSet::compile(&catalog, &PlanRules::default()).unwrap();
    let cases: BTreeMap<String, Mapping> = serde_yaml::from_str(CASES).unwrap();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## Functions\n\n| call | gives |\n|---|---|\n");
    for (call, what) in FUNCTIONS {
        let _ = writeln!(page, "| `{call}` | {what} |");
    }
    let _ = writeln!(page, "\n## The {} rules\n", set.rules.len());
    page.push_str(
        "The example is what makes an otherwise sound plan violate the rule: `m` is a machine, `h` its host.\n",
    );
    for section in Section::ALL {
        let rules: Vec<_> = set.rules.iter().filter(|rule| rule.spec.section == section).collect();
        if rules.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n### {}\n", section.title());
        page.push_str(
            "| rule | severity | violated where | says | the way out | example |\n|---|---|---|---|---|---|\n",
        );
        for rule in rules {
            let spec = &rule.spec;
            let own = match &rule.origin {
                Origin::Provider(name) => format!(" ({name})"),
                Origin::Common | Origin::Plan => String::new(),
            };
            let each = spec.each.as_ref().map(|each| format!("for each `item` of `{each}`: ")).unwrap_or_default();
            let when = spec.when.as_ref().map(|when| format!(", when `{when}`")).unwrap_or_default();
            let example = cases.get(&spec.id).map(example).unwrap_or_default();
            let cells = [
                format!("<a id=\"{0}\"></a>`{0}`{own}", spec.id),
                format!("{:?}", spec.severity).to_lowercase(),
                format!("{each}`{}`{when}", spec.violated),
                spec.message.clone(),
                spec.help.clone(),
                example,
            ];
            let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
            let _ = writeln!(page, "| {} |", cells.join(" | "));
        }
    }
    page
}

fn example(changes: &Mapping) -> String {
    let one = |(path, value): (&Value, &Value)| {
        let value = serde_json::to_string(value).unwrap();
        format!("`{}: {value}`", path.as_str().unwrap())
    };
    changes.iter().map(one).collect::<Vec<_>>().join("<br>")
}

#[test]
fn the_page_of_rules_is_what_the_rules_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
    let wanted = page();
    if std::env::var_os("REPLANT_UPDATE_DOCS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let is = std::fs::read_to_string(path).unwrap_or_default();
    assert!(is == wanted, "docs/rules.md is not what the rules say: run this test with REPLANT_UPDATE_DOCS=1");
}
