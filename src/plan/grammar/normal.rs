//! Checked values as JSON in one spelling each: sizes in bytes, durations in seconds, rates in bytes a second.

use serde_json::{Map, Value as Json};

use super::facts::{FACTS, HOST_FACTS};
use super::shape::{Amount, Object, Shape};
use super::text::MAC;
use crate::plan::document::{Node, Value};
use crate::units::{ByteCount, ByteRate, Frequency, Percent, parse_duration};

/// A machine's declared facts.
pub(in crate::plan) fn facts(node: &Node) -> Map<String, Json> {
    object(node, &FACTS)
}

/// A host's declared facts.
pub(in crate::plan) fn host_facts(node: &Node) -> Map<String, Json> {
    object(node, &HOST_FACTS)
}

/// What is of the wrong shape is left out: `check` has reported it.
fn object(node: &Node, object: &'static Object) -> Map<String, Json> {
    let Value::Map(entries) = &node.value else { return Map::new() };
    let known = entries.iter().filter_map(|entry| {
        let key = object.key(&entry.key)?;
        Some((key.name.to_owned(), value(&entry.node, &key.shape)?))
    });
    known.collect()
}

fn value(node: &Node, shape: &'static Shape) -> Option<Json> {
    Some(match (shape, &node.value) {
        (Shape::Object(inner) | Shape::ObjectOr(inner) | Shape::OneOf(inner), Value::Map(_)) => {
            Json::Object(object(node, inner))
        }
        (Shape::List(inner, _), Value::List(items)) => {
            Json::Array(items.iter().filter_map(|item| value(item, inner)).collect())
        }
        (Shape::Named(_, inner), Value::Map(entries)) => {
            let pairs = entries.iter().filter_map(|e| Some((e.key.to_string(), value(&e.node, inner)?)));
            Json::Object(pairs.collect())
        }
        (Shape::Text(rule), Value::Text(text)) if std::ptr::eq(*rule, &MAC) => {
            Json::from(text.to_ascii_lowercase().replace('-', ":"))
        }
        (Shape::Amount(amount), Value::Text(text)) => Json::from(match amount {
            Amount::Size(..) => ByteCount::parse(text).ok()?.0,
            Amount::Duration(..) => parse_duration(text).ok()?.as_secs(),
            Amount::Rate(..) => ByteRate::parse(text).ok()?.0,
            Amount::Percent(..) => u64::from(Percent::parse(text).ok()?.0),
            Amount::Frequency(..) => Frequency::parse(text).ok()?.0,
        }),
        (Shape::Amount(Amount::Size(..)) | Shape::Whole(..), Value::Whole(number)) => Json::from(*number),
        (Shape::Text(_) | Shape::Choice(_), Value::Text(text)) => Json::from(&**text),
        (Shape::Flag, Value::Flag(flag)) => Json::from(*flag),
        (Shape::Settings, other) => other.to_json()?,
        _ => return None,
    })
}
