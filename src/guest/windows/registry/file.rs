//! A hive on disk: backed up, changed in a copy, judged, then put in place.
//!
//! ```text
//! HIVE -> HIVE.replant-before      once; what it was
//!      -> HIVE.replant-new         changed by hivexsh, read back, compared with HIVE
//!      -> HIVE.replant-ready       (renamed) good: from here on the change goes forward, also after a power cut
//!      -> HIVE                     written in place, so that its name, owner and permissions stay; read back
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::security;
use super::{Hive, HiveDraft, HiveError, ScriptError, unexpected_differences};

/// Why a hive cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum HiveFileError {
    /// The file cannot be read or written.
    #[error("{path} cannot be {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is no hive, or damaged.
    #[error("{path} cannot be understood")]
    Hive {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: HiveError,
    },
    /// The last session of Windows did not write everything.
    #[error(
        "{path} has changes that Windows has not yet written into it: start the source once more and shut it down with `shutdown /s /t 0`, then capture it again"
    )]
    Dirty {
        /// The file.
        path: PathBuf,
    },
    /// A name cannot be written.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The tool is missing.
    #[error("`hivexsh` cannot be run: install the Debian package libhivex-bin, or build the agent again")]
    NoTool(#[source] io::Error),
    /// The tool refused.
    #[error("hivexsh could not change {path}: {message}")]
    Tool {
        /// The file.
        path: PathBuf,
        /// What it said.
        message: String,
    },
    /// The changed copy is not what was wanted. The hive is as it was.
    #[error("the changed copy of {path} is not what was wanted, and the hive is left as it was: {differences}")]
    Verify {
        /// The file.
        path: PathBuf,
        /// What differs.
        differences: String,
    },
}

/// What `apply` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiveOutcome {
    /// Nothing was to be done.
    Unchanged,
    /// The hive is changed.
    Changed,
}

/// A hive on disk.
#[derive(Clone, Debug)]
pub struct HiveFile {
    path: PathBuf,
}

impl HiveFile {
    /// The hive at `path`. A change that a power cut interrupted is completed first.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, HiveFileError> {
        let file = Self { path: path.into() };
        let ready = file.beside("ready");
        if ready.exists() {
            file.put_in_place(&ready)?;
        }
        let _ = fs::remove_file(file.beside("new"));
        Ok(file)
    }

    /// The hive's content.
    pub fn read(&self) -> Result<Hive, HiveFileError> {
        let bytes = fs::read(&self.path).map_err(self.io("read", &self.path))?;
        let hive = Hive::parse(bytes).map_err(|error| self.not_understood(error))?;
        if hive.is_clean() { Ok(hive) } else { Err(HiveFileError::Dirty { path: self.path.clone() }) }
    }

    /// Where the content from before the first change is kept.
    pub fn backup(&self) -> PathBuf {
        self.beside("before")
    }

    /// Makes the hive what the draft says.
    pub fn apply(&self, draft: &HiveDraft<'_>) -> Result<HiveOutcome, HiveFileError> {
        if draft.is_empty() {
            return Ok(HiveOutcome::Unchanged);
        }
        let script = draft.script()?;
        let (backup, new, ready) = (self.backup(), self.beside("new"), self.beside("ready"));
        if !backup.exists() {
            self.copy(&new)?;
            fs::rename(&new, &backup).map_err(self.io("written", &backup))?;
        }
        self.copy(&new)?;
        self.edit(&new, &script)?;
        let bytes = fs::read(&new).map_err(self.io("read", &new))?;
        let changed = Hive::parse(bytes).map_err(|error| self.not_understood(error))?;
        let differences = unexpected_differences(draft, &changed).map_err(|error| self.not_understood(error))?;
        if !differences.is_empty() || !changed.is_clean() {
            let shown: Vec<String> = differences.iter().take(5).map(ToString::to_string).collect();
            return Err(HiveFileError::Verify { path: self.path.clone(), differences: shown.join("; ") });
        }
        File::open(&new).and_then(|file| file.sync_all()).map_err(self.io("written", &new))?;
        fs::rename(&new, &ready).map_err(self.io("written", &ready))?;
        self.put_in_place(&ready)?;
        Ok(HiveOutcome::Changed)
    }

    fn edit(&self, copy: &Path, script: &str) -> Result<(), HiveFileError> {
        let mut file = tempfile::NamedTempFile::new().map_err(self.io("read", Path::new("a temporary file")))?;
        file.write_all(script.as_bytes()).map_err(self.io("written", file.path()))?;
        let output = Command::new("hivexsh")
            .args(["-w", "-f"])
            .arg(file.path())
            .arg(copy)
            .stdin(Stdio::null())
            .env("LC_ALL", "C")
            .output()
            .map_err(HiveFileError::NoTool)?;
        if output.status.success() && output.stderr.is_empty() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(HiveFileError::Tool { path: self.path.clone(), message })
    }

    fn copy(&self, to: &Path) -> Result<(), HiveFileError> {
        fs::copy(&self.path, to).map_err(self.io("copied", &self.path))?;
        // A hive must not become readable for more people by being copied.
        security::copy(&self.path, to).map_err(self.io("protected", to))?;
        File::open(to).and_then(|file| file.sync_all()).map_err(self.io("written", to))
    }

    fn put_in_place(&self, ready: &Path) -> Result<(), HiveFileError> {
        let bytes = fs::read(ready).map_err(self.io("read", ready))?;
        Hive::parse(bytes.clone()).map_err(|error| self.not_understood(error))?;
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.write_all(&bytes)?;
            file.set_len(bytes.len() as u64)?;
            file.sync_all()
        };
        write().map_err(self.io("written", &self.path))?;
        if fs::read(&self.path).map_err(self.io("read", &self.path))? != bytes {
            let differences = "what was written is not what is read".to_owned();
            return Err(HiveFileError::Verify { path: self.path.clone(), differences });
        }
        fs::remove_file(ready).map_err(self.io("removed", ready))
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".replant-{what}"));
        self.path.with_file_name(name)
    }

    fn io(&self, doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HiveFileError + use<> {
        let path = path.to_owned();
        move |error| HiveFileError::Io { doing, path, error }
    }

    fn not_understood(&self, error: HiveError) -> HiveFileError {
        HiveFileError::Hive { path: self.path.clone(), error }
    }
}
