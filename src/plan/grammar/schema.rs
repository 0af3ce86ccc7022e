//! The table as a JSON Schema (2020-12), for editors and for other tools.

use serde_json::{Map, Value, json};

use super::shape::{Amount, Object, Shape};
use super::table::PLAN;

/// Where the schema says it lives; `replant init` puts a copy beside the plan.
const ID: &str = "https://replant.invalid/schema/plan-1.json";

/// The schema of plan files.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let root = object(&PLAN, false, &mut definitions);
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".into(), json!(ID));
    schema.insert("title".into(), json!("replant plan file"));
    if let Value::Object(root) = root {
        schema.extend(root);
    }
    definitions.sort_keys();
    schema.insert("$defs".into(), Value::Object(definitions));
    Value::Object(schema)
}

fn object(object: &'static Object, exactly_one: bool, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in object.keys {
        let mut property = shape(&key.shape, definitions);
        if let Value::Object(property) = &mut property {
            let words = match &key.shape {
                Shape::Choice(words) => {
                    words.iter().map(|word| format!("\n- `{}`: {}", word.text, word.doc)).collect::<String>()
                }
                _ => String::new(),
            };
            property.insert("description".into(), json!(format!("{}{words}", key.doc)));
        }
        properties.insert(key.name.into(), property);
    }
    let required: Vec<&str> = object.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": object.doc,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if exactly_one {
        schema["minProperties"] = json!(1);
        schema["maxProperties"] = json!(1);
    }
    schema
}

fn shape(shape: &'static Shape, definitions: &mut Map<String, Value>) -> Value {
    match shape {
        Shape::Text(rule) => json!({ "type": "string", "pattern": rule.pattern }),
        Shape::Whole(least, most) if least == most => json!({ "const": least }),
        Shape::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Choice(words) => json!({ "enum": words.iter().map(|word| word.text).collect::<Vec<_>>() }),
        Shape::Amount(Amount::Size(least, most)) => json!({ "anyOf": [
            {
                "type": "string",
                "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*(B|[kKMGT]B|[KMGT]iB)?\s*$",
                "examples": ["512MiB", "4GiB"],
            },
            { "type": "integer", "minimum": least, "maximum": most },
        ] }),
        Shape::Amount(Amount::Duration(..)) => json!({
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*(ms|s|m|min|h|d)\s*$",
            "examples": ["90s", "15m", "2h"],
        }),
        Shape::Amount(Amount::Rate(..)) => json!({
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*([kKMG]|[KMG]i)?\s*[bB]ps\s*$",
            "examples": ["100Mbps", "200MBps"],
        }),
        Shape::Amount(Amount::Percent(..)) => json!({
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*%\s*$",
            "examples": ["10%"],
        }),
        Shape::Amount(Amount::Frequency(..)) => json!({
            "type": "string",
            "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*[kMG]?Hz\s*$",
            "examples": ["2000MHz", "2.4GHz"],
        }),
        Shape::WholeOrPercent => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": r"^\s*[0-9]+(\.[0-9]{1,9})?\s*%\s*$", "examples": ["10%"] },
        ] }),
        Shape::List(inner, least) => {
            let mut list = json!({ "type": "array", "items": self::shape(inner, definitions) });
            if *least > 0 {
                list["minItems"] = json!(least);
            }
            list
        }
        Shape::Object(inner) => reference(inner, false, definitions),
        Shape::ObjectOr(inner) => {
            let first = inner.keys.first().map(|key| self::shape(&key.shape, definitions));
            let whole = reference(inner, false, definitions);
            json!({ "anyOf": first.into_iter().chain([whole]).collect::<Vec<_>>() })
        }
        Shape::OneOf(inner) => reference(inner, true, definitions),
        Shape::WordOr(words, inner) => json!({ "anyOf": [
            { "enum": words.iter().map(|word| word.text).collect::<Vec<_>>() },
            reference(inner, true, definitions),
        ] }),
        Shape::Named(rule, inner) => json!({
            "type": "object",
            "propertyNames": { "pattern": rule.pattern },
            "additionalProperties": self::shape(inner, definitions),
        }),
        Shape::Settings => json!({ "type": "object" }),
    }
}

/// A reference to the object's definition, which is added at its first use.
fn reference(inner: &'static Object, exactly_one: bool, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(inner.name) {
        let definition = object(inner, exactly_one, definitions);
        definitions.insert(inner.name.into(), definition);
    }
    json!({ "$ref": format!("#/$defs/{}", inner.name) })
}
