//! Every mistake of one run, never only the first.

use super::{Diagnostic, Severity};

/// A collection of diagnostics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether one of them refuses the plan.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|one| one.severity == Severity::Error)
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|one| one.severity == severity).count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// All of them, as a slice.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// Sorts by place (first those without one) and drops repetitions: a mistake inside an anchor is reported once,
    /// however often the anchor is used.
    pub fn finish(mut self) -> Self {
        self.list.sort_by(|a, b| place(a).cmp(&place(b)).then_with(|| a.code.cmp(b.code)));
        self.list.dedup_by(|later, first| {
            later.code == first.code && later.message == first.message && place(later) == place(first)
        });
        self
    }

    /// `value` with the warnings, or everything if one of them is an error.
    pub fn into_result<T>(self, value: Option<T>) -> Result<(T, Self), Self> {
        let finished = self.finish();
        match value {
            Some(value) if !finished.has_errors() => Ok((value, finished)),
            _ => Err(finished),
        }
    }
}

/// File and range of the mistake itself.
fn place(diagnostic: &Diagnostic) -> Option<(&str, usize, usize)> {
    diagnostic.labels.first().map(|label| (label.span.source.path.as_str(), label.span.start, label.span.end))
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self { list: vec![one] }
    }
}

impl From<Vec<Diagnostic>> for Diagnostics {
    fn from(list: Vec<Diagnostic>) -> Self {
        Self { list }
    }
}

impl From<Diagnostics> for Vec<Diagnostic> {
    fn from(all: Diagnostics) -> Self {
        all.list
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.list.extend(more);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
