//! The guest step as the host sees it: a job for the controller, the VM booted into the agent, its reports, and a VM that
//! is off again however it ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::controller::{
    DeployGrant, Embedded, EmbeddedOptions, Fingerprint, LocalAnswer, LocalClient, LocalError, LocalJob, PkiError,
    Report,
};
use crate::guest::Edit;
use crate::vm::{VmError, VmFolder, last_lines};

use super::keys::{GuestKey, KeyedImage};
use super::order::BootOrder;

/// Where a guest on QEMU's user network reaches the host's loopback.
const HOST_SEEN_BY_GUEST: &str = "10.0.2.2";
/// Longest wait for the agent's first word; under emulation it takes ten seconds.
const TO_FIRST_WORD: Duration = Duration::from_secs(300);
/// Longest wait for the machine to power off after its last report.
const TO_POWER_OFF: Duration = Duration::from_secs(60);
/// How often we look whether the VM still runs.
const LOOK: Duration = Duration::from_millis(500);

/// Words for the kernel: an emulated machine on a busy host may get its timer interrupts too late for the kernel's check of
/// them, and each look at any clock but the processor's own leaves the emulated code.
pub(super) const EMULATED: &str = "quiet panic=5 mitigations=off no_timer_check tsc=reliable";

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct GuestStep {
    /// The machine.
    pub machine: String,
    /// The VM's folder.
    pub vm: PathBuf,
    /// The folder of the agent's kernel and initramfs.
    pub agent: PathBuf,
    /// The initramfs to take instead of the agent's own.
    pub initramfs: Option<PathBuf>,
    /// The XML task sequence.
    pub sequence: String,
    /// The local socket of a running controller.
    pub controller: Option<PathBuf>,
    /// Where a controller of our own finds its CA.
    pub state: PathBuf,
    /// Keys of encrypted volumes.
    pub keys: Vec<GuestKey>,
    /// Images that the agent may put on the VM's disks.
    pub deploys: Vec<DeployGrant>,
    /// Longest time of everything.
    pub timeout: Duration,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversionResult {
    /// Every edit, in order.
    pub edits: Vec<Edit>,
    /// What the sequence's steps have found.
    pub facts: std::collections::BTreeMap<String, String>,
}

/// Why the guest step has failed.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The VM does not do what it should.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// A controller of our own cannot start.
    #[error("no controller could be started")]
    Controller(#[from] PkiError),
    /// The controller does not do what it should.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The agent is not built.
    #[error("{path} is missing: run `replant agent build --out {}` first", path.parent().map(|p| p.display().to_string()).unwrap_or_default())]
    NoAgent {
        /// The missing file.
        path: PathBuf,
    },
    /// The controller's answer makes no sense.
    #[error("the controller's answer makes no sense: {0}")]
    Answer(String),
    /// The machine went off, or said nothing, before the work had ended.
    #[error("{what}; its console ended with:\n{console}")]
    Silent {
        /// What happened.
        what: String,
        /// The console's last lines.
        console: String,
    },
    /// The sequence failed in the machine.
    #[error("the agent in the machine failed: {message}")]
    Sequence {
        /// Why.
        message: String,
    },
    /// The keys of encrypted volumes cannot be handed over.
    #[error("the keys of encrypted volumes cannot be handed to the agent")]
    Keys(#[source] std::io::Error),
    /// We were asked to stop.
    #[error("interrupted; the VM is powered off")]
    Interrupted,
}

/// Boots the VM into the agent, has it run the sequence (which may put images on its disks), and waits until it is off. `told` hears of every report.
/// `interrupted` ends it early. The VM is off when this returns, however it ends.
pub fn convert_guest(
    step: &GuestStep,
    interrupted: &Arc<AtomicBool>,
    mut told: impl FnMut(&Report),
) -> Result<ConversionResult, BootError> {
    let vm = VmFolder::open(&step.vm)?;
    // The start script works in the VM's folder.
    let agent = std::path::absolute(&step.agent).unwrap_or_else(|_| step.agent.clone());
    let files = ["vmlinuz", "agent.img"].map(|name| agent.join(name));
    if let Some(path) = files.iter().find(|path| !path.is_file()) {
        return Err(BootError::NoAgent { path: path.clone() });
    }
    let own = match &step.controller {
        Some(_) => None,
        None => Some(Embedded::start(&EmbeddedOptions::loopback(&step.state))?),
    };
    let socket = match (&step.controller, &own) {
        (Some(socket), _) => socket.clone(),
        (None, own) => own.as_ref().map(Embedded::socket).unwrap_or_default(),
    };
    let job = LocalJob {
        deploys: step.deploys.clone(),
        ..LocalJob::alone(&step.machine, &step.sequence, TO_FIRST_WORD.as_secs())
    };
    let (mut client, order) = LocalClient::create(&socket, &job)?;
    let LocalAnswer::Order { port, ca, token, .. } = order else {
        return Err(BootError::Answer("no boot order came".to_owned()));
    };
    let ca = Fingerprint::parse(&ca).ok_or_else(|| BootError::Answer(format!("`{ca}` is no fingerprint")))?;
    let order = BootOrder { controller: (HOST_SEEN_BY_GUEST.to_owned(), port), ca, token };
    let command_line = format!("{} console=ttyS0 {EMULATED}", order.command_line());
    let [kernel, image] = files;
    let image = step.initramfs.as_ref().map_or(image, |own| std::path::absolute(own).unwrap_or_else(|_| own.clone()));
    let [kernel, mut image] = [kernel, image].map(|path| path.to_string_lossy().into_owned());
    let keyed = match step.keys.is_empty() {
        true => None,
        false => Some(KeyedImage::new(std::path::Path::new(&image), &step.keys, &step.vm).map_err(BootError::Keys)?),
    };
    if let Some(keyed) = &keyed {
        image = keyed.path().to_string_lossy().into_owned();
    }
    vm.start_work(&["agent", &kernel, &image, &command_line])?;
    let _off = OffAtLast(&vm);
    let result = watch(step, &vm, &mut client, interrupted, &mut told)?;
    // A machine that does not go off by itself has flushed its disks all the same: that was a step.
    vm.wait_off(TO_POWER_OFF);
    vm.end_work()?;
    Ok(result)
}

/// Ends the VM however the work ends.
struct OffAtLast<'a>(&'a VmFolder);

impl Drop for OffAtLast<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.end_work() {
            tracing::warn!(%error, "the VM could not be ended");
        }
    }
}

fn watch(
    step: &GuestStep,
    vm: &VmFolder,
    client: &mut LocalClient,
    interrupted: &AtomicBool,
    told: &mut impl FnMut(&Report),
) -> Result<ConversionResult, BootError> {
    let begun = Instant::now();
    let mut enrolled = false;
    let mut result = ConversionResult::default();
    loop {
        // Asked before the reports are read: what was reported before the end is seen.
        let running = vm.pid().is_some();
        match client.next(LOOK)? {
            Some(LocalAnswer::Report { report }) => {
                told(&report);
                enrolled = true;
                match report {
                    Report::Edit(edit) => result.edits.push(edit),
                    Report::Result { ok: true, facts, .. } => {
                        result.facts = facts;
                        return Ok(result);
                    }
                    Report::Result { ok: false, message, .. } => return Err(BootError::Sequence { message }),
                    _ => {}
                }
                continue;
            }
            Some(other) => return Err(BootError::Answer(format!("{other:?}"))),
            None => {}
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(BootError::Interrupted);
        }
        let waited = begun.elapsed();
        let what = match () {
            () if !running => "the machine went off before the agent had reported its end".to_owned(),
            () if !enrolled && waited > TO_FIRST_WORD => format!("the agent said nothing for {TO_FIRST_WORD:?}"),
            () if waited > step.timeout => format!("the work has not ended within {:?}", step.timeout),
            () => continue,
        };
        let console = last_lines(&vm.console_log(), 12).unwrap_or_default().join("\n");
        return Err(BootError::Silent { what, console });
    }
}
