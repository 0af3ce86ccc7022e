//! Applying a plan to a mounted Windows: files first, then the registry that names them, SYSTEM last.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::plan::{FileContent, NewFile, WindowsPlan, plan};
use super::registry::{HiveFile, HiveFileError};
use super::{
    InspectError, MountedVolume, WindowsFacts, WindowsFiles, WindowsOptions, WindowsPlanError, hive_path, inspect,
    security,
};
use crate::guest::Edit;

/// Room that stays free on the volume.
const RESERVE: u64 = 64 << 20;

/// Why a Windows was not converted.
#[derive(Debug, thiserror::Error)]
pub enum WindowsConvertError {
    /// There is none on the volume.
    #[error("there is no Windows on the volume")]
    NoWindows,
    /// It cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It cannot be planned.
    #[error(transparent)]
    Plan(#[from] WindowsPlanError),
    /// A hive cannot be changed.
    #[error(transparent)]
    Hive(#[from] HiveFileError),
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    File {
        /// The file, as the guest names it.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The volume is full.
    #[error(
        "the volume of Windows has {free} bytes free, and the conversion needs {needed}: make room in the source, and capture it again"
    )]
    NoSpace {
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// The conversion did not do what it should.
    #[error("after the conversion `{path}` still needs a change")]
    NotConverted {
        /// What.
        path: String,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowsOutcome {
    /// Every edit.
    pub edits: Vec<Edit>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Converts the Windows on a mounted volume; converting again changes nothing. `told` hears of each edit before it is
/// made.
pub fn convert(
    volume: &MountedVolume,
    facts: &WindowsFacts,
    options: &WindowsOptions<'_>,
    told: impl FnMut(&Edit),
) -> Result<WindowsOutcome, WindowsConvertError> {
    let outcome = apply(volume, facts, options, told)?;
    let now = inspect(volume)?.ok_or(WindowsConvertError::NoWindows)?;
    let (system, software) = hives(volume, &now)?;
    let (system_hive, software_hive) = (system.read()?, software.read()?);
    let rest = plan(&now, &system_hive, &software_hive, volume, options)?;
    match rest.edits.first() {
        Some(edit) => Err(WindowsConvertError::NotConverted { path: edit.path.clone() }),
        None => Ok(outcome),
    }
}

fn apply(
    volume: &MountedVolume,
    facts: &WindowsFacts,
    options: &WindowsOptions<'_>,
    mut told: impl FnMut(&Edit),
) -> Result<WindowsOutcome, WindowsConvertError> {
    let (system, software) = hives(volume, facts)?;
    let (system_hive, software_hive) = (system.read()?, software.read()?);
    let plan = plan(facts, &system_hive, &software_hive, volume, options)?;
    check_room(volume, &plan, facts)?;
    for edit in &plan.edits {
        told(edit);
    }
    for file in &plan.files {
        put(volume, file).map_err(|error| WindowsConvertError::File { path: file.path.clone(), error })?;
    }
    software.apply(&plan.software)?;
    system.apply(&plan.system)?;
    Ok(WindowsOutcome { edits: plan.edits, warnings: plan.warnings })
}

fn hives(volume: &MountedVolume, facts: &WindowsFacts) -> Result<(HiveFile, HiveFile), WindowsConvertError> {
    let open = |name: &str| {
        let path = hive_path(&facts.root, name);
        let at = volume.locate(&path).map_err(|error| WindowsConvertError::File { path, error })?;
        Ok::<_, WindowsConvertError>(HiveFile::open(at)?)
    };
    Ok((open("SYSTEM")?, open("SOFTWARE")?))
}

/// Both hives are copied twice, and everything else is new.
fn check_room(volume: &MountedVolume, plan: &WindowsPlan<'_>, facts: &WindowsFacts) -> Result<(), WindowsConvertError> {
    if plan.edits.is_empty() {
        return Ok(());
    }
    let failed = |error| WindowsConvertError::File { path: facts.root.clone(), error };
    let mut needed = RESERVE.min(total(volume).map_err(failed)? / 20);
    for name in ["SYSTEM", "SOFTWARE"] {
        let at = volume.locate(&hive_path(&facts.root, name)).map_err(failed)?;
        needed += 2 * fs::metadata(at).map_err(failed)?.len();
    }
    for file in &plan.files {
        needed += match &file.content {
            FileContent::Bytes(bytes) => bytes.len() as u64,
            FileContent::CopyOf(from) => fs::metadata(from).map_err(failed)?.len(),
        };
    }
    let stat = rustix::fs::statvfs(volume.root()).map_err(|error| failed(error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed { Err(WindowsConvertError::NoSpace { free, needed }) } else { Ok(()) }
}

fn total(volume: &MountedVolume) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(volume.root())?;
    Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// Writes a file whole or not at all, with its folders, none of which users can change.
fn put(volume: &MountedVolume, file: &NewFile) -> io::Result<()> {
    let target = volume.locate(&file.path)?;
    let folder = target.parent().unwrap_or(volume.root());
    make_folders(folder)?;
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".replant-new");
    let fresh = folder.join(name);
    let bytes = match &file.content {
        FileContent::Bytes(bytes) => bytes.clone(),
        FileContent::CopyOf(from) => fs::read(from)?,
    };
    let mut to = fs::File::create(&fresh)?;
    to.write_all(&bytes)?;
    to.sync_all()?;
    match target.is_file() {
        true => security::copy(&target, &fresh)?,
        false => security::protect(&fresh)?,
    }
    fs::rename(&fresh, &target)?;
    if fs::read(&target)? == bytes { Ok(()) } else { Err(io::Error::other("what was written is not what is read")) }
}

fn make_folders(folder: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> = folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect();
    for folder in missing.iter().rev() {
        fs::create_dir(folder)?;
        security::protect(folder)?;
    }
    Ok(())
}

/// Whether a volume is one that `convert` has changed.
pub fn is_converted(volume: &impl WindowsFiles, facts: &WindowsFacts) -> io::Result<bool> {
    volume.is_file(&format!("{}.replant-before", hive_path(&facts.root, "SYSTEM")))
}
