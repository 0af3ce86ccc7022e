//! Mistakes in what people wrote: spans, messages and the way out, for terminals and for machines.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file that was read, kept so that a message can show the line it speaks of.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The path as it is shown, relative to where the command ran if it lies below.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A range of bytes in one [`SourceText`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: Arc<SourceText>,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A value together with where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

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
