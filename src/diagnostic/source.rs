//! Files that were read, and places in them.

use std::fmt;
use std::sync::Arc;

/// A file that was read, kept so that a message can show the line it speaks of.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// The path as it is shown, relative to where the command ran if it lies below.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// A range of bytes in one [`SourceText`].
#[derive(Clone, PartialEq, Eq)]
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

impl Span {
    /// The bytes `start..end` of `source`.
    pub fn new(source: &Arc<SourceText>, start: usize, end: usize) -> Self {
        Self { source: Arc::clone(source), start, end }
    }

    /// The text that it covers; empty if the range is not one of the text.
    pub fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or_default()
    }
}

/// The place alone: a whole plan file in a debug print helps nobody.
impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.source.path, self.start, self.end)
    }
}

impl<T> Spanned<T> {
    /// `value`, written at `span`.
    pub fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}
