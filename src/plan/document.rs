//! A plan file as a tree of values, each with its place; the only file that knows YAML.
//!
//! Aliases and merges (`<<`) are expanded by the reader, within a budget that a large fleet never reaches and a YAML
//! bomb reaches at once. Duplicate keys are kept, so that each can be reported. Booleans are `true` and `false` only:
//! `no` is a text, as the country code of Norway deserves.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, MessageFormatter, UserMessageFormatter};

use crate::diagnostic::{Diagnostic, SourceText, Span};

/// Values, keys and collections in one file: some 60,000 machines of twelve lines.
const MAX_NODES: usize = 4_000_000;
/// Parser events in one file.
const MAX_EVENTS: usize = 10_000_000;
/// Events that aliases and merges may repeat: 20,000 machines that merge a base of 50 values.
const MAX_REPLAYED: usize = 1_500_000;
/// Events inside anchors, counted once for each anchor around them.
const MAX_ANCHORED: usize = 200_000;
/// Collections inside collections; a plan needs eight.
const MAX_DEPTH: usize = 32;

/// A range of bytes in the document's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where it is used: an alias (`*name`) or a merge has its own place.
    pub used: Place,
    /// Where it was written out.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A whole number from 0.
    Whole(u64),
    /// A whole number below 0.
    Negative(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in order, duplicate keys and all.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The key as text.
    pub key: Box<str>,
    /// Where the key was written.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// Reads a file's text.
pub(super) fn parse(source: &Arc<SourceText>) -> Result<Node, Diagnostic> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: MAX_EVENTS,
            max_aliases: 500_000,
            max_anchors: 100_000,
            max_merge_keys: 500_000,
            max_recorded_anchor_events: MAX_ANCHORED,
            max_total_scalar_bytes: 256 << 20,
            max_depth: MAX_DEPTH,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED, },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(&source.text, options).map_err(|error| refusal(source, &error))
}

/// Says why a file could not be read, at the place where reading stopped.
fn refusal(source: &Arc<SourceText>, error: &serde_saphyr::Error) -> Diagnostic {
    use serde_saphyr::Error as E;
    let mut error = error.without_snippet();
    let span = error.location().map_or_else(|| Span::new(source, 0, 0), |location| span_of(source, location));
    while let E::AliasError { error: inner, .. } | E::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    match error {
        error if is_about_depth(error) => Diagnostic::error("plan.too-large", "values are nested too deeply")
            .at(span, format!("this is more than {MAX_DEPTH} levels deep"))
            .help("a plan needs eight levels; deeper ones, and chains of merges, are refused"),
        E::Budget { .. }
        | E::AliasReplayLimitExceeded { .. }
        | E::AliasExpansionLimitExceeded { .. }
        | E::AliasReplayStackDepthExceeded { .. } => {
            Diagnostic::error("plan.too-large", "the file grows beyond every reasonable plan")
                .at(span, "reading stopped here")
                .help(
                    "aliases of aliases multiply: use `defaults` instead, or spread the plan over files with `include`",
                )
        }
        E::RecursiveReferencesRequireWeakTypes { .. } => {
            Diagnostic::error("plan.too-large", "an alias stands for something that holds it")
                .at(span, "this has no end")
                .help("write the value out")
        }
        E::MultipleDocuments { .. } => Diagnostic::error("plan.syntax", "a plan file holds one YAML document")
            .at(span, "a second one begins here")
            .help("move it to a file of its own and name that under `include`"),
        E::UnknownAnchor { .. } => Diagnostic::error("plan.syntax", "the alias stands for nothing")
            .at(span, "no anchor of that name stands before it")
            .help("define it with `&name` before its first use; a text that begins with `*` needs quotes"),
        _ => {
            let reason = UserMessageFormatter.format_message(error).into_owned();
            Diagnostic::error("plan.syntax", format!("this is not YAML: {reason}"))
                .at(span, "reading stopped here")
                .help("the cause may stand before this place: an open bracket or quote, a tab, a line indented too far")
        }
    }
}

/// The scanner has a limit of its own, and only words for it.
fn is_about_depth(error: &serde_saphyr::Error) -> bool {
    match error {
        serde_saphyr::Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => true,
        serde_saphyr::Error::Budget { .. } => false,
        other => UserMessageFormatter.format_message(other).contains("recursion limit"),
    }
}

/// The bytes of a location; scanner errors only know line and column.
fn span_of(source: &Arc<SourceText>, location: Location) -> Span {
    let length = source.text.len();
    if location.span().byte_offset().is_some() {
        let Place { start, end } = place_of(location);
        return Span::new(source, (start as usize).min(length), (end as usize).min(length));
    }
    let (line, column) = (location.line().saturating_sub(1), location.column().saturating_sub(1));
    let line_start: usize = source.text.split_inclusive('\n').take(line as usize).map(str::len).sum();
    let rest = source.text[line_start..].lines().next().unwrap_or_default();
    let into = rest.char_indices().nth(column as usize).map_or(rest.len(), |(at, _)| at);
    Span::new(source, line_start + into, line_start + into)
}

fn place_of(location: Location) -> Place {
    let span = location.span();
    let start = span.byte_offset().unwrap_or_default();
    let end = start.saturating_add(span.byte_len().unwrap_or_default());
    let narrow = |offset: u64| u32::try_from(offset).unwrap_or(u32::MAX);
    Place { start: narrow(start), end: narrow(end) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = serde_saphyr::Spanned::<Value>::deserialize(deserializer)?;
        let mut place = place_of(read.defined);
        let plain = read.referenced == read.defined;
        // The reader knows where a collection begins; it ends where its last child ends.
        let last = match &read.value {
            Value::List(items) => items.last().map(|item| item.place.end),
            Value::Map(entries) => entries.last().map(|entry| entry.node.place.end.max(entry.place.end)),
            _ => None,
        };
        place.end = place.end.max(last.unwrap_or_default());
        let used = if plain { place } else { place_of(read.referenced) };
        Ok(Self { used, place, value: read.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Negative(value), Value::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<serde_saphyr::Spanned<KeyText>>()? {
            entries.push(Entry { key: key.value.0, place: place_of(key.defined), node: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}

/// A key; numbers and the like are taken as they would be written.
struct KeyText(Box<str>);

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = KeyText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_unit<E>(self) -> Result<KeyText, E> {
        Ok(KeyText("null".into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<KeyText, E> {
        Ok(KeyText(value.to_string().into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<KeyText, E> {
        Ok(KeyText(value.to_string().into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<KeyText, E> {
        Ok(KeyText(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<KeyText, E> {
        Ok(KeyText(value.to_string().into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<KeyText, E> {
        Ok(KeyText(value.into()))
    }
}

impl Value {
    /// What it is, for messages: `a list`, `the text `x``.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".into(),
            Self::Flag(value) => format!("`{value}`"),
            Self::Whole(value) => format!("the number {value}"),
            Self::Negative(value) => format!("the number {value}"),
            Self::Float(value) => format!("the number {value}"),
            Self::Text(text) => format!("the text `{}`", shortened(text)),
            Self::List(_) => "a list".into(),
            Self::Map(_) => "a mapping".into(),
        }
    }

    /// The same value as JSON; of duplicate keys the first stays. Not-a-number and infinity have no JSON: `None`.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        Some(match self {
            Self::Null => Json::Null,
            Self::Flag(value) => Json::Bool(*value),
            Self::Whole(value) => Json::from(*value),
            Self::Negative(value) => Json::from(*value),
            Self::Float(value) => Json::Number(serde_json::Number::from_f64(*value)?),
            Self::Text(text) => Json::String(text.to_string()),
            Self::List(items) => Json::Array(items.iter().map(|item| item.value.to_json()).collect::<Option<_>>()?),
            Self::Map(entries) => {
                let mut map = serde_json::Map::new();
                for entry in entries {
                    if !map.contains_key(&*entry.key) {
                        map.insert(entry.key.to_string(), entry.node.value.to_json()?);
                    }
                }
                Json::Object(map)
            }
        })
    }
}

/// A text short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
