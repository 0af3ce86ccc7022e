//! What shall be in a hive: keys and values over what is there, as a script for `hivexsh`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::hive::folded;
use super::{Hive, HiveError, RegValue};

/// A key as it shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// Its path from the root.
    pub path: String,
    /// Whether it is there already.
    pub existed: bool,
    /// All its values.
    pub values: Vec<(String, RegValue)>,
    /// Whether the values differ from what is there.
    pub changed: bool,
}

/// Why a draft cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// `hivexsh` reads names line by line, in ASCII.
    #[error("`{name}` of the key `{key}` cannot be given to hivexsh: names must be printable ASCII there")]
    Name {
        /// The key.
        key: String,
        /// The name.
        name: String,
    },
}

/// Changes to a hive. What is there already is no change.
#[derive(Clone, Debug)]
pub struct HiveDraft<'h> {
    hive: &'h Hive,
    keys: BTreeMap<String, KeyState>,
}

impl<'h> HiveDraft<'h> {
    /// No change yet.
    pub fn new(hive: &'h Hive) -> Self {
        Self { hive, keys: BTreeMap::new() }
    }

    /// The hive without the changes.
    pub fn hive(&self) -> &'h Hive {
        self.hive
    }

    /// Every key that is made or changed, by its path in capitals.
    pub fn keys(&self) -> &BTreeMap<String, KeyState> {
        &self.keys
    }

    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.keys.values().all(|key| key.existed && !key.changed)
    }

    /// A value as it shall be.
    pub fn value(&self, path: &str, name: &str) -> Result<Option<RegValue>, HiveError> {
        match self.keys.get(&folded(path)) {
            Some(key) => {
                Ok(key.values.iter().find(|(own, _)| folded(own) == folded(name)).map(|(_, value)| value.clone()))
            }
            None => self.hive.value(path, name),
        }
    }

    /// Whether the key is there, or shall be.
    pub fn has_key(&self, path: &str) -> Result<bool, HiveError> {
        Ok(self.keys.contains_key(&folded(path)) || self.hive.key(path)?.is_some())
    }

    /// Makes the key, and those above it. Returns whether it was missing.
    pub fn create(&mut self, path: &str) -> Result<bool, HiveError> {
        let missing = !self.has_key(path)?;
        self.key(path)?;
        Ok(missing)
    }

    /// Sets a value, making its key. `Some` holds what was there; `None` says that it is so already.
    pub fn set(&mut self, path: &str, name: &str, value: RegValue) -> Result<Option<Option<RegValue>>, HiveError> {
        let before = self.value(path, name)?;
        if before.as_ref() == Some(&value) {
            return Ok(None);
        }
        let key = self.key(path)?;
        key.changed = true;
        match key.values.iter_mut().find(|(own, _)| folded(own) == folded(name)) {
            Some((_, old)) => *old = value,
            None => key.values.push((name.to_owned(), value)),
        }
        Ok(Some(before))
    }

    /// The commands that make it so.
    pub fn script(&self) -> Result<String, ScriptError> {
        let mut script = String::new();
        for key in self.keys.values().filter(|key| !key.existed || key.changed) {
            printable(&key.path, &key.path)?;
            let (parent, name) = key.path.rsplit_once('\\').unwrap_or(("", &key.path));
            if key.existed {
                line(&mut script, format_args!("cd \\{} ", key.path));
            } else {
                line(&mut script, format_args!("cd \\{parent} "));
                line(&mut script, format_args!("add {name}"));
                line(&mut script, format_args!("cd {name}"));
            }
            if !key.changed {
                continue;
            }
            line(&mut script, format_args!("setval {}", key.values.len()));
            for (name, value) in &key.values {
                printable(&key.path, name)?;
                line(&mut script, format_args!("{}", if name.is_empty() { "@" } else { name }));
                let bytes: Vec<String> = value.data.iter().map(|byte| format!("{byte:02x}")).collect();
                line(&mut script, format_args!("hex:{}:{}", value.kind, bytes.join(",")));
            }
        }
        script.push_str("commit\n");
        Ok(script)
    }

    fn key(&mut self, path: &str) -> Result<&mut KeyState, HiveError> {
        for (at, _) in path.match_indices('\\') {
            if self.hive.key(&path[..at])?.is_none() {
                self.keys.entry(folded(&path[..at])).or_insert_with(|| KeyState::missing(&path[..at]));
            }
        }
        let old = match self.hive.key(path)? {
            Some(key) => KeyState { path: path.to_owned(), existed: true, values: key.values()?, changed: false },
            None => KeyState::missing(path),
        };
        Ok(self.keys.entry(folded(path)).or_insert(old))
    }
}

impl KeyState {
    fn missing(path: &str) -> Self {
        Self { path: path.to_owned(), existed: false, values: Vec::new(), changed: false }
    }
}

fn line(script: &mut String, text: std::fmt::Arguments<'_>) {
    script.write_fmt(text).expect("a String takes everything");
    script.push('\n');
}

fn printable(key: &str, name: &str) -> Result<(), ScriptError> {
    let fits = name.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && name.trim() == name && name != "@";
    if fits { Ok(()) } else { Err(ScriptError::Name { key: key.to_owned(), name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::super::hive::tests::empty_hive;
    use super::*;

    #[test]
    fn parents_come_first_and_what_is_so_is_no_change() {
        let hive = Hive::parse(empty_hive()).unwrap();
        let mut draft = HiveDraft::new(&hive);
        assert!(draft.is_empty());
        assert_eq!(draft.set("Services\\viostor", "Start", RegValue::number(0)).unwrap(), Some(None));
        assert_eq!(draft.set("services\\VIOSTOR", "start", RegValue::number(0)).unwrap(), None);
        assert!(draft.create("Services\\viostor\\Parameters").unwrap());
        let script = draft.script().unwrap();
        let expected = "cd \\ \nadd Services\ncd Services\ncd \\Services \nadd viostor\ncd viostor\nsetval 1\nStart\n\
                        hex:4:00,00,00,00\ncd \\Services\\viostor \nadd Parameters\ncd Parameters\ncommit\n";
        assert_eq!(script, expected);
    }

    #[test]
    fn names_that_hivexsh_cannot_read_are_refused() {
        let hive = Hive::parse(empty_hive()).unwrap();
        for name in ["a\nb", "Zürich", " a", "@"] {
            let mut draft = HiveDraft::new(&hive);
            draft.set("Key", name, RegValue::number(1)).unwrap();
            assert!(draft.script().unwrap_err().to_string().contains("hivexsh"));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_and_value_is_a_script_or_a_refusal(path in "[ -~\u{e9}\n]{1,20}", name in "\\PC{0,9}", kind: u32, data in proptest::collection::vec(0u8.., 0..30)) {
            let hive = Hive::parse(empty_hive()).unwrap();
            let mut draft = HiveDraft::new(&hive);
            draft.set(&path, &name, RegValue { kind, data }).unwrap();
            if let Ok(script) = draft.script() {
                proptest::prop_assert!(script.ends_with("commit\n"));
                proptest::prop_assert!(script.lines().count() >= 5);
            }
        }
    }
}
