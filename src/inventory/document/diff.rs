//! What changed between two documents of a machine.

use std::collections::BTreeMap;

use crate::inventory::model::{Branch, Content, Document, Section as _};

/// A fact that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The fact: `storage.disk[sda].size`.
    pub fact: String,
    /// What the old document says.
    pub old: Option<String>,
    /// What the new document says.
    pub new: Option<String>,
}

/// The facts that differ, in order of their names. Who observed them, and curves, are no facts of the machine.
pub fn diff(old: &Document, new: &Document) -> Vec<Change> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    flatten(&old.facts.branches(), "", &mut before);
    flatten(&new.facts.branches(), "", &mut after);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change { fact: name.clone(), old: before.get(name).cloned(), new: after.get(name).cloned() })
        .collect()
}

fn flatten(branches: &[Branch], prefix: &str, out: &mut BTreeMap<String, String>) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for branch in branches.iter().filter(|branch| branch.element != "series") {
        let name = match prefix.is_empty() {
            true => branch.element.clone(),
            false => format!("{prefix}.{}", branch.element),
        };
        match &branch.content {
            // Several values of one kind are one fact: their order says nothing.
            Content::Value(text, _) => match out.get_mut(&name) {
                Some(known) => {
                    let mut all: Vec<&str> = known.split(", ").chain([text.as_str()]).collect();
                    all.sort_unstable();
                    *known = all.join(", ");
                }
                None => _ = out.insert(name, text.clone()),
            },
            Content::Section(inner, key) => {
                let one_of_many = key.is_some() || branches.iter().filter(|b| b.element == branch.element).count() > 1;
                let path = match key {
                    Some(key) => format!("{name}[{key}]"),
                    None if one_of_many => {
                        let at = seen.entry(name.clone()).or_default();
                        *at += 1;
                        format!("{name}[{}]", *at)
                    }
                    None => name,
                };
                flatten(inner, &path, out);
            }
        }
    }
}
