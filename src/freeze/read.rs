//! Reads a run folder back and says what moved since it was written.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::diff::unified_diff;
use super::manifest::RunManifest;
use super::originals::original;

/// Why a folder is not a run that can be applied.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The manifest is not one.
    #[error("{path} is not a run's plan.json")]
    Manifest {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
    /// The manifest is of a newer format.
    #[error("{path} has format {format}; this version reads format 1: use replant {tool} or newer")]
    Newer {
        /// The file.
        path: Utf8PathBuf,
        /// Its format.
        format: u32,
        /// The version that wrote it.
        tool: String,
    },
}

/// A run folder as it was read.
#[derive(Debug)]
pub struct Frozen {
    /// The folder.
    pub folder: Utf8PathBuf,
    /// Its manifest.
    pub manifest: RunManifest,
    /// Artifacts that are not what was rendered.
    pub edited: Vec<EditedArtifact>,
}

/// An artifact that a person changed or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditedArtifact {
    /// Path below `artifacts/`.
    pub path: String,
    /// The digest it was reviewed with.
    pub planned: String,
    /// The digest now; `None` if it is gone.
    pub now: Option<String>,
    /// What changed; says so if the original is not recorded.
    pub diff: String,
}

/// An input that is not what was planned with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Moved {
    /// A plan or provider file.
    #[error("{path} was changed since the plan was made")]
    File {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A plan or provider file is gone.
    #[error("{path} was removed since the plan was made")]
    FileGone {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A source disk.
    #[error("source {disk} is not what was planned with:\n  planned: {planned}\n  now:     {now}")]
    Source {
        /// `MACHINE/diskN`.
        disk: String,
        /// Its identity line then.
        planned: String,
        /// Its identity line now.
        now: String,
    },
    /// The journal.
    #[error("work was done since the plan was made: the journal was at event {planned}, it is at {now}")]
    Journal {
        /// Its head then.
        planned: u64,
        /// Its head now.
        now: u64,
    },
}

/// Reads `DIR/plan.json` alone.
pub fn read_manifest(folder: &Utf8Path) -> Result<RunManifest, ReadError> {
    let path = folder.join("plan.json");
    let bytes = fs::read(&path).map_err(|error| ReadError::Io { path: path.clone(), error })?;
    let manifest: Result<RunManifest, _> = serde_json::from_slice(&bytes);
    let manifest = match manifest {
        Ok(manifest) => manifest,
        // A newer format may have anything in it; say that first.
        Err(error) => return Err(newer(&path, &bytes).unwrap_or(ReadError::Manifest { path, error })),
    };
    match manifest.format {
        1 => Ok(manifest),
        format => Err(ReadError::Newer { path, format, tool: manifest.tool }),
    }
}

fn newer(path: &Utf8Path, bytes: &[u8]) -> Option<ReadError> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let format = u32::try_from(value.get("format")?.as_u64()?).ok().filter(|format| *format > 1)?;
    let tool = value.get("tool").and_then(|tool| tool.as_str()).unwrap_or("?").to_owned();
    Some(ReadError::Newer { path: path.to_owned(), format, tool })
}

/// Reads a run folder and compares every artifact with its digest.
pub fn open(folder: &Utf8Path) -> Result<Frozen, ReadError> {
    let manifest = read_manifest(folder)?;
    let mut edited = Vec::new();
    for record in &manifest.artifacts {
        let path = folder.join("artifacts").join(&record.path);
        let now = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ReadError::Io { path, error }),
        };
        let digest = now.as_ref().map(|bytes| format!("blake3:{}", blake3::hash(bytes).to_hex()));
        if digest.as_deref() == Some(record.digest.as_str()) {
            continue;
        }
        let diff = match original(folder, &record.path) {
            Ok(Some(before)) => {
                let (before, after) = (String::from_utf8_lossy(&before), now.unwrap_or_default());
                unified_diff(&record.path, &before, &String::from_utf8_lossy(&after))
            }
            _ => format!("{} was changed; the folder has no record of how it was\n", record.path),
        };
        edited.push(EditedArtifact { path: record.path.clone(), planned: record.digest.clone(), now: digest, diff });
    }
    Ok(Frozen { folder: folder.to_owned(), manifest, edited })
}

impl Frozen {
    /// Everything that is not what was planned with. `sources` holds identity lines by `MACHINE/diskN` as they are now.
    pub fn moved(&self, sources: &BTreeMap<String, String>, journal_head: u64) -> Vec<Moved> {
        let mut moved = Vec::new();
        for record in &self.manifest.files {
            let path = record.path.clone();
            match fs::read(&record.path) {
                Ok(bytes) if format!("blake3:{}", blake3::hash(&bytes).to_hex()) == record.digest => {}
                Ok(_) => moved.push(Moved::File { path }),
                Err(_) => moved.push(Moved::FileGone { path }),
            }
        }
        for (disk, planned) in &self.manifest.sources {
            if let Some(now) = sources.get(disk).filter(|now| **now != planned.identity) {
                let planned = planned.identity.clone();
                moved.push(Moved::Source { disk: disk.clone(), planned, now: now.clone() });
            }
        }
        if journal_head != self.manifest.journal_head {
            moved.push(Moved::Journal { planned: self.manifest.journal_head, now: journal_head });
        }
        moved
    }
}
