//! A document as JSON: each fact as `{"value": .., "from": "o1"}`; and the facts alone, for rules and other programs.

use serde_json::{Map, Value, json};

use crate::inventory::model::{
    Branch, Content, Document, Facts, Field, Flaw, Form, Kind, Method, Observation, Section as _, Shape, Word as _,
    read_section,
};

/// Writes a document.
pub fn to_json(document: &Document) -> Value {
    let observations: Vec<Value> = document
        .observations
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let mut object = Map::new();
            object.insert("id".into(), json!(format!("o{}", at + 1)));
            object.insert("how".into(), json!(one.how.write()));
            object.insert("by".into(), json!(one.by));
            object.extend(one.when.map(|when| ("when".to_owned(), json!(when.to_string()))));
            object.extend(one.source.as_ref().map(|source| ("source".to_owned(), json!(source))));
            Value::Object(object)
        })
        .collect();
    let facts = section(&document.facts.branches(), Facts::SHAPE, true);
    json!({ "version": 1, "name": document.name, "observations": observations, "facts": facts })
}

/// The facts alone, without where they come from: `{"os": {"family": "linux", ..}, ..}`. Lists that nothing is known
/// of are empty, so that a rule can ask how long they are; other facts that are not known are absent.
pub fn plain_facts(facts: &Facts) -> Value {
    section(&facts.branches(), Facts::SHAPE, false)
}

fn section(branches: &[Branch], shape: &Shape, sources: bool) -> Value {
    let mut object = Map::new();
    for field in shape.fields {
        let of_field = branches.iter().filter(|branch| branch.element == field.element);
        let values: Vec<Value> = of_field.map(|branch| content(branch, field, sources)).collect();
        match (&field.kind, values.is_empty()) {
            (Kind::One(_), true) => {}
            (Kind::One(_), false) => {
                _ = object.insert(field.name.into(), values.into_iter().next().unwrap_or_default())
            }
            (Kind::Group(_), true) if sources => {}
            (Kind::Group(inner), true) => _ = object.insert(field.name.into(), section(&[], inner, sources)),
            (Kind::Group(_), false) => {
                _ = object.insert(field.name.into(), values.into_iter().next().unwrap_or_default())
            }
            (Kind::Values(_) | Kind::Many(_), true) if sources => {}
            (Kind::Values(_) | Kind::Many(_), _) => _ = object.insert(field.name.into(), Value::Array(values)),
        }
    }
    Value::Object(object)
}

fn content(branch: &Branch, field: &Field, sources: bool) -> Value {
    match (&branch.content, &field.kind) {
        (Content::Value(text, from), Kind::One(form) | Kind::Values(form)) => {
            let value = value(text, *form);
            match sources {
                true => json!({ "value": value, "from": format!("o{}", from + 1) }),
                false => value,
            }
        }
        (Content::Section(inner, _), Kind::Group(shape) | Kind::Many(shape)) => section(inner, shape, sources),
        _ => Value::Null,
    }
}

fn value(text: &str, form: Form) -> Value {
    match form {
        Form::Text | Form::Time | Form::Choice(_) => json!(text),
        Form::Flag => json!(text == "true"),
        Form::Whole | Form::Bytes | Form::Hertz | Form::BitsPerSecond => {
            text.parse::<u64>().map_or(Value::Null, Into::into)
        }
        Form::Percent => text.parse::<f64>().map_or(Value::Null, Into::into),
    }
}

/// Reads a document; a fact may also be written as its value alone, and then comes from the first observation.
pub fn from_json(text: &str) -> Result<Document, Vec<Flaw>> {
    let flaw = |message: String, help: &str| vec![Flaw { place: 0..0, message, help: help.to_owned() }];
    let root: Value = serde_json::from_str(text).map_err(|error| {
        let line = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum::<usize>();
        let place = (line + error.column().saturating_sub(1)).min(text.len());
        vec![Flaw {
            place: place..place,
            message: format!("the file is not JSON: {error}"),
            help: "`jq .` names what is wrong".to_owned(),
        }]
    })?;
    if root.get("version") != Some(&json!(1)) || !root.get("facts").is_some_and(Value::is_object) {
        let help =
            "it has `version: 1`, `name`, `observations` and `facts`; `replant inventory show --json` prints one";
        return Err(flaw("the file is not an inventory document".to_owned(), help));
    }
    let mut flaws = Vec::new();
    let mut ids = Vec::new();
    let mut observations = Vec::new();
    for one in root.get("observations").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| one.get(key).and_then(Value::as_str);
        ids.push(text("id").unwrap_or_default().to_owned());
        match Method::read(text("how").unwrap_or_default()) {
            Some(how) => observations.push(Observation {
                by: text("by").unwrap_or_default().to_owned(),
                how,
                source: text("source").map(str::to_owned),
                when: text("when").and_then(jiff::Timestamp::read),
            }),
            None => {
                let help = format!("`how` is {}", Method::FORM.describe());
                flaws.extend(flaw("`observations`: `how` is no way to observe".to_owned(), &help));
            }
        }
    }
    let name = root.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if name.is_empty() {
        flaws.extend(flaw("the machine has no name".to_owned(), "write `\"name\": \"...\"`"));
    }
    let branches = branches(&root["facts"], Facts::SHAPE, &ids, "facts", &mut flaws);
    let facts = read_section(&branches, &mut flaws);
    match flaws.is_empty() {
        true => Ok(Document { name, observations, facts }),
        false => Err(flaws),
    }
}

fn branches(value: &Value, shape: &Shape, ids: &[String], path: &str, flaws: &mut Vec<Flaw>) -> Vec<Branch> {
    let mut out = Vec::new();
    let wrong = |path: &str, wanted: &str| Flaw {
        place: 0..0,
        message: format!("`{path}` is not {wanted}"),
        help: format!("write {wanted}"),
    };
    let Some(object) = value.as_object() else {
        flaws.push(wrong(path, "an object"));
        return out;
    };
    for (key, value) in object {
        let path = format!("{path}.{}", key.escape_debug());
        let Some(field) = shape.fields.iter().find(|field| field.name == key) else {
            let near = crate::diagnostic::closest(key, shape.fields.iter().map(|field| field.name));
            let help = near.map_or_else(|| "take it out".to_owned(), |near| format!("did you mean `{near}`?"));
            flaws.push(Flaw { place: 0..0, message: format!("`{path}` is no fact"), help });
            continue;
        };
        let many = matches!(field.kind, Kind::Values(_) | Kind::Many(_));
        let items: Vec<&Value> = match (many, value) {
            (true, Value::Array(items)) => items.iter().collect(),
            (true, _) => {
                flaws.push(wrong(&path, "a list"));
                continue;
            }
            (false, value) => vec![value],
        };
        for item in items {
            let content = match &field.kind {
                Kind::Group(inner) | Kind::Many(inner) => {
                    Content::Section(branches(item, inner, ids, &path, flaws), None)
                }
                Kind::One(form) | Kind::Values(form) => {
                    let (item, from) = match item.as_object() {
                        Some(object) => (object.get("value").unwrap_or(&Value::Null), object.get("from")),
                        None => (item, None),
                    };
                    let from =
                        from.and_then(Value::as_str).map_or(Some(0), |id| ids.iter().position(|known| known == id));
                    let Some(from) = from.and_then(|from| u16::try_from(from).ok()) else {
                        let help = "name one of `observations`".to_owned();
                        flaws.push(Flaw { place: 0..0, message: format!("`{path}` comes from no observation"), help });
                        continue;
                    };
                    match item {
                        Value::String(text) => Content::Value(text.clone(), from),
                        Value::Number(number) => Content::Value(number.to_string(), from),
                        Value::Bool(flag) => Content::Value(flag.to_string(), from),
                        _ => {
                            flaws.push(wrong(&path, &form.describe()));
                            continue;
                        }
                    }
                }
            };
            out.push(Branch { element: field.element.to_owned(), place: 0..0, content });
        }
    }
    out
}
