//! `guest.run`: the user's own scripts. They are read with the plan, so that what is reviewed is what runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::access::At;
use super::store::absolute;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::guest::UserScript;
use crate::plan::{GuestScript, ScriptTime};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest script: it becomes part of each machine's sequence.
const SIZE_LIMIT: u64 = 256 << 10;

/// Scripts that were read, or why they could not be; machines share them.
#[derive(Debug, Default)]
pub(super) struct ScriptFiles(RefCell<HashMap<Utf8PathBuf, Result<Arc<str>, String>>>);

impl ScriptFiles {
    fn read(&self, path: &Utf8Path) -> Result<Arc<str>, String> {
        self.0.borrow_mut().entry(path.to_owned()).or_insert_with(|| read(path)).clone()
    }
}

fn read(path: &Utf8Path) -> Result<Arc<str>, String> {
    let len = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if len > SIZE_LIMIT {
        return Err(format!("has {len} bytes, and a script may have {SIZE_LIMIT}"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        Some(c) => Err(format!("holds the control character U+{:04X}", u32::from(c))),
        None => Ok(text.into()),
    }
}

/// The scripts that are declared; what cannot be used is reported.
pub(super) fn scripts(
    written: Option<At<'_>>,
    folder: &Utf8Path,
    files: &ScriptFiles,
    found: &mut Diagnostics,
) -> Vec<GuestScript> {
    let mut scripts: Vec<GuestScript> = Vec::new();
    for at in written.into_iter().flat_map(At::items) {
        let Some(file) = at.get("script") else { continue };
        let (Some(path), Some(when)) = (file.text(), at.get("when").and_then(At::choice)) else { continue };
        match script(folder, path, when, files) {
            Ok(script) if scripts.iter().any(|other| other.when == when && other.script.name == script.name) => {
                found.push(refused(file, format!("two scripts of this time are called `{}`", script.name)));
            }
            Ok(script) => {
                let timeout = at.get("timeout").and_then(At::duration).unwrap_or(DEFAULT_TIMEOUT);
                scripts.push(GuestScript { when, script: UserScript { timeout, ..script } });
            }
            Err(message) => found.push(refused(file, message)),
        }
    }
    scripts
}

fn script(folder: &Utf8Path, written: &str, when: ScriptTime, files: &ScriptFiles) -> Result<UserScript, String> {
    let name = Utf8Path::new(written).file_name().unwrap_or_default();
    if !UserScript::is_name(name) {
        return Err(format!("`{name}` is no name for a script: it takes letters, digits, `.`, `_` and `-`"));
    }
    let text = files.read(&absolute(folder, written)).map_err(|why| format!("`{written}` {why}"))?;
    let script = UserScript { name: name.to_owned(), text: text.to_string(), timeout: DEFAULT_TIMEOUT };
    match script.is_for_windows() {
        true if when != ScriptTime::FirstBoot => {
            Err(format!("`{name}` is for Windows, which runs scripts at its first boot only: write `when: first-boot`"))
        }
        false if !text.starts_with("#!") => Err(format!(
            "`{written}` does not begin with `#!` and the program that runs it; scripts for Windows end with .ps1, .cmd or .bat"
        )),
        false if text.contains('\r') => {
            Err(format!("`{written}` has line ends of Windows, which no shell of Linux takes"))
        }
        _ => Ok(script),
    }
}

fn refused(at: At<'_>, message: String) -> Diagnostic {
    Diagnostic::error("plan.value", "a script of `guest.run` cannot be used")
        .at(at.span(), message)
        .help("write `{ when: after, script: fix.sh }`, with a path relative to the first plan file")
}
