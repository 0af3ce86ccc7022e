//! What a conversion would change in a Windows, read from its source without mounting or changing anything.

use super::plan::{WindowsOptions, WindowsPlanError, plan};
use super::registry::{Hive, HiveError};
use super::survey::{DiskView, FoundWindows, partitions, window};
use super::volume::{NtfsVolume, VolumeError};
use super::{WindowsFiles, WindowsOutcome, hive_path};

/// Why nothing can be said beforehand.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// The volume that was found is not there any more.
    #[error("{volume} is not there any more")]
    Gone {
        /// The volume in plan words.
        volume: String,
    },
    /// The volume cannot be read.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A hive cannot be read.
    #[error("a hive of {volume} cannot be read")]
    Hive {
        /// The volume in plan words.
        volume: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// A hive cannot be understood.
    #[error(transparent)]
    Registry(#[from] HiveError),
    /// It cannot be converted.
    #[error(transparent)]
    Plan(#[from] WindowsPlanError),
}

/// Every edit that `convert` would make, with its warnings.
pub fn preview(
    disks: &[DiskView<'_>],
    found: &FoundWindows,
    options: &WindowsOptions<'_>,
) -> Result<WindowsOutcome, PreviewError> {
    let gone = || PreviewError::Gone { volume: found.volume.clone() };
    let disk = disks.get(found.disk).ok_or_else(gone)?;
    let (start, len) = match found.partition {
        None => (0, disk.size),
        Some(number) => {
            let parts = partitions(&mut window(disk, 0, disk.size));
            let part = parts.iter().find(|part| part.number == number).ok_or_else(gone)?;
            (part.start, part.len)
        }
    };
    let files = NtfsVolume::open(window(disk, start, len))?;
    let hive = |name: &str| {
        let failed = |error| PreviewError::Hive { volume: found.volume.clone(), error };
        let bytes = files.read(&hive_path(&found.facts.root, name)).map_err(failed)?.ok_or_else(gone)?;
        Ok::<_, PreviewError>(Hive::parse(bytes)?)
    };
    let (system, software) = (hive("SYSTEM")?, hive("SOFTWARE")?);
    let plan = plan(&found.facts, &system, &software, &files, options)?;
    Ok(WindowsOutcome { edits: plan.edits, warnings: plan.warnings })
}
