//! Every rule, by the table of cases.

use std::collections::BTreeMap;

use replant::assess::rules::{Origin, Rule, RuleSet};
use replant::plan::PlanRules;
use replant::provider::Catalog;
use serde_yaml::Mapping;

use super::case::{CASES, assessed};

#[test]
fn the_base_plan_violates_nothing_and_leaves_nothing_unknown() {
    let found = assessed(&Mapping::new());
    assert!(found.all().is_empty(), "{:#?}", found.all());
    let unknown: Vec<_> = found
        .findings
        .unknown
        .iter()
        .filter(|unknown| unknown.subjects.iter().any(|subject| subject.name() != "n"))
        .map(|unknown| (&unknown.rule.spec.id, &unknown.fact))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    // Of the second machine little is known; that is said, not passed over.
    assert!(found.findings.unknown.iter().any(|unknown| unknown.fact == "machine.os.family"), "{unknown:?}");
}

#[test]
fn every_rule_is_tripped_by_its_case() {
    let cases: BTreeMap<String, Mapping> = serde_yaml::from_str(CASES).unwrap();
    let catalog = Catalog::embedded().unwrap();
    let common: Vec<&str> = catalog.common_rules().iter().map(|rule| rule.id.as_str()).collect();
    let mut wrong = Vec::new();
    for id in &common {
        if !cases.contains_key(*id) {
            wrong.push(format!("{id} has no case"));
        }
    }
    for (id, changes) in &cases {
        let found = assessed(changes);
        let tripped = found.findings.violations.iter().find(|violation| violation.rule.spec.id == *id);
        match tripped {
            None => {
                let open = found.findings.unknown.iter().find(|unknown| unknown.rule.spec.id == *id);
                wrong.push(format!("{id} is not tripped; unknown: {:?}", open.map(|unknown| &unknown.fact)));
            }
            Some(violation) => {
                let text = format!("{} {}", violation.message, violation.help);
                if text.contains("(unknown") || text.contains('{') && !text.contains(": {") {
                    wrong.push(format!("{id} says: {text}"));
                }
            }
        }
        for broken in &found.findings.broken {
            wrong.push(format!("{id}: {}", broken.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_shipped_rule_compiles_with_its_messages() {
    let catalog = Catalog::embedded().unwrap();
    let set = RuleSet::compile(&catalog, &PlanRules::default()).unwrap();
    assert!(set.rules.len() >= 80, "{} rules", set.rules.len());
    for rule in &set.rules {
        rule.compile_messages().unwrap_or_else(|(key, error)| panic!("{}: {key}: {error}", rule.spec.id));
    }
    let one = catalog.common_rules()[0].clone();
    assert!(Rule::compile(&one, Origin::Common).is_ok());
}
