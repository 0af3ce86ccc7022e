//! Words for hardware that plans, providers and images share.

use serde::{Deserialize, Serialize};

/// A disk file's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Bytes as they are; also block devices.
    Raw,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
}

/// Firmware of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// Legacy BIOS.
    Bios,
    /// UEFI.
    Uefi,
}
