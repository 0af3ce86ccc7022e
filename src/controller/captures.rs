//! Captures of jobs: the store is opened when the agent begins, and let go of when the job ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::image::remote::{Batch, BatchAnswer, BatchError, RemoteCapture, RemoteReport, RemoteSource};
use crate::image::{DiskName, ImageError, OnReadError};

use super::protocol::{CaptureGrant, CaptureOpen, CaptureOpened};
use super::stores;

/// Why a capture does not go on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The store refuses.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The bytes are no batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The disk is not the one that the plan means.
    #[error("{disk} has {what} {found}, and the plan says {expected}")]
    OtherDisk {
        /// The disk.
        disk: String,
        /// What differs.
        what: &'static str,
        /// What the plan says.
        expected: String,
        /// What the agent has found.
        found: String,
    },
    /// The agent has not opened it, or a new controller has not been told yet.
    #[error("the capture is not open")]
    NotOpen,
}

impl CaptureError {
    /// Whether the agent is at fault, so that trying again does not help.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Image(ImageError::Refused { .. }) | Self::Batch(_) | Self::OtherDisk { .. } | Self::NotOpen => true,
            Self::Image(_) => false,
        }
    }
}

/// The capture that a job allows, once it is begun.
pub struct CaptureSlot {
    grant: CaptureGrant,
    open: Mutex<Option<Arc<RemoteCapture>>>,
    told: Mutex<Option<Instant>>,
    /// What was made, for an agent that asks again because the answer got lost.
    made: Mutex<Option<RemoteReport>>,
}

/// How often a maker hears of progress.
const TELL: Duration = Duration::from_millis(250);

/// What a grant says about bytes that the medium does not give.
fn on_read_error(zero: bool) -> OnReadError {
    if zero { OnReadError::ZeroAndReport } else { OnReadError::Fail }
}

impl CaptureSlot {
    pub(super) fn new(grant: CaptureGrant) -> Self {
        Self { grant, open: Mutex::new(None), told: Mutex::new(None), made: Mutex::new(None) }
    }

    /// Begins, or goes on after an agent has come back. Blocks.
    pub(super) fn begin(&self, device: &str, found: &CaptureOpen) -> Result<CaptureOpened, CaptureError> {
        let grant = &self.grant;
        let differs = |what, expected: String, found: String| {
            Err(CaptureError::OtherDisk { disk: grant.disk.clone(), what, expected, found })
        };
        if found.size != grant.size {
            return differs("so many bytes:", grant.size.to_string(), found.size.to_string());
        }
        if let Some(serial) = &grant.serial
            && found.serial.as_ref() != Some(serial)
        {
            return differs("the serial number", serial.clone(), found.serial.clone().unwrap_or("none".to_owned()));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // The one before holds the disk's lock until it is gone; what it has is kept.
        if let Some(before) = open.take() {
            before.keep()?;
        }
        let source = RemoteSource {
            disk: DiskName::new(&grant.machine, &grant.disk)?,
            place: format!("agent:{device}:{}:{}", found.boot, found.device),
            identity: grant.identity.clone(),
            size: grant.size,
            on_read_error: on_read_error(grant.zero_unreadable),
        };
        let capture = Arc::new(RemoteCapture::open(stores::open(&grant.store, grant.key.as_deref())?, source)?);
        let opened = CaptureOpened {
            chunk_size: capture.chunk_size(),
            next_chunk: capture.next_chunk(),
            compress: grant.compress,
            zero_unreadable: grant.zero_unreadable,
            limit: grant.limit,
        };
        *open = Some(capture);
        Ok(opened)
    }

    fn current(&self) -> Result<Arc<RemoteCapture>, CaptureError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(CaptureError::NotOpen)
    }

    /// Takes a batch. Blocks.
    pub(super) fn take(&self, bytes: &[u8]) -> Result<BatchAnswer, CaptureError> {
        Ok(self.current()?.take(&Batch::decode(bytes)?)?)
    }

    /// How far it is, if it is time to say so.
    pub(super) fn progress(&self) -> Option<(u64, u64)> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| told.elapsed() < TELL) {
            return None;
        }
        *told = Some(Instant::now());
        self.current().ok().map(|capture| capture.reached())
    }

    /// Makes the image. Blocks.
    pub(super) fn finish(&self) -> Result<RemoteReport, CaptureError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(report) = *made {
            return Ok(report);
        }
        let report = self.current()?.finish()?;
        *made = Some(report);
        self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(report)
    }

    /// The disk's name.
    pub(super) fn disk(&self) -> &str {
        &self.grant.disk
    }
}
