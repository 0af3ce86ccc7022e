//! Looking for Windows on a machine's source disks, before anything is done: read only, without mounting.

use std::io;

use crate::guest::windows::{DiskView, FoundWindows, WindowsOptions, WindowsOutcome, WindowsSurvey, preview, survey};
use crate::image::{DiskReader, open_source};

use super::{DiskFacts, ResolvedMachine};

/// Why the disks could not be looked into.
#[derive(Debug, thiserror::Error)]
#[error("{path} could not be looked into: {message}")]
pub struct LookError {
    /// The disk.
    pub path: String,
    /// Why.
    pub message: String,
}

/// Every Windows on a machine's source disks.
pub fn look_for_windows(machine: &ResolvedMachine) -> Result<WindowsSurvey, LookError> {
    viewing(machine, |views| survey(views).map_err(|error| said(&error)))
}

/// What the conversion of a Windows that was found would change.
pub fn preview_windows(
    machine: &ResolvedMachine,
    found: &FoundWindows,
    options: &WindowsOptions<'_>,
) -> Result<WindowsOutcome, LookError> {
    viewing(machine, |views| preview(views, found, options).map_err(|error| said(&error)))
}

/// Opens a machine's disks for as long as `look` takes.
fn viewing<T>(
    machine: &ResolvedMachine,
    look: impl FnOnce(&[DiskView<'_>]) -> Result<T, LookError>,
) -> Result<T, LookError> {
    let mut readers = Vec::new();
    for disk in &machine.disks {
        readers.push(open(disk)?);
    }
    let reads: Vec<_> = readers
        .iter()
        .map(|reader| move |buffer: &mut [u8], offset: u64| -> io::Result<()> { reader.read_at(buffer, offset) })
        .collect();
    let views: Vec<DiskView<'_>> = machine
        .disks
        .iter()
        .zip(&readers)
        .zip(&reads)
        .map(|((disk, reader), read_at)| DiskView {
            name: format!("/dev/{}", disk.index),
            size: reader.size(),
            read_at,
        })
        .collect();
    look(&views)
}

fn said(error: &dyn std::error::Error) -> LookError {
    LookError { path: error.to_string(), message: cause(error) }
}

fn open(disk: &DiskFacts) -> Result<Box<dyn DiskReader>, LookError> {
    open_source(disk.path.as_std_path(), disk.format)
        .map_err(|error| LookError { path: disk.path.to_string(), message: error.to_string() })
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(String::new, ToString::to_string)
}
