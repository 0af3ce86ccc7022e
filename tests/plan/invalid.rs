//! Every plan of `plans/invalid` with the exact message beside it.
//!
//! To update the messages after a change: `REPLANT_UPDATE_EXPECTED=1 cargo test --test integration plan::invalid`,
//! then read the difference as a person who has that mistake in a plan.

use std::collections::BTreeSet;
use std::fs;

use replant::plan::load;

use super::files::{plans_in, rendered};

#[test]
fn every_mistake_has_its_message() {
    let update = std::env::var_os("REPLANT_UPDATE_EXPECTED").is_some();
    let mut wrong = String::new();
    for path in plans_in("plans/invalid") {
        let found = match load(&path) {
            Ok(_) => {
                wrong.push_str(&format!("{path} is accepted\n"));
                continue;
            }
            Err(found) => found,
        };
        let message = format!("{}the plan is refused: {}\n", rendered(&found), found.summary().unwrap());
        let beside = path.with_extension("expected");
        if update {
            fs::write(&beside, &message).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if expected != message {
            wrong.push_str(&format!("{beside} holds\n{expected}\nbut the message is\n{message}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nREPLANT_UPDATE_EXPECTED=1 writes the new messages");
}

#[test]
fn no_message_is_left_without_its_plan() {
    for entry in fs::read_dir("plans/invalid").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "expected") {
            assert!(path.with_extension("yaml").exists(), "{} belongs to no plan", path.display());
        }
    }
}

#[test]
fn every_diagnostic_has_a_place_and_an_error_among_them() {
    for path in plans_in("plans/invalid") {
        let found = load(&path).unwrap_err();
        assert!(found.has_errors(), "{path}");
        for diagnostic in &found {
            let label = diagnostic.labels.first().unwrap_or_else(|| panic!("{path}: {}", diagnostic.message));
            assert!(label.span.start <= label.span.end && label.span.end <= label.span.source.text.len(), "{path}");
        }
    }
}

#[test]
fn all_classes_of_mistakes_are_covered() {
    let codes: BTreeSet<&str> = plans_in("plans/invalid")
        .iter()
        .flat_map(|path| load(path).unwrap_err().iter().map(|one| one.code).collect::<Vec<_>>())
        .collect();
    for code in [
        "plan.after-cycle",
        "plan.duplicate-key",
        "plan.duplicate-mac",
        "plan.duplicate-name",
        "plan.duplicate-vm",
        "plan.include-cycle",
        "plan.missing-key",
        "plan.no-machines",
        "plan.range",
        "plan.shared-disk",
        "plan.syntax",
        "plan.too-large",
        "plan.two-waves",
        "plan.type",
        "plan.unknown-host",
        "plan.unknown-key",
        "plan.unknown-machine",
        "plan.unreadable",
        "plan.value",
        "plan.wave-empty",
    ] {
        assert!(codes.contains(code), "no plan of plans/invalid shows {code}");
    }
}
