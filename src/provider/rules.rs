//! The content of a `rules.yaml`: what must hold, as data. Expressions are text here; `assess` compiles them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Severity;

/// Longest `rules.yaml` that is read.
const MAX_FILE: usize = 1 << 20;

/// A file of rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    /// Version of this format: 1.
    rules: u32,
    /// The rules.
    list: Vec<RuleSpec>,
}

/// A rule: an expression that is true where something is wrong, and what to say about it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Its name, unique among all rules: `[a-z0-9-]+`.
    pub id: String,
    /// How bad a violation is.
    pub severity: Severity,
    /// What it is asked of.
    #[serde(default)]
    pub scope: RuleScope,
    /// The section of the validation report that it belongs to.
    #[serde(default)]
    pub section: Section,
    /// A list; the rule is asked of each of its items, as `item`.
    #[serde(default)]
    pub each: Option<String>,
    /// Where false, the rule does not apply.
    #[serde(default)]
    pub when: Option<String>,
    /// True where something is wrong.
    pub violated: String,
    /// What is wrong, in a line; `{expression}` is replaced by its value.
    pub message: String,
    /// The way out, in the same form.
    pub help: String,
    /// The value of the plan that a message points at.
    #[serde(default)]
    pub at: RulePlace,
}

/// What a rule is asked of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleScope {
    /// Every machine.
    #[default]
    Machine,
    /// Every host that a machine is deployed to.
    Host,
}

/// The value of the plan that a message points at; the machine's or host's name where that value is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RulePlace {
    /// The name.
    #[default]
    Name,
    /// `target.memory`
    Memory,
    /// `target.cpus`
    Cpus,
    /// `target.network`
    Network,
    /// `target.host`
    Host,
    /// The path of the source disk that `item.index` counts, or of the first one.
    Disk,
}

/// The sections of the validation report, in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The machine itself: memory, processors, firmware, operating system.
    #[default]
    System,
    /// Adapters, addresses, networks.
    Network,
    /// Controllers and buses.
    Storage,
    /// Disks, with their partitions and what can be captured of them.
    Disks,
    /// USB, FireWire, video, audio, optical: what a virtual machine has no place for.
    Devices,
    /// Services, drivers, auto-run programs, applications.
    Software,
    /// Key system files and updates.
    SystemFiles,
    /// Where it will run.
    Target,
    /// The way there: agent, boot, clock, certificates, store.
    Migration,
}

impl Section {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 9] = [
        Self::System,
        Self::Network,
        Self::Storage,
        Self::Disks,
        Self::Devices,
        Self::Software,
        Self::SystemFiles,
        Self::Target,
        Self::Migration,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Network => "Network",
            Self::Storage => "Storage controllers",
            Self::Disks => "Disks",
            Self::Devices => "Other devices",
            Self::Software => "Services, drivers and programs",
            Self::SystemFiles => "System files and updates",
            Self::Target => "Target",
            Self::Migration => "Migration",
        }
    }
}

/// Reads a file's text; the error says what is wrong, with line and column where known.
pub fn parse_rules(text: &str) -> Result<Vec<RuleSpec>, String> {
    if text.len() > MAX_FILE {
        return Err(format!("{} bytes are more than a file of rules may have ({MAX_FILE})", text.len()));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 100_000, max_events: 300_000, max_depth: 16, },
        with_snippet: false,
    };
    let file: RuleFile = serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())?;
    if file.rules != 1 {
        return Err(format!("format {} is not known to this version; 1 is", file.rules));
    }
    let mut seen = BTreeMap::new();
    for rule in &file.list {
        let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if rule.id.is_empty() || rule.id.len() > 80 || !rule.id.bytes().all(name) {
            return Err(format!("`{}` cannot be the id of a rule: lower case letters, digits and `-`", rule.id));
        }
        if seen.insert(rule.id.as_str(), ()).is_some() {
            return Err(format!("two rules have the id `{}`", rule.id));
        }
    }
    Ok(file.list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "rules: 1\nlist:\n  - { id: a, severity: error, violated: 'true', message: m, help: h }\n";

    #[test]
    fn a_rule_needs_little_and_mistakes_are_named() {
        let rules = parse_rules(ONE).unwrap();
        assert_eq!((rules[0].scope, rules[0].at, rules[0].section), <_>::default());
        for (from, to, needle) in [
            ("severity: error", "severity: fatal", "fatal"),
            ("id: a", "id: A b", "lower case"),
            ("help: h", "halp: h", "halp"),
            ("rules: 1", "rules: 2", "format 2"),
            ("message: m,", "", "message"),
        ] {
            let error = parse_rules(&ONE.replace(from, to)).unwrap_err();
            assert!(error.contains(needle), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), cut in 0..ONE.len(), junk in "[ -~\\n]{0,40}") {
            let _ = parse_rules(&text);
            let _ = parse_rules(&format!("{}{junk}{}", &ONE[..cut], &ONE[cut..]));
        }
    }
}
