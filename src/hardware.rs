//! Words for hardware that plans, providers and images share.

use serde::{Deserialize, Serialize};

/// A disk's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Bytes as they are; also block devices.
    Raw,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// VMware's disk: one file, or a descriptor and the files it names.
    Vmdk,
    /// A disk of a virtual appliance: a tar file of a description and compressed disks.
    Ova,
    /// Microsoft's and Xen's older disk, fixed or dynamic.
    Vhd,
    /// Microsoft's newer disk.
    Vhdx,
}

impl DiskFormat {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Ova, Self::Vhd, Self::Vhdx];

    /// Reads [`Self::name`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Its name in plans and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Ova => "ova",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }

    /// Whether a disk can be written in it; an appliance is only read.
    pub fn is_written(self) -> bool {
        self != Self::Ova
    }
}

impl std::fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
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
