//! Whatever the bytes: no panic, an answer soon, and every answer has its place.

use proptest::prelude::*;
use replant::diagnostic::{DiagnosticRecord, Diagnostics, LineIndexes};

use super::files::{Scratch, plan_of, rendered};

/// Loads bytes as a plan; every diagnostic must be drawable, recordable and in place.
fn survives(bytes: &[u8]) -> Option<Diagnostics> {
    let scratch = Scratch::new("");
    scratch.file("plan.yaml", bytes);
    let found = match scratch.load() {
        Ok((_, found)) => found,
        Err(found) => {
            assert!(found.has_errors());
            found
        }
    };
    let mut indexes = LineIndexes::default();
    for diagnostic in &found {
        let label = diagnostic.labels.first().unwrap_or_else(|| panic!("no place: {}", diagnostic.message));
        assert!(!label.span.source.path.is_empty());
        let record = serde_json::to_value(DiagnosticRecord::new(diagnostic, &mut indexes)).unwrap();
        assert!(record["line"].as_u64().is_some_and(|line| line >= 1), "{record}");
        assert!(record["file"].is_string() && record["column"].is_u64(), "{record}");
    }
    let drawn = rendered(&found);
    assert!(!drawn.contains('\u{1b}'), "a plan must not steer the terminal");
    Some(found)
}

/// A plan that uses most of the language.
const SEED: &str = include_str!("../../plans/two-tier-waves.yaml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        survives(&bytes);
    }

    #[test]
    fn random_yaml_letters(text in "[-:{}\\[\\],&*a<!|>'\"#%@ \n\t]{0,200}") {
        survives(text.as_bytes());
    }

    #[test]
    fn cut_and_spliced_plans(cut in 0..SEED.len(), length in 0..80usize, to in 0..SEED.len(), insert in "[-:{}&*<!'\"\\x00ü \n]{0,5}") {
        let mut bytes = SEED.as_bytes().to_vec();
        let piece: Vec<u8> = bytes.drain(cut..(cut + length).min(SEED.len())).collect();
        let to = to.min(bytes.len());
        bytes.splice(to..to, piece.into_iter().chain(insert.bytes()));
        survives(&bytes);
    }

    #[test]
    fn any_text_is_a_description_or_is_refused_with_its_place(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap();
        let plan = plan_of(&[&format!("{{ name: a, source: {{ disks: [{{ path: a.raw }}] }}, workload: {{ description: {quoted} }} }}")]);
        survives(plan.as_bytes());
    }
}

fn refused_with(text: &str, code: &str) {
    let found = survives(text.as_bytes()).unwrap();
    assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), [code], "{}", rendered(&found));
}

#[test]
fn bombs_are_refused() {
    let mut lists = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    let mut maps = String::from("a0: &a0 { k: x }\n");
    let mut merges = String::from("a0: &a0 { k: x }\n");
    for n in 1..40 {
        let before = n - 1;
        lists += &format!("a{n}: &a{n} [{}]\n", vec![format!("*a{before}"); 10].join(", "));
        maps += &format!("a{n}: &a{n} {{ x: *a{before}, y: *a{before} }}\n");
        merges += &format!("a{n}: &a{n} {{ <<: [*a{before}, *a{before}], k{n}: {{ <<: *a{before} }} }}\n");
    }
    for bomb in [lists, maps, merges] {
        refused_with(&bomb, "plan.too-large");
    }
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(10_000), "*a, ".repeat(10_000));
    refused_with(&wide, "plan.too-large");
}

#[test]
fn deep_nesting_is_refused() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), format!("a: {}1{}", "[".repeat(60), "]".repeat(60))] {
        refused_with(&text, "plan.too-large");
    }
    let stairs: String = (0..500).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refused_with(&stairs, "plan.too-large");
}

#[test]
fn what_is_no_file_is_refused_with_a_way_out() {
    for path in ["/nonexistent/plan.yaml", "/", "/dev/zero"] {
        let found = replant::plan::load(path.into()).unwrap_err();
        assert_eq!(found.iter().map(|one| one.code).collect::<Vec<_>>(), ["plan.unreadable"]);
        let one = found.iter().next().unwrap();
        assert!(one.message.contains(path) && one.help.is_some(), "{one:?}");
    }
}
