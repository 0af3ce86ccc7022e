//! Why the registry refuses.

use crate::hardware::MacAddress;
use crate::journal::JournalError;

use super::model::DeviceId;

/// Why a device is not found, or not what it says.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The state database cannot be used.
    #[error(transparent)]
    State(#[from] JournalError),
    /// Nobody has it.
    #[error("no device is `{asked}`: `replant device ls` lists those that are known")]
    Unknown {
        /// What was asked for.
        asked: String,
    },
    /// More than one device answers to it.
    #[error("`{asked}` may be {}: give more of the id", .candidates.iter().map(DeviceId::as_str).collect::<Vec<_>>().join(" or "))]
    Ambiguous {
        /// What was asked for.
        asked: String,
        /// The devices.
        candidates: Vec<DeviceId>,
    },
    /// A device without anything that finds it.
    #[error("a device needs a MAC address, a UUID or a serial number")]
    Nameless,
    /// The name is no name.
    #[error("`{name}` is no name: letters, digits, `.`, `_` and `-`, 63 at most, and a letter or digit first")]
    Name {
        /// The name.
        name: String,
    },
    /// Another device has it.
    #[error("{what} belongs to {owner} already")]
    Taken {
        /// What.
        what: String,
        /// The device that has it.
        owner: DeviceId,
    },
    /// The machine shows what belongs to two devices.
    #[error("a machine shows what belongs to {one} and to {other}")]
    Torn {
        /// A device.
        one: DeviceId,
        /// Another.
        other: DeviceId,
    },
    /// The machine shows a device's MAC address and something else's identity.
    #[error("a machine shows {} of {device}, but its {what} is `{found}` and not `{expected}`", .mac.map_or("something".to_owned(), |mac| mac.to_string()))]
    Stranger {
        /// The device that it resembles.
        device: DeviceId,
        /// The address that it shares.
        mac: Option<MacAddress>,
        /// What differs: `UUID` or `serial number`.
        what: &'static str,
        /// What the device has.
        expected: String,
        /// What the machine has.
        found: String,
    },
    /// A token that was never issued, or was used.
    #[error("the token is unknown")]
    UnknownToken,
    /// A token that is too old.
    #[error("the token has expired")]
    ExpiredToken,
    /// A device that is shut out, or was released.
    #[error("{device} is shut out")]
    ShutOut {
        /// The device.
        device: DeviceId,
    },
}
