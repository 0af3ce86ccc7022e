//! Who is at work in a store. Captures, deploys and reads share it; collecting garbage needs it alone.
//!
//! The kernel's file locks decide, so a dead holder never blocks anybody; a small file beside them says who holds.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::error::{ImageError, Result};

/// Held while a process works in a store; given back when dropped.
#[derive(Debug)]
pub struct Lease {
    _gate: File,
    own: Option<(File, PathBuf)>,
}

/// What a holder says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
    work: String,
}

impl Lease {
    /// Shares the store with other workers; refused while garbage is collected.
    pub(super) fn share(folder: &Path, work: &str) -> Result<Self> {
        let gate = open_gate(folder, work)?;
        let own = folder.join(format!("{}.json", uuid::Uuid::now_v7()));
        // A reader of a store on a read-only medium cannot say who it is, and nobody can collect garbage there.
        let own = match OpenOptions::new().write(true).create_new(true).open(&own) {
            Ok(file) => {
                flock(&file, FlockOperation::NonBlockingLockExclusive)
                    .map_err(|error| ImageError::file("locking", &own)(error.into()))?;
                serde_json::to_writer(
                    &file,
                    &Holder { pid: std::process::id(), host: host_name(), work: work.to_owned() },
                )
                .map_err(|error| ImageError::file("writing", &own)(error.into()))?;
                Some((file, own))
            }
            Err(error) if read_only(&error) => None,
            Err(error) => return Err(ImageError::file("creating", &own)(error)),
        };
        Ok(Self { _gate: gate, own })
    }

    /// Takes the store alone; refused, naming a holder, while anybody works in it.
    pub(super) fn alone(folder: &Path) -> Result<Self> {
        let path = folder.join("gate");
        let gate = open_lock_file(&path)?;
        match flock(&gate, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _gate: gate, own: None }),
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                Err(ImageError::Busy { what: "the store".into(), holder: holders(folder) })
            }
            Err(error) => Err(ImageError::file("locking", &path)(error.into())),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.own {
            // A leftover is harmless: its lock is gone, so the next look removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A lock on one thing that one process at a time may change, such as a disk's unfinished capture.
pub(super) fn lock_file(path: &Path, what: &str) -> Result<File> {
    let file = open_lock_file(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(ImageError::Busy { what: what.to_owned(), holder: "another process".into() })
        }
        Err(error) => Err(ImageError::file("locking", path)(error.into())),
    }
}

fn open_gate(folder: &Path, work: &str) -> Result<File> {
    let path = folder.join("gate");
    let gate = match open_lock_file(&path) {
        Err(ImageError::File { error, .. }) if read_only(&error) => {
            File::open(&path).map_err(ImageError::file("opening", &path))?
        }
        opened => opened?,
    };
    match flock(&gate, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(gate),
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            Err(ImageError::Busy { what: format!("the store (wanted to {work})"), holder: "garbage collection".into() })
        }
        Err(error) => Err(ImageError::file("locking", &path)(error.into())),
    }
}

fn open_lock_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(ImageError::file("opening", path))
}

fn read_only(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
}

/// Everyone whose file is still locked, in words; removes what the dead left.
fn holders(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut alive = Vec::new();
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "json")) {
        let Ok(file) = File::open(&path) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_file(&path);
            continue;
        }
        if let Ok(holder) = serde_json::from_reader::<_, Holder>(&file) {
            alive.push(format!("{} (process {} on {})", holder.work, holder.pid, holder.host));
        }
    }
    alive.sort();
    match alive.is_empty() {
        true => "another process".into(),
        false => alive.join(", "),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
