//! Whether a changed hive is the old one with the wanted changes, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use super::hive::folded;
use super::{Hive, HiveDraft, HiveError, Key, KeyState, RegValue};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.what)
    }
}

/// Compares every key of both hives; returns what the draft does not explain.
pub fn unexpected_differences(draft: &HiveDraft<'_>, after: &Hive) -> Result<Vec<Difference>, HiveError> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), Some(draft.hive().root()), Some(after.root()))];
    // Every key is one cell: more keys than a hive can have cells are a circle.
    let mut left: usize = 50_000_000;
    while let Some((path, before, now)) = open.pop() {
        left = left.checked_sub(1).ok_or(HiveError::Damaged { what: "keys without end", offset: 0 })?;
        let wanted = draft.keys().get(&folded(&path));
        if let Some(what) = compare(before.as_ref(), now.as_ref(), wanted)? {
            found.push(Difference { key: path, what });
            continue;
        }
        let mut names = by_name(before.as_ref())?;
        for (name, key) in by_name(now.as_ref())? {
            match names.remove(&name) {
                Some(old) => open.push((join(&path, &key.name()), Some(old), Some(key))),
                None => open.push((join(&path, &key.name()), None, Some(key))),
            }
        }
        open.extend(names.into_values().map(|old| (join(&path, &old.name()), Some(old), None)));
    }
    for key in draft.keys().values() {
        if after.key(&key.path)?.is_none() {
            found.push(Difference { key: key.path.clone(), what: "was not made" });
        }
    }
    Ok(found)
}

fn compare(
    before: Option<&Key<'_>>,
    now: Option<&Key<'_>>,
    wanted: Option<&KeyState>,
) -> Result<Option<&'static str>, HiveError> {
    let (before, now) = match (before, now) {
        (_, None) => return Ok(Some("is gone")),
        (None, Some(_)) if wanted.is_none() => return Ok(Some("appeared unasked")),
        (before, Some(now)) => (before, now),
    };
    let values = sorted(now.values()?);
    let expected = match (wanted, before) {
        (Some(wanted), _) => sorted(wanted.values.clone()),
        (None, Some(before)) => sorted(before.values()?),
        (None, None) => return Ok(Some("appeared unasked")),
    };
    if values != expected {
        return Ok(Some(if wanted.is_some() { "has not the values that were wanted" } else { "has other values" }));
    }
    let Some(before) = before else { return Ok(None) };
    if before.name() != now.name() {
        return Ok(Some("has another name"));
    }
    if before.security()? != now.security()? {
        return Ok(Some("has another security descriptor"));
    }
    Ok((before.class()? != now.class()?).then_some("has another class"))
}

fn sorted(values: Vec<(String, RegValue)>) -> Vec<(String, RegValue)> {
    let mut values = values;
    values.sort_by(|one, other| one.0.cmp(&other.0));
    values
}

fn by_name<'h>(key: Option<&Key<'h>>) -> Result<BTreeMap<String, Key<'h>>, HiveError> {
    let Some(key) = key else { return Ok(BTreeMap::new()) };
    Ok(key.subkeys()?.into_iter().map(|key| (folded(&key.name()), key)).collect())
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}\\{name}") }
}
