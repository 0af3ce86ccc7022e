//! The resources that are placed together.

use std::fmt;

use serde::Serialize;

use crate::assess::sizing::{Amount, BitRate};
use crate::units::{ByteCount, Frequency};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Memory, overhead included.
    Memory,
    /// Processor reservations.
    Processor,
    /// Peak load over shared adapters.
    Network,
    /// Disk space, headroom included.
    Storage,
}

impl Resource {
    /// All of them, in the order of [`Resources::to_array`].
    pub const ALL: [Self; 4] = [Self::Memory, Self::Processor, Self::Network, Self::Storage];

    /// An amount of it.
    pub fn amount(self, number: u64) -> Amount {
        match self {
            Self::Memory | Self::Storage => Amount::Bytes(ByteCount(number)),
            Self::Processor => Amount::Frequency(Frequency(number)),
            Self::Network => Amount::BitRate(BitRate(number)),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Processor => "processor",
            Self::Network => "network",
            Self::Storage => "storage",
        })
    }
}

/// An amount of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Memory.
    pub memory: ByteCount,
    /// Processor.
    pub processor: Frequency,
    /// Network.
    pub network: BitRate,
    /// Storage.
    pub storage: ByteCount,
}

impl Resources {
    /// More of everything than anything needs; for what is not known of a host.
    pub const UNLIMITED: Self = Self {
        memory: ByteCount(u64::MAX),
        processor: Frequency(u64::MAX),
        network: BitRate(u64::MAX),
        storage: ByteCount(u64::MAX),
    };

    /// As a vector.
    pub fn to_array(self) -> [u64; 4] {
        [self.memory.0, self.processor.0, self.network.0, self.storage.0]
    }
}
