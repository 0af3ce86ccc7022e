//! The boot configuration data of Windows Vista and later: a registry hive that the boot manager reads before any driver.

use serde::{Deserialize, Serialize};

use super::registry::{Hive, HiveError};

/// Where the store lies on the EFI system partition.
pub(super) const ON_ESP: &str = "EFI/Microsoft/Boot/BCD";
/// Where the store lies on the active partition of a BIOS machine.
pub(super) const ON_NTFS: &str = "\\Boot\\BCD";

/// The object that is the boot manager.
const BOOT_MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
/// Elements of objects.
const DEFAULT: &str = "23000003";
const TIMEOUT: &str = "25000004";
const DEVICE: &str = "11000001";
const PATH: &str = "12000002";
const DESCRIPTION: &str = "12000004";
const OS_DEVICE: &str = "21000001";

/// How a Windows is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFacts {
    /// The firmware that the store is for: what lies on an EFI system partition is for UEFI.
    pub mode: BootMode,
    /// The partition that holds the store, in plan words.
    pub store: String,
    /// What is started when nobody chooses.
    pub default: Option<BootEntry>,
    /// How many other entries the menu has.
    pub others: usize,
    /// Seconds that the menu is shown.
    pub timeout: Option<u64>,
}

/// Firmware that a Windows starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootMode {
    /// BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

/// An entry of the boot menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// The object's identifier, with braces.
    pub id: String,
    /// Its name in the menu.
    pub description: Option<String>,
    /// The loader: `\Windows\system32\winload.efi`.
    pub path: Option<String>,
    /// Where the loader lies.
    pub device: Option<BootDevice>,
    /// Where the system lies.
    pub os_device: Option<BootDevice>,
}

/// A device of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum BootDevice {
    /// The one that the machine was started from.
    Boot,
    /// A partition of a disk with a DOS partition table.
    Mbr {
        /// The disk's signature, eight hexadecimal digits.
        disk: String,
        /// The partition's first byte.
        start: u64,
    },
    /// A partition of a disk with a GPT.
    Gpt {
        /// The disk's identifier.
        disk: String,
        /// The partition's identifier.
        partition: String,
    },
    /// Another one.
    Other {
        /// Its type in the store.
        number: u32,
    },
}

/// Reads a store. `Ok(None)` if the hive is no such store.
pub(super) fn read(hive: &Hive, mode: BootMode, store: String) -> Result<Option<BootFacts>, HiveError> {
    let Some(objects) = hive.key("Objects")? else { return Ok(None) };
    let mut entries = 0;
    for object in objects.subkeys()? {
        let kind = hive.value(&format!("Objects\\{}\\Description", object.name()), "Type")?;
        // Applications that load an operating system: 0x10200003.
        entries += usize::from(kind.and_then(|kind| kind.as_number()) == Some(0x1020_0003));
    }
    let element = |id: &str, element: &str| hive.value(&format!("Objects\\{id}\\Elements\\{element}"), "Element");
    let default = match element(BOOT_MANAGER, DEFAULT)?.and_then(|value| value.as_text()) {
        Some(id) => {
            let text = |name: &str| Ok::<_, HiveError>(element(&id, name)?.and_then(|value| value.as_text()));
            let device = |name: &str| Ok::<_, HiveError>(element(&id, name)?.and_then(|value| device(&value.data)));
            Some(BootEntry {
                description: text(DESCRIPTION)?,
                path: text(PATH)?,
                device: device(DEVICE)?,
                os_device: device(OS_DEVICE)?,
                id,
            })
        }
        None => None,
    };
    let timeout = element(BOOT_MANAGER, TIMEOUT)?.and_then(|value| {
        let bytes = value.data.get(..8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    });
    Ok(Some(BootFacts {
        mode,
        store,
        others: entries.saturating_sub(usize::from(default.is_some())),
        default,
        timeout,
    }))
}

/// A device element: an identifier of 16 bytes, then type, flags, length and a reserved number, then what the type says.
fn device(bytes: &[u8]) -> Option<BootDevice> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let guid = |at: usize| {
        let bytes: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(uuid::Uuid::from_bytes_le(bytes).to_string())
    };
    Some(match number(0x10)? {
        5 => BootDevice::Boot,
        // A partition: its identifier, the kind of device it is on (0: a hard disk), the kind of table, the disk.
        6 => match (number(0x30)?, number(0x34)?) {
            (0, 0) => BootDevice::Gpt { disk: guid(0x38)?, partition: guid(0x20)? },
            (0, 1) => BootDevice::Mbr {
                disk: format!("{:08x}", number(0x38)?),
                start: u64::from_le_bytes(bytes.get(0x20..0x28)?.try_into().ok()?),
            },
            _ => BootDevice::Other { number: 6 },
        },
        number => BootDevice::Other { number },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(kind: u32, table: u32) -> Vec<u8> {
        let mut bytes = vec![0; 0x58];
        bytes[0x10..0x14].copy_from_slice(&kind.to_le_bytes());
        bytes[0x20..0x28].copy_from_slice(&(1u64 << 20).to_le_bytes());
        bytes[0x34..0x38].copy_from_slice(&table.to_le_bytes());
        bytes[0x38..0x3c].copy_from_slice(&0x3132_3334u32.to_le_bytes());
        bytes
    }

    #[test]
    fn devices_of_both_partition_tables_are_understood() {
        assert_eq!(device(&element(5, 0)), Some(BootDevice::Boot));
        assert_eq!(device(&element(6, 1)), Some(BootDevice::Mbr { disk: "31323334".into(), start: 1 << 20 }));
        let Some(BootDevice::Gpt { disk, partition }) = device(&element(6, 0)) else { panic!("a GPT partition") };
        assert_eq!(disk, "31323334-0000-0000-0000-000000000000");
        assert_eq!(partition, "00100000-0000-0000-0000-000000000000");
        assert_eq!(device(&element(8, 0)), Some(BootDevice::Other { number: 8 }));
    }

    proptest::proptest! {
        #[test]
        fn any_element_is_survived(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..100)) {
            let _ = device(&bytes);
        }
    }
}
