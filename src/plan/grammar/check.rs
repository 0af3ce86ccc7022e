//! A document against the table: unknown, duplicate and missing keys, wrong types, bad forms, values out of range.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::shape::{Amount, Key, Object, Shape};
use super::table::PLAN;
use super::text::TextRule;
use crate::diagnostic::{Diagnostic, Diagnostics, SourceText, Span, closest};
use crate::plan::document::{Entry, Node, Place, Value, shortened};
use crate::units::{ByteCount, ByteRate, Frequency, Percent, human_duration, parse_duration};

/// Checks a whole file; every problem is added to `found`.
pub(in crate::plan) fn check(source: &Arc<SourceText>, root: &Node, found: &mut Diagnostics) {
    let mut checker = Checker { source, found };
    match &root.value {
        Value::Map(_) => checker.object(root, &PLAN),
        Value::Null => {
            let start = Span::new(source, 0, 0);
            checker.found.push(
                Diagnostic::error("plan.type", "the file is empty")
                    .at(start, "a plan file begins with `replant: 1`")
                    .help("`replant init` writes a plan to begin with"),
            );
        }
        other => {
            let message = format!("a plan file is a mapping, not {}", other.describe());
            checker.push("plan.type", message, root, "expected `replant: 1` and further keys", None);
        }
    }
}

struct Checker<'a> {
    source: &'a Arc<SourceText>,
    found: &'a mut Diagnostics,
}

impl Checker<'_> {
    fn span(&self, place: Place) -> Span {
        Span::new(self.source, place.start as usize, place.end as usize)
    }

    /// Reports a mistake in a value, and where it is used if that is an alias.
    fn push(&mut self, code: &'static str, message: String, node: &Node, label: &str, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(code, message).at(self.span(headline(self.source, node)), label);
        if node.used != node.place {
            diagnostic = diagnostic.at(self.span(node.used), "used here");
        }
        self.found.push(diagnostic.maybe_help(help));
    }

    /// `subject` is what the message is about: `` `memory` of `inventory` ``.
    fn value(&mut self, node: &Node, shape: &'static Shape, subject: &str) {
        match (shape, &node.value) {
            (Shape::OneOf(object) | Shape::WordOr(_, object), Value::Map(entries)) => {
                self.one_of(node, entries, object)
            }
            (Shape::Object(object) | Shape::ObjectOr(object), Value::Map(_)) => self.object(node, object),
            (Shape::ObjectOr(Object { keys: [Key { shape: first, .. }, ..], .. }), Value::Text(_)) => {
                self.value(node, first, subject);
            }
            (Shape::Named(rule, inner), Value::Map(entries)) => self.named(entries, rule, inner, subject),
            (Shape::Settings, Value::Map(_)) => self.settings(node, subject),
            (Shape::List(inner, least), Value::List(items)) => {
                if items.len() < *least {
                    let message = format!("{subject} needs at least {least} entry");
                    self.push("plan.value", message, node, "this list is empty", None);
                }
                let subject = format!("an entry of {subject}");
                for item in items {
                    self.value(item, inner, &subject);
                }
            }
            (Shape::Text(rule), Value::Text(text)) => self.text(node, text, rule, subject),
            (Shape::Choice(words) | Shape::WordOr(words, _), Value::Text(text)) => {
                if !words.iter().any(|word| word.text == &**text) {
                    let near = closest(text, words.iter().map(|word| word.text));
                    let label =
                        near.map_or_else(|| "not one of them".to_owned(), |near| format!("did you mean `{near}`?"));
                    let message = format!("{subject} must be {}, not `{}`", shape.describe(), shortened(text));
                    let meanings: Vec<String> = words.iter().map(|w| format!("`{}`: {}", w.text, w.doc)).collect();
                    self.push("plan.value", message, node, &label, Some(meanings.join("\n")));
                }
            }
            (Shape::Whole(least, most), Value::Whole(number)) => {
                if number < least || number > most {
                    let message = format!("{subject} is out of range: {number}");
                    let label = match least == most {
                        true => format!("must be {least}"),
                        false => format!("must be from {least} to {most}"),
                    };
                    let help = (least == most).then(|| "a newer plan language needs a newer `replant`".to_owned());
                    self.push("plan.range", message, node, &label, help);
                }
            }
            // Nothing of what may be a secret is repeated.
            (Shape::OneOf(object), Value::Text(_) | Value::Whole(_)) => {
                let message = format!("{subject} must be a reference, not the secret itself");
                let help = format!(
                    "say where it comes from with one of {}; what stood in a plan is no secret any more: make a new one",
                    object.key_list()
                );
                self.push("plan.type", message, node, "expected a mapping", Some(help));
            }
            (Shape::Flag, Value::Flag(_)) | (Shape::WholeOrPercent, Value::Whole(_)) => {}
            (Shape::Amount(amount), Value::Text(text)) => self.amount(node, text, *amount, subject),
            (Shape::Amount(amount @ Amount::Size(..)), Value::Whole(bytes)) => {
                self.amount(node, &bytes.to_string(), *amount, subject);
            }
            (Shape::WholeOrPercent, Value::Text(text)) => match Percent::parse(text) {
                Ok(Percent(0..=10_000)) => {}
                Ok(percent) => {
                    let message = format!("{subject} is out of range: {percent}");
                    self.push("plan.range", message, node, "must be `100%` at most", None);
                }
                Err(error) => self.push("plan.value", format!("{subject}: {error}"), node, "not a percentage", None),
            },
            (Shape::Whole(..) | Shape::WholeOrPercent, Value::Negative(number)) => {
                let message = format!("{subject} is out of range: {number}");
                self.push("plan.range", message, node, "must not be negative", None);
            }
            (shape, value) => self.wrong_type(node, shape, value, subject),
        }
    }

    fn wrong_type(&mut self, node: &Node, shape: &Shape, value: &Value, subject: &str) {
        let help = match (shape, value) {
            (_, Value::Null) => Some("give it a value, or leave the key out".to_owned()),
            (
                Shape::Text(_) | Shape::Choice(_) | Shape::WordOr(..),
                Value::Whole(_) | Value::Negative(_) | Value::Float(_) | Value::Flag(_),
            ) => {
                let written = self.span(node.place);
                Some(format!("in quotes it is a text: \"{}\"", written.text()))
            }
            (Shape::Amount(amount), Value::Whole(number)) => {
                let unit = if matches!(amount, Amount::Rate(_)) { "MBps" } else { "s" };
                Some(format!("write it with its unit, such as `{number}{unit}`"))
            }
            (Shape::Flag, Value::Text(text)) if matches!(&*text.to_lowercase(), "yes" | "on" | "y") => {
                Some("write `true`".to_owned())
            }
            (Shape::Flag, Value::Text(text)) if matches!(&*text.to_lowercase(), "no" | "off" | "n") => {
                Some("write `false`".to_owned())
            }
            (Shape::Flag, Value::Text(_)) => Some("write it without quotes: `true` or `false`".to_owned()),
            (Shape::List(..), Value::Text(text)) => Some(format!("a list of one is written `[{}]`", shortened(text))),
            (Shape::List(..), Value::Map(_)) => Some("begin each entry with `- `".to_owned()),
            (Shape::Whole(..), Value::Text(text)) if text.parse::<u64>().is_ok() => {
                Some("write the number without quotes".to_owned())
            }
            (Shape::Object(object) | Shape::OneOf(object), Value::Text(text)) => {
                match object.keys.iter().find(|k| k.required) {
                    Some(key) => Some(format!("write `{}: {}`", key.name, shortened(text))),
                    None => Some(format!("it has the keys {}", object.key_list())),
                }
            }
            _ => None,
        };
        let message = match value {
            Value::Null => format!("{subject} has no value"),
            other => format!("{subject} must be {}, not {}", shape.describe(), other.describe()),
        };
        let label = match value {
            Value::Null => format!("expected {}", shape.describe()),
            other => format!("this is {}", other.describe()),
        };
        self.push("plan.type", message, node, &label, help);
    }

    fn text(&mut self, node: &Node, text: &str, rule: &TextRule, subject: &str) {
        if !(rule.accepts)(text) {
            let message = match text.is_empty() {
                true => format!("{subject} is empty"),
                false => format!("`{}` cannot be {subject}", shortened(text)),
            };
            self.push("plan.value", message, node, &format!("expected {}", rule.what), Some(rule.form.to_owned()));
        }
    }

    fn amount(&mut self, node: &Node, text: &str, amount: Amount, subject: &str) {
        let outcome = match amount {
            Amount::Size(least, most) => ByteCount::parse(text).map(|size| {
                let bounds = format!("must be from {} to {}", ByteCount(least), ByteCount(most));
                ((least..=most).contains(&size.0), bounds)
            }),
            Amount::Duration(least, most) => parse_duration(text).map(|duration| {
                let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
                let bounds = format!("must be from {} to {} days", human_duration(least), most.as_secs() / 86_400);
                ((least..=most).contains(&duration), bounds)
            }),
            Amount::Rate(least) => {
                ByteRate::parse(text).map(|rate| (rate.0 >= least, format!("must be {} at least", ByteRate(least))))
            }
            Amount::Percent(least, most) => Percent::parse(text).map(|percent| {
                let bounds = format!("must be from {} to {}", Percent(least), Percent(most));
                ((least..=most).contains(&percent.0), bounds)
            }),
            Amount::Frequency(least, most) => Frequency::parse(text).map(|frequency| {
                let bounds = format!("must be from {} to {}", Frequency(least), Frequency(most));
                ((least..=most).contains(&frequency.0), bounds)
            }),
        };
        match outcome {
            Ok((true, _)) => {}
            Ok((false, bounds)) => {
                let message = format!("{subject} is out of range: {}", shortened(text));
                self.push("plan.range", message, node, &bounds, None);
            }
            Err(error) => {
                let label = format!("expected {}", Shape::Amount(amount).describe());
                self.push("plan.value", format!("{subject}: {error}"), node, &label, None);
            }
        }
    }

    fn object(&mut self, node: &Node, object: &'static Object) {
        let Value::Map(entries) = &node.value else { return };
        for (at, entry) in entries.iter().enumerate() {
            match object.key(&entry.key) {
                None => self.unknown_key(entry, object),
                // Mappings with known keys are short: a look back is cheaper than a set.
                Some(key) => match entries[..at].iter().find(|earlier| earlier.key == entry.key) {
                    Some(first) => self.duplicate_key(first, entry, object.what),
                    None => {
                        let subject = format!("`{}` of {}", key.name, object.what);
                        self.value(&entry.node, &key.shape, &subject);
                    }
                },
            }
        }
        let missing = object.keys.iter().filter(|key| key.required && !entries.iter().any(|e| &*e.key == key.name));
        for key in missing {
            self.missing_key(node, key, object);
        }
    }

    fn one_of(&mut self, node: &Node, entries: &[Entry], object: &'static Object) {
        self.object(node, object);
        if entries.len() != 1 && !entries.iter().any(|entry| object.key(&entry.key).is_none()) {
            let message = format!("{} is given by exactly one of {}", object.what, object.key_list());
            let label = if entries.is_empty() { "there is none" } else { "there are several" };
            self.push("plan.value", message, node, label, None);
        }
    }

    fn named(&mut self, entries: &[Entry], rule: &TextRule, shape: &'static Shape, subject: &str) {
        let mut seen: HashMap<&str, &Entry> = HashMap::with_capacity(entries.len());
        for entry in entries {
            if !(rule.accepts)(&entry.key) {
                let message = format!("`{}` cannot be {}", shortened(&entry.key), rule.what);
                let diagnostic = Diagnostic::error("plan.value", message).at(self.span(entry.place), "");
                self.found.push(diagnostic.help(rule.form));
            }
            match seen.get(&*entry.key) {
                Some(first) => self.duplicate_key(first, entry, subject),
                None => {
                    seen.insert(&entry.key, entry);
                    self.value(&entry.node, shape, &format!("`{}`", shortened(&entry.key)));
                }
            }
        }
    }

    /// Settings are somebody else's; here only what no JSON can hold, and duplicate keys, are wrong.
    fn settings(&mut self, node: &Node, subject: &str) {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            match &node.value {
                Value::Float(number) if !number.is_finite() => {
                    self.push("plan.value", format!("{subject}: {number} is not a number"), node, "", None);
                }
                Value::List(items) => open.extend(items),
                Value::Map(entries) => {
                    let mut seen: HashMap<&str, &Entry> = HashMap::with_capacity(entries.len());
                    for entry in entries {
                        match seen.get(&*entry.key) {
                            Some(first) => self.duplicate_key(first, entry, subject),
                            None => _ = seen.insert(&entry.key, entry),
                        }
                        open.push(&entry.node);
                    }
                }
                _ => {}
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, object: &Object) {
        let near = closest(&entry.key, object.keys.iter().map(|key| key.name));
        let label = near.map_or_else(|| "unknown key".to_owned(), |near| format!("did you mean `{near}`?"));
        let message = format!("`{}` is not a key of {}", shortened(&entry.key), object.what);
        let help = format!("{} takes {}", object.what, object.key_list());
        let diagnostic = Diagnostic::error("plan.unknown-key", message).at(self.span(entry.place), label).help(help);
        self.found.push(diagnostic);
    }

    fn duplicate_key(&mut self, first: &Entry, again: &Entry, what: &str) {
        self.found.push(
            Diagnostic::error("plan.duplicate-key", format!("`{}` is given twice in {what}", shortened(&again.key)))
                .at(self.span(again.place), "given again here")
                .at(self.span(first.place), "first given here")
                .help("keep one of the two"),
        );
    }

    fn missing_key(&mut self, node: &Node, key: &Key, object: &Object) {
        let message = format!("{} needs `{}`", object.what, key.name);
        let label = format!("`{}` is missing", key.name);
        let help = format!("`{}`: {}", key.name, key.doc);
        self.push("plan.missing-key", message, node, &label, Some(help));
    }
}

/// The place to underline for a value: a collection is pointed at by its first line, not drawn whole.
fn headline(source: &SourceText, node: &Node) -> Place {
    let Place { start, end } = node.place;
    let text = source.text.get(start as usize..end as usize).unwrap_or_default();
    match (&node.value, text.find('\n')) {
        (Value::List(_) | Value::Map(_) | Value::Text(_), Some(line_end)) => {
            Place { start, end: start + text[..line_end].trim_end().len() as u32 }
        }
        _ => node.place,
    }
}
