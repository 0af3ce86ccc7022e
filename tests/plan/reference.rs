//! `docs/plan-files.md` names every key of the language, every word of a choice and every code of a diagnostic.

use std::collections::BTreeSet;
use std::fs;

use replant::plan::json_schema;
use serde_json::Value;

const PAGE: &str = "docs/plan-files.md";

/// Keys and words of the schema.
fn words(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            if let Some(Value::Array(choice)) = map.get("enum") {
                found.extend(choice.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            map.values().for_each(|value| words(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| words(value, found)),
        _ => {}
    }
}

#[test]
fn the_page_names_every_key_and_word() {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut found = BTreeSet::new();
    words(&json_schema(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    let missing: Vec<&String> = found.iter().filter(|word| !page.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "{PAGE} does not name {missing:?}");
}

#[test]
fn the_page_names_every_code() {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut codes = BTreeSet::new();
    for folder in ["src/plan", "src/inventory"] {
        for entry in walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap()) {
            let text = if entry.file_type().is_file() { fs::read_to_string(entry.path()).unwrap() } else { continue };
            for piece in text.split('"').skip(1).step_by(2) {
                let shape =
                    piece.strip_prefix("plan.").or(piece.strip_prefix("source.")).or(piece.strip_prefix("inventory."));
                if shape
                    .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
                {
                    codes.insert(piece.to_owned());
                }
            }
        }
    }
    assert!(codes.len() > 20, "{codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{PAGE} does not name {missing:?}");
}
