//! What rules see, as values of the expression language. What is not known is absent, so that a rule that needs it
//! ends with "unknown".

use std::collections::HashMap;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use serde_json::{Map, Value as Json};

/// A value.
pub(super) type Value = Box<dyn Val>;

/// A mapping that is being filled.
#[derive(Default)]
pub(super) struct Fields {
    map: HashMap<CelMapKey<'static>, Value>,
    longest: usize,
}

impl Fields {
    /// Adds a value.
    pub fn put(&mut self, key: &'static str, value: Value) -> &mut Self {
        self.map.insert(CelMapKey::from(key), value);
        self
    }

    /// Adds a value under a name that is not known beforehand.
    pub fn put_named(&mut self, key: &str, value: Value) -> &mut Self {
        self.map.insert(CelMapKey::from(key.to_owned()), value);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, key: &'static str, text: &str) -> &mut Self {
        self.put(key, self::text(text))
    }

    /// Adds a number.
    pub fn whole(&mut self, key: &'static str, number: u64) -> &mut Self {
        self.put(key, self::whole(number))
    }

    /// Adds a number, if it is known.
    pub fn maybe(&mut self, key: &'static str, number: Option<u64>) -> &mut Self {
        match number {
            Some(number) => self.whole(key, number),
            None => self,
        }
    }

    /// Adds a truth.
    pub fn flag(&mut self, key: &'static str, truth: bool) -> &mut Self {
        self.put(key, Box::new(CelBool::from(truth)))
    }

    /// Adds a list.
    pub fn list(&mut self, key: &'static str, list: Vec<Value>) -> &mut Self {
        self.longest = self.longest.max(list.len());
        self.put(key, Box::new(CelList::from(list)))
    }

    /// Adds every name of a mapping; what stands there already stays.
    pub fn facts(&mut self, facts: &Map<String, Json>) -> &mut Self {
        for (name, value) in facts {
            let value = json(value, &mut self.longest);
            self.map.entry(CelMapKey::from(name.clone())).or_insert(value);
        }
        self
    }

    /// Whether a name has a value.
    pub fn has(&self, key: &'static str) -> bool {
        self.map.contains_key(&CelMapKey::from(key))
    }

    /// The longest list in it.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The mapping.
    pub fn finish(self) -> Value {
        Box::new(CelMap::from(self.map))
    }
}

/// A text.
pub(super) fn text(text: &str) -> Value {
    Box::new(CelString::from(text.to_owned()))
}

/// A number; one beyond the language's range is its greatest.
pub(super) fn whole(number: u64) -> Value {
    Box::new(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// A list of texts.
pub(super) fn texts<'a>(list: impl IntoIterator<Item = &'a str>) -> Value {
    Box::new(CelList::from(list.into_iter().map(text).collect::<Vec<_>>()))
}

/// Any JSON.
pub(super) fn json(value: &Json, longest: &mut usize) -> Value {
    match value {
        Json::Null => Box::new(CelNull),
        Json::Bool(truth) => Box::new(CelBool::from(*truth)),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => whole(number),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        },
        Json::String(value) => text(value),
        Json::Array(items) => {
            *longest = items.len().max(*longest);
            Box::new(CelList::from(items.iter().map(|item| json(item, longest)).collect::<Vec<_>>()))
        }
        Json::Object(map) => {
            *longest = map.len().max(*longest);
            let entries = map.iter().map(|(name, value)| (CelMapKey::from(name.clone()), json(value, longest)));
            Box::new(CelMap::from(entries.collect::<HashMap<_, _>>()))
        }
    }
}

/// The names that one evaluation sees.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub machine: Option<&'a dyn Val>,
    pub host: &'a dyn Val,
    pub provider: &'a dyn Val,
    pub fleet: &'a dyn Val,
    pub plan: &'a dyn Val,
    pub item: Option<&'a dyn Val>,
}

impl<'a> Scope<'a> {
    /// The same with an item.
    pub fn with_item(self, item: &'a dyn Val) -> Self {
        Self { item: Some(item), ..self }
    }
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = match variable {
            "machine" => self.machine?,
            "host" => self.host,
            "provider" => self.provider,
            "fleet" => self.fleet,
            "plan" => self.plan,
            "item" => self.item?,
            _ => return None,
        };
        Some(CowVal::Borrowed(value))
    }
}
