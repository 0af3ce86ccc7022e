//! What is wrong with a file, where, and the way out.

use std::fmt;

use crate::diagnostic::Diagnostic;

/// A flaw of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError {
    /// The file as it was named.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What is wrong, with the value.
    pub message: String,
    /// The way out.
    pub help: String,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A line, from 1.
    Line(usize),
    /// A row of a sheet, from 1, and a column by its name.
    Cell {
        /// The sheet.
        sheet: String,
        /// The row.
        row: usize,
        /// The column.
        column: String,
    },
    /// A sheet as a whole.
    Sheet(String),
    /// An element or key by its path.
    Path(String),
}

impl ImportError {
    /// A flaw.
    pub fn new(file: &str, place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { file: file.to_owned(), place, message: message.into(), help: help.into() }
    }

    /// The flaw for people and programs.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error("import.refused", self.to_string()).help(self.help.clone())
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, message, .. } = self;
        match place {
            Place::File => write!(f, "{file}: {message}"),
            Place::Line(line) => write!(f, "{file}:{line}: {message}"),
            Place::Cell { sheet, row, column } => {
                write!(f, "{file}, sheet `{sheet}`, row {row}, column `{column}`: {message}")
            }
            Place::Sheet(sheet) => write!(f, "{file}, sheet `{sheet}`: {message}"),
            Place::Path(path) => write!(f, "{file}, `{path}`: {message}"),
        }
    }
}

impl std::error::Error for ImportError {}

/// A value as a message shows it: one line, not too long.
pub(in crate::inventory) fn shown(value: &str) -> String {
    let short: String = value.chars().take(60).collect();
    let dots = if short.len() < value.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
