//! Diagnostics for programs: `--json`, editors, CI.

use serde::Serialize;

use super::{Diagnostic, LineIndexes, Severity, Span};

/// Longest source line that is passed on.
const LINE_LIMIT: usize = 400;

/// A diagnostic with every place spelled out. Lines and columns count from 1, columns in characters; `end_column` is
/// one past the last character.
#[derive(Debug, Serialize)]
pub struct DiagnosticRecord<'a> {
    /// Always `diagnostic`.
    pub r#type: &'static str,
    /// The stable name.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: &'a str,
    /// The place of the mistake; absent only if no file is at fault.
    #[serde(flatten)]
    pub place: Option<PlaceRecord<'a>>,
    /// Further places that explain it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<PlaceRecord<'a>>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'a str>,
}

/// A range in a file.
#[derive(Debug, Serialize)]
pub struct PlaceRecord<'a> {
    /// The file.
    pub file: &'a str,
    /// First line.
    pub line: usize,
    /// First character.
    pub column: usize,
    /// Last line.
    pub end_line: usize,
    /// One past the last character.
    pub end_column: usize,
    /// The text of the first line, cut if it is very long.
    pub source_line: &'a str,
    /// What is to be seen there.
    pub label: &'a str,
}

impl<'a> DiagnosticRecord<'a> {
    /// Spells out one diagnostic; `indexes` is shared by all of a run.
    pub fn new(diagnostic: &'a Diagnostic, indexes: &mut LineIndexes) -> Self {
        let mut places = diagnostic.labels.iter().map(|label| PlaceRecord::new(&label.span, &label.text, indexes));
        Self {
            r#type: "diagnostic",
            code: diagnostic.code,
            severity: diagnostic.severity,
            message: &diagnostic.message,
            place: places.next(),
            related: places.collect(),
            help: diagnostic.help.as_deref(),
        }
    }
}

impl<'a> PlaceRecord<'a> {
    fn new(span: &'a Span, label: &'a str, indexes: &mut LineIndexes) -> Self {
        let index = indexes.of(&span.source);
        let start = index.position(&span.source, span.start);
        let end = index.position(&span.source, span.end.max(span.start));
        let line = &span.source.text[index.bytes_of(&span.source, start.line - 1, start.line - 1)];
        let cut = super::lines::floor_boundary(line, LINE_LIMIT);
        Self {
            file: &span.source.path,
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            source_line: &line[..cut],
            label,
        }
    }
}
