//! Machines that the controller knows: who they are, how they may boot, and what their certificates open.
//!
//! ```text
//! Registered -boots into the agent-> Booted -proves its token-> Enrolled -job-> Working -> Enrolled -> Released
//! any of them -revoke-> Revoked
//! ```
//!
//! A device has an id of its own. A MAC address or an IP address finds it and never proves it: a machine that shows a
//! known MAC with another SMBIOS UUID or serial number is a stranger. What proves it is its token, once, and then its
//! certificate. All of it lies in the state database, so that a controller that is started again knows its devices.

mod boot;
mod error;
mod model;
mod registry;
mod schema;
mod token;

#[cfg(test)]
mod tests;

pub use boot::{Boot, UNHEARD_BOOTS, Why};
pub use error::DeviceError;
pub use model::{BootAnswer, Device, DeviceId, DeviceState, Facts, NewDevice, Sighting};
pub use registry::Devices;
