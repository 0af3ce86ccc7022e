//! Deploys of jobs: the image is opened when the agent begins, and let go of when the job ends.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::remote::{BatchError, RemoteImage, Wanted};
use crate::image::{Control, DiskName, ImageError, ImageId, Limit, RateSchedule, SystemClock, Tick};

use super::protocol::{DeployGrant, DeployOpen, DeployOpened};
use super::stores;

/// Why a deploy does not go on.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The store refuses.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The bytes ask for nothing.
    #[error(transparent)]
    Asked(#[from] BatchError),
    /// The disk is not the one that the plan means.
    #[error("the disk for {disk} {what}")]
    OtherDisk {
        /// The disk.
        disk: String,
        /// How that shows.
        what: String,
    },
    /// The agent has not opened it, or a new controller has not been told yet.
    #[error("the deploy is not open")]
    NotOpen,
}

impl DeployError {
    /// Whether trying again does not help: the agent is at fault, or the store has lost something.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Image(ImageError::File { .. } | ImageError::StoreFull { .. }) => false,
            Self::Image(_) | Self::Asked(_) | Self::OtherDisk { .. } | Self::NotOpen => true,
        }
    }
}

/// The deploy that a job allows, once it is begun.
pub struct DeploySlot {
    grant: DeployGrant,
    open: Mutex<Option<Arc<Opened>>>,
}

struct Opened {
    image: RemoteImage,
    control: Control<'static>,
}

/// A request for contents is short: it is not stopped, and its job tells of progress itself.
static NEVER: AtomicBool = AtomicBool::new(false);

fn untold(_: Tick) {}

impl DeploySlot {
    pub(super) fn new(grant: DeployGrant) -> Self {
        Self { grant, open: Mutex::new(None) }
    }

    /// Begins, or goes on after an agent has come back. Blocks.
    pub(super) fn begin(&self, found: &DeployOpen) -> Result<DeployOpened, DeployError> {
        let grant = &self.grant;
        let other = |what| Err(DeployError::OtherDisk { disk: grant.disk.clone(), what });
        if let Some(serial) = &grant.serial
            && found.serial.as_ref() != Some(serial)
        {
            let has = found.serial.as_deref().unwrap_or("none");
            return other(format!("has the serial number {has}, and the plan says {serial}"));
        }
        let image = match &grant.image {
            None => None,
            Some(text) => Some(ImageId::parse(text).ok_or_else(|| refused(format!("`{text}` is no image's id")))?),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // An agent that has come back begins anew, with the same image.
        let opened = match open.take() {
            Some(opened) => opened,
            None => {
                let name = DiskName::new(&grant.machine, &grant.disk)?;
                let store = stores::open(&grant.store, grant.key.as_deref())?;
                let control = Control::new(&NEVER, &untold).limits(limits(grant)?);
                Arc::new(Opened { image: RemoteImage::open(store, &name, image)?, control })
            }
        };
        let image = &opened.image;
        if found.size < image.size() {
            return other(format!("has {} bytes, and the image {}", found.size, image.size()));
        }
        let answer = DeployOpened {
            image: image.id().to_string(),
            size: image.size(),
            chunk_size: image.chunk_size(),
            digest: image.digest().to_string(),
        };
        *open = Some(opened);
        Ok(answer)
    }

    fn current(&self) -> Result<Arc<Opened>, DeployError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or(DeployError::NotOpen)
    }

    /// A part of the map. Blocks.
    pub(super) fn map(&self, first: u64) -> Result<Vec<u8>, DeployError> {
        Ok(self.current()?.image.map(first)?.encode())
    }

    /// Contents of chunks, as fast as the limits allow. Blocks.
    pub(super) fn contents(&self, wanted: &[u8]) -> Result<Vec<u8>, DeployError> {
        let (opened, wanted) = (self.current()?, Wanted::decode(wanted)?);
        Ok(opened.image.contents(&wanted, &opened.control)?)
    }
}

fn refused(what: String) -> ImageError {
    ImageError::Refused { what }
}

fn limits(grant: &DeployGrant) -> Result<Vec<Limit>, ImageError> {
    let schedule = |text: &str| RateSchedule::parse(text).map_err(|error| refused(format!("`{text}`: {error}")));
    let clock = Arc::new(SystemClock);
    let mut limits = Vec::new();
    if let Some(text) = &grant.limit {
        limits.push(Limit::own(schedule(text)?, None, clock.clone()));
    }
    let (folder, budgets) = grant.budgets.clone().unwrap_or_default();
    for text in &budgets {
        let (name, rate) = text.split_once('=').ok_or_else(|| refused(format!("the budget `{text}` has no rate")))?;
        let limit = Limit::shared(&folder, name, schedule(rate)?, clock.clone());
        limits.push(limit.map_err(|error| refused(format!("the budget `{name}` cannot be kept: {error}")))?);
    }
    Ok(limits)
}
