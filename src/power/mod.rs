//! Switches machines on and off and has them boot from the network once: by Redfish, by IPMI, or by a person.
//!
//! ```text
//! Power (plan) --open--> Switch --state | on | off | reset | boot_from_network--> waits until it is so
//! ```
//!
//! A running system is asked to shut down, and its power is cut only when the caller says `Force`. Passwords are read
//! when they are needed and stand in no argument list.

mod error;
mod https;
mod ipmi;
mod redfish;
mod secret;
mod switch;

pub use error::PowerError;
pub use https::presented_certificate;
pub use switch::{Force, PowerState, Switch, Wait};
