//! One mistake.

use serde::{Deserialize, Serialize};

use super::Span;

/// How bad it is: an error refuses the plan, a warning is shown, advice is shown last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The plan is refused.
    Error,
    /// Shown; the plan goes on.
    Warning,
    /// Good practice.
    Advice,
}

/// A range with a remark; the first label of a diagnostic is the place of the mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is to be seen there; may be empty.
    pub text: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable name such as `plan.unknown-key`, for `--json` and the docs.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with the values.
    pub message: String,
    /// Where; empty only if no file is at fault.
    pub labels: Vec<Label>,
    /// The way out.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A mistake that refuses the plan.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), labels: Vec::new(), help: None }
    }

    /// Something that is shown while the plan goes on.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Good practice.
    pub fn advice(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Advice, ..Self::error(code, message) }
    }

    /// Adds a place; the first one is the place of the mistake.
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Sets the way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets the way out, if there is one.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}
