//! Typed looks at checked documents. A value of the wrong shape reads as absent here: `grammar` has reported it.

use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, IntoDeserializer, value};

use crate::diagnostic::{SourceText, Span, Spanned};
use crate::plan::document::{Entry, Node, Place, Value};
use crate::units::{ByteCount, ByteRate, Frequency, Percent, parse_duration};

/// A value in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    node: &'a Node,
    source: &'a Arc<SourceText>,
}

impl<'a> At<'a> {
    /// `node` of `source`.
    pub fn new(node: &'a Node, source: &'a Arc<SourceText>) -> Self {
        Self { node, source }
    }

    /// The value itself.
    pub fn node(self) -> &'a Node {
        self.node
    }

    /// Where it was written out.
    pub fn span(self) -> Span {
        self.place(self.node.place)
    }

    /// Its first line, for pointing at a collection.
    pub fn headline(self) -> Span {
        let mut span = self.span();
        if let Some(end) = span.text().find('\n') {
            span.end = span.start + span.text()[..end].trim_end().len();
        }
        span
    }

    fn place(self, place: Place) -> Span {
        Span::new(self.source, place.start as usize, place.end as usize)
    }

    /// Whether it is a mapping.
    pub fn is_map(self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// A mapping's entries; none of anything else.
    fn map(self) -> &'a [Entry] {
        match &self.node.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key.
    pub fn get(self, key: &str) -> Option<At<'a>> {
        let entry = self.map().iter().find(|entry| &*entry.key == key)?;
        Some(At { node: &entry.node, source: self.source })
    }

    /// A mapping's keys, each with its place, and values.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Span, At<'a>)> {
        self.map()
            .iter()
            .map(move |entry| (&*entry.key, self.place(entry.place), At { node: &entry.node, source: self.source }))
    }

    /// A list's values; none of anything else.
    pub fn items(self) -> impl Iterator<Item = At<'a>> {
        let items: &[Node] = match &self.node.value {
            Value::List(items) => items,
            _ => &[],
        };
        items.iter().map(move |node| At { node, source: self.source })
    }

    /// A text.
    pub fn text(self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn flag(self) -> Option<bool> {
        match self.node.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    /// A whole number, the largest that fits if it is larger.
    pub fn whole(self) -> Option<u32> {
        match self.node.value {
            Value::Whole(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    /// A size.
    pub fn size(self) -> Option<ByteCount> {
        match &self.node.value {
            Value::Text(text) => ByteCount::parse(text).ok(),
            Value::Whole(bytes) => Some(ByteCount(*bytes)),
            _ => None,
        }
    }

    /// A duration.
    pub fn duration(self) -> Option<Duration> {
        parse_duration(self.text()?).ok()
    }

    /// A rate.
    pub fn rate(self) -> Option<ByteRate> {
        ByteRate::parse(self.text()?).ok()
    }

    /// A percentage.
    pub fn percent(self) -> Option<Percent> {
        Percent::parse(self.text()?).ok()
    }

    /// A frequency.
    pub fn frequency(self) -> Option<Frequency> {
        Frequency::parse(self.text()?).ok()
    }

    /// One of a closed enum's words.
    pub fn choice<T: DeserializeOwned>(self) -> Option<T> {
        let word: value::StrDeserializer<'_, value::Error> = self.text()?.into_deserializer();
        T::deserialize(word).ok()
    }

    /// A mapping as JSON.
    pub fn json(self) -> Option<serde_json::Map<String, serde_json::Value>> {
        match self.node.value.to_json()? {
            serde_json::Value::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The value that `read` makes of it, with its place.
    pub fn spanned<T>(self, read: impl FnOnce(Self) -> Option<T>) -> Option<Spanned<T>> {
        read(self).map(|value| Spanned::new(value, self.span()))
    }
}

/// A mapping of one machine with the defaults beneath it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers<'a> {
    own: Option<At<'a>>,
    defaults: &'a [At<'a>],
}

impl<'a> Layers<'a> {
    /// `own` before `defaults`, the first of which comes first.
    pub fn new(own: Option<At<'a>>, defaults: &'a [At<'a>]) -> Self {
        Self { own, defaults }
    }

    /// The value that holds for a key.
    pub fn get(self, key: &str) -> Option<At<'a>> {
        self.all(key).next()
    }

    /// Every value of a key, what holds first.
    pub fn all(self, key: &str) -> impl Iterator<Item = At<'a>> {
        self.own.into_iter().chain(self.defaults.iter().copied()).filter_map(move |layer| layer.get(key))
    }

    /// The mappings of a key merged: a name keeps the value that holds.
    pub fn merged_json(self, key: &str) -> serde_json::Map<String, serde_json::Value> {
        let mut merged = serde_json::Map::new();
        for layer in self.all(key) {
            for (name, value) in layer.json().unwrap_or_default() {
                merged.entry(name).or_insert(value);
            }
        }
        merged
    }
}
