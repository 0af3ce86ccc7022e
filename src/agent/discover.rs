//! What the agent sees of its machine: disks, network adapters, firmware, identity.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Facts by name, such as `firmware`, `disk.vda.bytes`, `nic.eth0.mac`.
pub type DeviceFacts = BTreeMap<String, String>;

/// Looks at this machine.
pub fn discover() -> DeviceFacts {
    discover_in(Path::new("/sys"))
}

fn discover_in(sys: &Path) -> DeviceFacts {
    let mut facts = DeviceFacts::new();
    let firmware = if sys.join("firmware/efi").exists() { "uefi" } else { "bios" };
    facts.insert("firmware".into(), firmware.into());
    for name in ["product_uuid", "product_name", "sys_vendor", "product_serial"] {
        if let Some(value) = line(&sys.join("class/dmi/id").join(name)) {
            facts.insert(format!("smbios.{name}"), value);
        }
    }
    for name in names(&sys.join("class/net")).into_iter().filter(|name| name != "lo") {
        if let Some(mac) = line(&sys.join("class/net").join(&name).join("address")) {
            facts.insert(format!("nic.{name}.mac"), mac);
        }
    }
    for name in names(&sys.join("block")) {
        let folder = sys.join("block").join(&name);
        if name.starts_with("loop") || name.starts_with("ram") || name.starts_with("sr") {
            continue;
        }
        if let Some(sectors) = line(&folder.join("size")).and_then(|text| text.parse::<u64>().ok()) {
            facts.insert(format!("disk.{name}.bytes"), (sectors * 512).to_string());
        }
        if let Some(serial) = serial(&folder) {
            facts.insert(format!("disk.{name}.serial"), serial);
        }
    }
    facts
}

/// A disk of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenDisk {
    /// Its device.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
}

impl std::fmt::Display for SeenDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (", self.path.display())?;
        if let Some(serial) = &self.serial {
            write!(f, "serial number {serial}, ")?;
        }
        write!(f, "{} bytes)", self.bytes)
    }
}

/// The disks of this machine that could hold an operating system, in the kernel's order.
pub fn disks() -> Vec<SeenDisk> {
    let block = Path::new("/sys/block");
    let wanted =
        |name: &String| !["loop", "ram", "sr", "fd", "zram", "dm-", "md"].iter().any(|no| name.starts_with(no));
    let seen = |name: String| {
        let folder = block.join(&name);
        let sectors: u64 = line(&folder.join("size"))?.parse().ok()?;
        let path = Path::new("/dev").join(name.replace('!', "/"));
        (sectors > 0).then(|| SeenDisk { path, bytes: sectors * 512, serial: serial(&folder) })
    };
    names(block).into_iter().filter(wanted).filter_map(seen).collect()
}

/// What virtio and NVMe disks say themselves, and what SCSI and ATA disks say in a page of their own.
fn serial(folder: &Path) -> Option<String> {
    line(&folder.join("serial")).or_else(|| line(&folder.join("device/serial"))).or_else(|| {
        let page = fs::read(folder.join("device/vpd_pg80")).ok()?;
        let text = String::from_utf8_lossy(page.get(4..)?).trim().trim_matches('\0').to_owned();
        (!text.is_empty()).then_some(text)
    })
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_adapters_and_firmware_are_seen() {
        let sys = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("firmware/efi/runtime", "");
        write("class/dmi/id/product_uuid", "ABC\n");
        write("class/net/lo/address", "00:00:00:00:00:00\n");
        write("class/net/eth0/address", "52:54:00:12:34:56\n");
        write("block/vda/size", "2048\n");
        write("block/vda/serial", "disk0\n");
        write("block/loop0/size", "8\n");
        let facts = discover_in(sys.path());
        let wanted = [
            ("disk.vda.bytes", "1048576"),
            ("disk.vda.serial", "disk0"),
            ("firmware", "uefi"),
            ("nic.eth0.mac", "52:54:00:12:34:56"),
            ("smbios.product_uuid", "ABC"),
        ];
        assert_eq!(facts.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), wanted);
    }
}
