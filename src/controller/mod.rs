//! The service that booted agents talk to: HTTPS with TLS 1.3 only, and no route that trusts a name alone.
//!
//! ```text
//! verb -local socket-> job {machine, sequence} -> token, CA fingerprint, port       (boot order)
//! agent -token-> certificate -mutual TLS-> sequence, reports, result -> verb
//! ```
//!
//! A token opens one enrolment, once, before it expires. A certificate opens the jobs of the device it was issued for and
//! no others. Jobs live in memory: a controller that is gone leaves none behind, and its makers ask again. Registered
//! devices live in the state database, so that an agent at work finds the next controller and is known to it.

pub mod devices;

mod boot;
mod boot_network;
mod captures;
mod deploys;
mod embedded;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod jobs;
mod local;
mod peer;
mod pki;
mod protocol;
mod pull;
mod server;
mod stores;
mod transfer;

pub use boot::DeviceBoot;
pub use boot_network::{BootNetwork, BootNetworkError, BootNetworkOptions};
pub use embedded::{Embedded, EmbeddedOptions};
pub use health::{Check, Probe};
pub use jobs::{Grants, JobError, Jobs, NewJob};
pub use local::{CONTROLLER_SOCKET, LocalClient, LocalError};
pub use pki::{Authority, Fingerprint, Identity, PkiError, SERVER_NAME, crypto_provider};
pub use protocol::{
    Ack, CaptureGrant, CaptureOpen, CaptureOpened, CapturedImage, DeployGrant, DeployOpen, DeployOpened, EnrolAnswer,
    EnrolRequest, JOB_HEADER, LocalAnswer, LocalJob, MapFrom, Report, ReportBatch, ReportEntry, ResumePoint,
};
