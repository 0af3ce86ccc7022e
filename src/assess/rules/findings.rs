//! What a run of the rules found.

use std::fmt;
use std::sync::Arc;

use super::set::Rule;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, Span};

/// Whom a rule was asked of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A machine.
    Machine(Arc<str>),
    /// A host.
    Host(Arc<str>),
}

impl Subject {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Machine(name) | Self::Host(name) => name,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(name) => f.write_str(name),
            Self::Host(name) => write!(f, "host:{name}"),
        }
    }
}

/// A rule that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Arc<Rule>,
    /// For whom.
    pub subject: Subject,
    /// What is wrong.
    pub message: String,
    /// The way out.
    pub help: String,
    /// The value of the plan that it is about.
    pub span: Span,
}

/// A violation that the plan accepts.
#[derive(Clone, Debug)]
pub struct Silenced {
    /// The violation.
    pub violation: Violation,
    /// Why it is accepted.
    pub reason: String,
}

/// A rule that could not be checked for want of a fact.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The fact.
    pub fact: String,
    /// For whom.
    pub subjects: Vec<Subject>,
}

/// What a run of the rules found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Rules that were asked.
    pub rules: usize,
    /// Machines that were asked.
    pub machines: usize,
    /// What does not hold, in plan order.
    pub violations: Vec<Violation>,
    /// What does not hold and is accepted.
    pub silenced: Vec<Silenced>,
    /// What could not be checked for want of a fact, by rule.
    pub unknown: Vec<Unknown>,
    /// What could not be evaluated at all, as diagnostics.
    pub broken: Vec<Diagnostic>,
    /// Silences that silenced nothing, as diagnostics.
    pub idle: Vec<Diagnostic>,
}

impl Violation {
    /// As a diagnostic.
    pub fn diagnostic(&self) -> Diagnostic {
        let message = match &self.subject {
            Subject::Machine(name) => format!("`{name}`: {}", self.message),
            Subject::Host(_) => self.message.clone(),
        };
        let severity = self.rule.spec.severity;
        let diagnostic = Diagnostic { severity, ..Diagnostic::error(self.rule.code, message) };
        diagnostic.at(self.span.clone(), "").help(self.help.clone())
    }
}

impl Findings {
    /// How many violations there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.violations.iter().filter(|violation| violation.rule.spec.severity == severity).count()
    }

    /// Violations rule by rule, errors first, then by number.
    pub fn by_rule(&self) -> Vec<(&Arc<Rule>, Vec<&Violation>)> {
        let mut groups: Vec<(&Arc<Rule>, Vec<&Violation>)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for violation in &self.violations {
            let place = *places.entry(violation.rule.code).or_insert(groups.len());
            match groups.get_mut(place) {
                Some((_, list)) => list.push(violation),
                None => groups.push((&violation.rule, vec![violation])),
            }
        }
        groups.sort_by_key(|(rule, list)| (rule.spec.severity, std::cmp::Reverse(list.len()), rule.code));
        groups
    }

    /// Everything as diagnostics. Of a rule that many violate, `most` are spelled out and one more counts the rest.
    pub fn diagnostics(&self, most: usize) -> Diagnostics {
        let mut found = Diagnostics::new();
        for (rule, list) in self.by_rule() {
            found.extend(list.iter().take(most).map(|violation| violation.diagnostic()));
            let Some(rest) = list.get(most..).filter(|rest| !rest.is_empty()) else { continue };
            let names: Vec<&str> = rest.iter().take(3).map(|violation| violation.subject.name()).collect();
            let dots = if rest.len() > names.len() { ", ..." } else { "" };
            let message = format!(
                "rule `{}`: {} more like these, {} in all: {}{dots}",
                rule.spec.id,
                rest.len(),
                list.len(),
                names.join(", ")
            );
            let more = Diagnostic { severity: rule.spec.severity, ..Diagnostic::error(rule.code, message) };
            found.push(more.at(rest[0].span.clone(), "the next one").help("`replant validate --json` lists all"));
        }
        found.extend(self.broken.iter().cloned());
        found.extend(self.idle.iter().cloned());
        found.finish()
    }

    /// How many checks could not be made for want of a fact.
    pub fn unchecked(&self) -> usize {
        self.unknown.iter().map(|unknown| unknown.subjects.len()).sum()
    }
}
