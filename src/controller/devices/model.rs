//! What is known of a device.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::controller::pki::Fingerprint;
use crate::hardware::{MacAddress, SmbiosUuid};

/// What the agent saw of its machine, by name: `firmware`, `disk.sda.bytes`, `nic.eth0.mac`...
pub type Facts = BTreeMap<String, String>;

/// Names a device; unique in one state database, never used again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceId(String);

impl DeviceId {
    /// Wraps a text that is an id already.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// The word that stands for it.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// Reads [`Self::word`].
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What a device that asks the network for something to boot is told.
    BootAnswer {
        /// The agent.
        Agent = "agent",
        /// Its own disk.
        Local = "local",
        /// Nothing at all, as if nobody were there.
        Ignore = "ignore",
    }
}

words! {
    /// Where a device stands.
    DeviceState {
        /// It is known and was not heard of yet.
        Registered = "registered",
        /// It was given the agent and has not enrolled yet.
        Booted = "booted",
        /// Its agent has a certificate and waits for work.
        Enrolled = "enrolled",
        /// Its agent works on a job.
        Working = "working",
        /// It is done with: its certificate opens nothing.
        Released = "released",
        /// It was shut out.
        Revoked = "revoked",
    }
}

/// A device as the database has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// The name that people gave it; unique if there is one.
    pub name: Option<String>,
    /// What its firmware says it is; learned at its first enrolment if nobody said it before.
    pub uuid: Option<SmbiosUuid>,
    /// Serial number of the machine, from its firmware.
    pub serial: Option<String>,
    /// Its network adapters.
    pub macs: Vec<MacAddress>,
    /// What its agent saw, last.
    pub inventory: Facts,
    /// The certificate that opens its jobs; `None` before enrolment and after release.
    pub certificate: Option<Fingerprint>,
    /// Where it stands.
    pub state: DeviceState,
    /// What it is told when it boots from the network.
    pub boot: BootAnswer,
    /// Whether `agent` holds for one boot only.
    pub one_shot: bool,
    /// How often it was given the agent.
    pub boots: u32,
    /// How often in a row it was given the agent and did not enrol.
    pub unheard: u32,
    /// When it was heard of last, milliseconds since 1970.
    pub last_seen: Option<i64>,
    /// When it was added, milliseconds since 1970.
    pub added: i64,
}

impl Device {
    /// Its name, or its id if it has none.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// A device to register: at least one of MAC, UUID and serial number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDevice {
    /// A name for people.
    pub name: Option<String>,
    /// Its SMBIOS UUID.
    pub uuid: Option<SmbiosUuid>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its network adapters.
    pub macs: Vec<MacAddress>,
}

/// What a machine that asks for something shows of itself. It proves nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The adapter that it asks through, and others that it names.
    pub macs: Vec<MacAddress>,
    /// Its SMBIOS UUID.
    pub uuid: Option<SmbiosUuid>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// A serial number, if it says anything: firmware is full of fillers.
pub(super) fn telling_serial(text: &str) -> Option<String> {
    const FILLERS: [&str; 8] = [
        "",
        "0",
        "none",
        "not specified",
        "default string",
        "system serial number",
        "to be filled by o.e.m.",
        "0123456789",
    ];
    let text = text.trim();
    (!FILLERS.contains(&text.to_ascii_lowercase().as_str()) && text.len() <= 128).then(|| text.to_owned())
}

impl Sighting {
    /// What an agent's facts say of its machine.
    pub fn from_facts(facts: &Facts) -> Self {
        let macs = facts.iter().filter(|(name, _)| name.starts_with("nic.") && name.ends_with(".mac"));
        Self {
            macs: macs.filter_map(|(_, mac)| mac.parse().ok()).collect(),
            uuid: facts.get("smbios.product_uuid").and_then(|text| text.parse().ok()),
            serial: facts.get("smbios.product_serial").and_then(|text| telling_serial(text)),
        }
    }
}
