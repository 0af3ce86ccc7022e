//! The scripts that look at a running machine, and what they print.

use jiff::Timestamp;

use super::detect::FileKind;
use super::error::ImportError;
use super::{linux, windows};
use crate::inventory::model::Facts;

/// A script for a kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptKind {
    /// For any POSIX shell.
    Linux,
    /// For PowerShell 3 or newer.
    Windows,
}

/// The script: it reads only, and prints what `parse_output` understands.
pub fn script(kind: ScriptKind) -> &'static str {
    match kind {
        ScriptKind::Linux => include_str!("linux.sh"),
        ScriptKind::Windows => include_str!("windows.ps1"),
    }
}

/// Reads what a script printed: the machine's name, its facts, and when it ran.
pub fn parse_output(
    file: &str,
    kind: FileKind,
    text: &str,
) -> Result<(String, Facts, Option<Timestamp>), Vec<ImportError>> {
    match kind {
        FileKind::Windows => windows::read(file, text),
        _ => linux::read(file, text),
    }
}
