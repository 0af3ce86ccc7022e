//! Why a machine's power cannot be switched.

use std::io;
use std::time::Duration;

use super::switch::PowerState;
use crate::controller::Fingerprint;

/// Why a machine's power cannot be switched.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// The password cannot be read.
    #[error("the password ({reference}) cannot be read: {message}")]
    Secret {
        /// Where it should come from.
        reference: String,
        /// Why it does not.
        message: String,
    },
    /// The service cannot be reached.
    #[error("the management controller at {at} cannot be reached")]
    Connection {
        /// Its address.
        at: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It shows another certificate.
    #[error(
        "the management controller at {at} shows the certificate {found}, and the plan trusts {expected}: if its certificate was changed, compare it on the machine itself and put the new one into the plan"
    )]
    OtherCertificate {
        /// Its address.
        at: String,
        /// What the plan says.
        expected: Fingerprint,
        /// What it shows.
        found: Fingerprint,
    },
    /// It does not let us in.
    #[error(
        "the management controller at {at} refuses the user `{user}`: check the user and its password, and that it may switch power"
    )]
    NoEntry {
        /// Its address.
        at: String,
        /// The user.
        user: String,
    },
    /// It refuses.
    #[error("the management controller at {at} refuses to {what}: {message}")]
    Refused {
        /// Its address.
        at: String,
        /// What was asked.
        what: String,
        /// What it said.
        message: String,
    },
    /// It serves several machines and the plan does not say which.
    #[error("the management controller at {at} has {}: name one in the plan, such as `url: https://{at}{}`", .systems.join(", "), .systems.first().map_or("", String::as_str))]
    WhichSystem {
        /// Its address.
        at: String,
        /// The paths of its systems.
        systems: Vec<String>,
    },
    /// It says what makes no sense.
    #[error("the management controller at {at} answers what cannot be understood: {message}")]
    Nonsense {
        /// Its address.
        at: String,
        /// What.
        message: String,
    },
    /// A program is missing.
    #[error("`ipmitool` cannot be run: install the Debian package ipmitool")]
    NoIpmitool(#[source] io::Error),
    /// The machine did not get there.
    #[error("the machine is {found} and not {wanted} after {waited:?}")]
    Late {
        /// What was asked.
        wanted: PowerState,
        /// What it is.
        found: PowerState,
        /// For how long it was watched.
        waited: Duration,
    },
}
