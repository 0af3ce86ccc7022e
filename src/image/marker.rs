//! What lies beside a target disk: `FILE.deploying` while it is being written, `FILE.deployed` once it is whole.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::{ImageError, Result};
use super::manifest::{ImageId, write_file};

/// The marker of a deploy that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deploying {
    pub(super) image: ImageId,
    /// Every chunk before this one is durable on the target, except those of the first MiB.
    pub(super) next_chunk: u64,
    /// Every range of the target has its place in the format's tables.
    #[serde(default)]
    pub(super) reserved: bool,
}

/// The marker of a finished deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Deployed {
    pub(super) image: ImageId,
    pub(super) machine: String,
    pub(super) disk: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

/// The two markers of one target.
pub(super) struct Markers {
    deploying: PathBuf,
    deployed: PathBuf,
}

impl Markers {
    pub(super) fn of(target: &Path) -> Self {
        let beside = |suffix: &str| {
            let mut path = target.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        Self { deploying: beside(".deploying"), deployed: beside(".deployed") }
    }

    pub(super) fn deploying(&self) -> Result<Option<Deploying>> {
        read(&self.deploying)
    }

    pub(super) fn deployed(&self) -> Result<Option<Deployed>> {
        read(&self.deployed)
    }

    pub(super) fn set_deploying(&self, marker: &Deploying) -> Result<()> {
        write(&self.deploying, marker)
    }

    /// The finished marker comes before the other goes: at no time is there neither.
    pub(super) fn set_deployed(&self, marker: &Deployed) -> Result<()> {
        write(&self.deployed, marker)?;
        remove(&self.deploying)
    }

    pub(super) fn remove_deployed(&self) -> Result<()> {
        remove(&self.deployed)
    }

    pub(super) fn remove_deploying(&self) -> Result<()> {
        remove(&self.deploying)
    }
}

/// A marker that cannot be understood counts as none: the work is done again.
fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageError::file("reading", path)(error)),
    }
}

fn write<T: Serialize>(path: &Path, marker: &T) -> Result<()> {
    let mut text = serde_json::to_vec(marker).expect("plain records become JSON");
    text.push(b'\n');
    write_file(path, &text).map_err(|error| match error {
        ImageError::StoreFull { path } => ImageError::TargetFull { path },
        other => other,
    })
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ImageError::file("removing", path)(error)),
        _ => Ok(()),
    }
}
