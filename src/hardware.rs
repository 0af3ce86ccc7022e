//! Words for hardware that plans, providers and images share.

use std::fmt;
use std::str::FromStr;

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

/// An Ethernet address: six bytes, written `52:54:00:12:34:56`. It names an adapter, never a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// From bytes, if they are one adapter's: neither a group's nor nobody's.
    pub fn new(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// The six bytes.
    pub fn bytes(&self) -> [u8; 6] {
        self.0
    }
}

/// What is no [`MacAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no MAC address: write six bytes as 52:54:00:12:34:56")]
pub struct NoMacAddress(String);

impl FromStr for MacAddress {
    type Err = NoMacAddress;

    fn from_str(text: &str) -> Result<Self, NoMacAddress> {
        let wrong = || NoMacAddress(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()));
            *byte = part.and_then(|part| u8::from_str_radix(part, 16).ok()).ok_or_else(wrong)?;
        }
        // A group address, and the address of nobody, name no adapter.
        Self::new(bytes).filter(|_| parts.next().is_none()).ok_or_else(wrong)
    }
}

impl TryFrom<String> for MacAddress {
    type Error = NoMacAddress;

    fn try_from(text: String) -> Result<Self, NoMacAddress> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The UUID that a machine's firmware says it has (SMBIOS type 1). All zeros and all ones mean that it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SmbiosUuid(uuid::Uuid);

/// What is no [`SmbiosUuid`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the UUID of a machine: write 4c4c4544-0042-3510-8056-b7c04f4d3432")]
pub struct NoSmbiosUuid(String);

impl SmbiosUuid {
    /// Whether both name one machine: firmware older than SMBIOS 2.6 has no agreed order for the first eight bytes.
    pub fn names_same_machine(&self, other: &Self) -> bool {
        self == other || self.0.to_bytes_le() == *other.0.as_bytes()
    }
}

impl FromStr for SmbiosUuid {
    type Err = NoSmbiosUuid;

    fn from_str(text: &str) -> Result<Self, NoSmbiosUuid> {
        match uuid::Uuid::try_parse(text.trim()) {
            Ok(id) if !id.is_nil() && !id.is_max() => Ok(Self(id)),
            _ => Err(NoSmbiosUuid(text.to_owned())),
        }
    }
}

impl TryFrom<String> for SmbiosUuid {
    type Error = NoSmbiosUuid;

    fn try_from(text: String) -> Result<Self, NoSmbiosUuid> {
        text.parse()
    }
}

impl From<SmbiosUuid> for String {
    fn from(id: SmbiosUuid) -> Self {
        id.to_string()
    }
}

impl fmt::Display for SmbiosUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_address_reads_back_and_nonsense_is_refused() {
        let mac: MacAddress = "52-54-00-12-34-aB".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:12:34:ab");
        for bad in ["", "52:54:00:12:34", "52:54:00:12:34:56:78", "+2:54:00:12:34:56", "01:00:5e:00:00:01"] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
        assert!("00:00:00:00:00:00".parse::<MacAddress>().is_err());
    }

    #[test]
    fn a_uuid_of_old_firmware_names_the_same_machine() {
        let new: SmbiosUuid = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
        let old: SmbiosUuid = "33221100-5544-7766-8899-aabbccddeeff".parse().unwrap();
        assert!(new.names_same_machine(&old) && old.names_same_machine(&new) && new != old);
        assert!("ffffffff-ffff-ffff-ffff-ffffffffffff".parse::<SmbiosUuid>().is_err());
    }
}
