//! Schema and parser agree on every plan of the project.
//!
//! A bad plan says in its first line what the schema makes of it: `# schema: rejects`, `# schema: accepts - WHY` for
//! what no schema can express, or `# schema: unreadable - WHY` for what is not YAML.

use std::fs;

use camino::Utf8Path;
use replant::plan::{document_as_json, json_schema, load};
use serde_json::Value;

use super::files::{plans_in, rendered};

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&json_schema()).unwrap()
}

fn document(path: &Utf8Path) -> Value {
    document_as_json(path).unwrap_or_else(|found| panic!("{path}:\n{}", rendered(&found)))
}

#[test]
fn the_schema_is_a_schema() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
}

#[test]
fn good_plans_are_good_for_both() {
    let schema = validator();
    for path in plans_in("plans").into_iter().chain(plans_in("plans/fleet")) {
        let document = document(&path);
        let errors: Vec<String> =
            schema.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{path}: {errors:#?}");
    }
}

#[test]
fn bad_plans_are_as_bad_as_they_say() {
    let schema = validator();
    for path in plans_in("plans/invalid") {
        assert!(load(&path).is_err(), "{path} is accepted by the parser");
        let text = fs::read_to_string(&path).unwrap();
        let header = text.lines().next().unwrap_or_default();
        let verdict =
            header.strip_prefix("# schema: ").unwrap_or_else(|| panic!("{path} does not say `# schema: ...`"));
        match verdict.split_once(" - ") {
            None if verdict == "rejects" => {
                assert!(!schema.is_valid(&document(&path)), "{path}: the schema accepts it");
            }
            Some(("accepts", why)) if !why.is_empty() => {
                let document = document(&path);
                let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{path}: the schema rejects it: {errors:#?}");
            }
            Some(("unreadable", why)) if !why.is_empty() => {
                assert!(document_as_json(&path).is_err(), "{path} can be read");
            }
            _ => panic!("{path}: `{header}` is none of the three verdicts"),
        }
    }
}

#[test]
fn every_key_is_described() {
    let schema = json_schema();
    let mut objects = vec![("plan".to_owned(), &schema)];
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        objects.push((name.clone(), definition));
    }
    for (name, object) in objects {
        assert_eq!(object["additionalProperties"], false, "{name}");
        for (key, property) in object["properties"].as_object().unwrap() {
            let description = property["description"].as_str().unwrap_or_default();
            assert!(description.len() > 3, "{name}.{key} has no description");
        }
    }
}
