//! The service that booted agents talk to: HTTPS with TLS 1.3 only, and no route that trusts a name alone.
//!
//! ```text
//! verb -local socket-> job {machine, sequence} -> token, CA fingerprint, port       (boot order)
//! agent -token-> certificate -mutual TLS-> sequence, reports, result -> verb
//! ```
//!
//! A token opens one enrolment, once, before it expires. A certificate opens the job it was issued for and no other. All
//! of it lives in memory: a controller that is gone leaves nothing behind that could be used.

pub mod devices;

mod boot;
mod embedded;
mod jobs;
mod local;
mod peer;
mod pki;
mod protocol;
mod server;

pub use boot::DeviceBoot;
pub use embedded::{Embedded, EmbeddedOptions};
pub use jobs::{JobError, Jobs, NewJob};
pub use local::{CONTROLLER_SOCKET, LocalClient, LocalError};
pub use pki::{Authority, Fingerprint, Identity, PkiError, SERVER_NAME, crypto_provider};
pub use protocol::{Ack, EnrolAnswer, EnrolRequest, LocalAnswer, LocalJob, Report, ReportBatch, ReportEntry};
