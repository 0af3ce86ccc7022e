//! The booted machine's side: a kernel and an initramfs that we build from Debian packages, and what runs in it.
//!
//! ```text
//! packages -build-> vmlinuz + agent.img          (on the host)
//! boot order -enrol-> certificate -fetch-> sequence -work-> reports -until acknowledged-> power off   (in the machine)
//! ```
//!
//! The agent trusts nobody before it has seen that the controller's chain ends in the CA whose fingerprint the boot order
//! names, and does nothing but what the fetched sequence says.

pub mod build;

mod boot;
mod bundle;
mod capture;
mod chroot;
mod commands;
mod deploy;
mod discover;
mod enrol;
mod http;
mod inspect;
mod keys;
mod order;
mod preview;
mod rebuild;
mod report;
mod run;
mod screen;
mod watchdog;
mod windows;
mod work;

pub use boot::{BootError, ConversionResult, GuestStep, convert_guest};
pub use bundle::{BundleError, windows_initramfs};
pub use capture::{CaptureError, Disks, Link, capture};
pub use deploy::deploy;
pub use discover::{DeviceFacts, SeenDisk, discover, disks};
pub use enrol::{EnrolError, Enrolment, enrol};
pub use http::{Channel, Client, HttpError};
pub use inspect::{InspectError, InspectOptions, inspect_disks, preview_guest};
pub use keys::GuestKey;
pub use order::{BootOrder, OrderError, controller_address};
pub use preview::GuestPreview;
pub use report::Reporter;
pub use screen::{Console, Screen, Shown, Silent};
pub use work::{AgentError, Finished, Place, run};
