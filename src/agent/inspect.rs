//! Inspection without boot: the agent is started with the disks, looks, and says what it has found. Disks are opened
//! read-only; it needs QEMU and neither root nor any driver of the host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::controller::Report;
use crate::guest::MachineInspection;
use crate::sequence::SequenceError;

use super::boot::{BootError, GuestStep, convert_guest};
use super::keys::GuestKey;
use super::preview::{GuestPreview, looking_only};

const START: &str = include_str!("../../providers/qemu/inspect.sh");
const SEQUENCE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<sequence xmlns="urn:replant:sequence:1" id="inspect" description="Looks at the disks; writes nothing">
  <step id="inspect" command="guest.inspect" timeout="10m"/>
  <step id="shutdown" command="shutdown" timeout="60s"/>
</sequence>
"#;

/// Which disks, and with what they are looked at.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Disk files or devices with their formats, the boot disk first.
    pub disks: Vec<(PathBuf, &'static str)>,
    /// The folder of the agent's kernel and initramfs.
    pub agent: PathBuf,
    /// Where a controller of our own keeps its CA.
    pub state: PathBuf,
    /// Keys of LUKS containers.
    pub keys: Vec<GuestKey>,
    /// Longest time of everything.
    pub timeout: Duration,
}

/// Why nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A disk cannot be opened.
    #[error("{path} cannot be opened for reading")]
    Disk {
        /// The disk.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A path cannot be written down for the start script.
    #[error("the path {path} has a line end in it, which the start script cannot take")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The folder of the small VM cannot be made.
    #[error("the folder of the inspecting VM cannot be made")]
    Folder(#[source] io::Error),
    /// The rendered sequence cannot be read.
    #[error("the sequence of the guest step cannot be read")]
    Sequence(#[from] SequenceError),
    /// The agent could not do it.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Its answer makes no sense.
    #[error("the agent's answer makes no sense")]
    Answer(#[source] serde_json::Error),
}

/// Looks at the disks. `told` hears of every report of the agent.
pub fn inspect_disks(
    options: &InspectOptions,
    interrupted: &Arc<AtomicBool>,
    told: impl FnMut(&Report),
) -> Result<MachineInspection, InspectError> {
    answer(options, SEQUENCE.to_owned(), "guest.inspection", interrupted, told)
}

/// What the guest step of a rendered sequence would change in the guest of these disks; `None` if it converts nothing.
pub fn preview_guest(
    options: &InspectOptions,
    sequence: &str,
    interrupted: &Arc<AtomicBool>,
    told: impl FnMut(&Report),
) -> Result<Option<GuestPreview>, InspectError> {
    match looking_only(sequence)? {
        Some(looking) => answer(options, looking, "guest.preview", interrupted, told).map(Some),
        None => Ok(None),
    }
}

/// Runs a sequence that looks, and reads the fact that it ends with.
fn answer<T: DeserializeOwned>(
    options: &InspectOptions,
    sequence: String,
    fact: &str,
    interrupted: &Arc<AtomicBool>,
    told: impl FnMut(&Report),
) -> Result<T, InspectError> {
    let folder = tempfile::Builder::new().prefix("replant-inspect-").tempdir().map_err(InspectError::Folder)?;
    prepare(folder.path(), options)?;
    let step = GuestStep {
        machine: "inspect".to_owned(),
        vm: folder.path().to_owned(),
        agent: options.agent.clone(),
        initramfs: None,
        sequence,
        controller: None,
        state: options.state.clone(),
        keys: options.keys.clone(),
        deploys: Vec::new(),
        timeout: options.timeout,
    };
    let result = convert_guest(&step, interrupted, told)?;
    let text = result.facts.get(fact).map_or("", String::as_str);
    serde_json::from_str(text).map_err(InspectError::Answer)
}

fn prepare(folder: &Path, options: &InspectOptions) -> Result<(), InspectError> {
    let mut list = String::new();
    for (path, format) in &options.disks {
        let failed = |error| InspectError::Disk { path: path.clone(), error };
        fs::File::open(path).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        let text = path.to_str().filter(|text| !text.contains('\n'));
        let text = text.ok_or_else(|| InspectError::Path { path: path.clone() })?;
        list.push_str(&format!("{format} {text}\n"));
    }
    fs::write(folder.join("disks"), list).map_err(InspectError::Folder)?;
    let script = folder.join("start.sh");
    fs::write(&script, START).map_err(InspectError::Folder)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).map_err(InspectError::Folder)
}
