//! The name of a task, stable from plan to journal: `MACHINE/PHASE[/ITEM]`, `host:NAME/...` for work shared by
//! machines, `patch:KEY` for work in the patch cache.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A task's address, unique in a graph; it keeps its meaning from run to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(Arc<str>);

impl Address {
    /// Wraps a text that is an address already, such as one read back from the journal.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// `SCOPE/REST`.
    pub fn within(scope: &str, rest: &str) -> Self {
        Self(format!("{scope}/{rest}").into())
    }

    /// The unit that is locked, unwound and reported together: a machine's name, `host:NAME` or `patch:KEY`.
    pub fn scope(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(scope, _)| scope)
    }

    /// Whether the scope is a machine (and not a host or the patch cache).
    pub fn is_machine(&self) -> bool {
        !self.scope().contains(':')
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `glob` names it: `*` stands for any text (also `/`), a glob without `/` names a whole scope.
    pub fn matches(&self, glob: &str) -> bool {
        let subject = if glob.contains('/') { self.as_str() } else { self.scope() };
        glob_matches(glob, subject)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `glob`, with `*` for any text and `?` for one character, matches the whole of `text`.
pub fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match glob.get(g) {
            Some('*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                g += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_name_scopes_or_whole_addresses() {
        let address = Address::within("web01", "capture/disk0");
        assert!(address.matches("web*"));
        assert!(address.matches("web01/capture*"));
        assert!(address.matches("*/capture/disk?"));
        assert!(!address.matches("web01/capture"));
        assert!(!address.matches("db*"));
        assert!(glob_matches("a*b*c", "aXbYbZc") && !glob_matches("a*b*c", "aXbYbZ"));
    }
}
