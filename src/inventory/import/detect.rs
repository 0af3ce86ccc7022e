//! What kind of file it is.

use crate::inventory::document::NAMESPACE;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// An inventory document, XML or JSON.
    Document,
    /// VMware's `.vmx`.
    Vmx,
    /// An OVF descriptor.
    Ovf,
    /// `virsh dumpxml`.
    Libvirt,
    /// RVTools: a workbook, or a tab as separated values.
    Rvtools,
    /// Output of the script for Linux.
    Linux,
    /// Output of the script for Windows.
    Windows,
    /// What was found on disks: `replant inspect --json`.
    Inspection,
    /// What the agent saw of its machine: `replant device show --json`.
    Device,
}

impl FileKind {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("document", Self::Document),
        ("vmx", Self::Vmx),
        ("ovf", Self::Ovf),
        ("libvirt", Self::Libvirt),
        ("rvtools", Self::Rvtools),
        ("linux", Self::Linux),
        ("windows", Self::Windows),
        ("inspection", Self::Inspection),
        ("device", Self::Device),
    ];
}

/// Tells the kind of a file by its content, and by its name where that says nothing.
pub fn detect(name: &str, bytes: &[u8]) -> Option<FileKind> {
    let lower = name.to_lowercase();
    if bytes.starts_with(b"PK\x03\x04") {
        return lower.ends_with(".xlsx").then_some(FileKind::Rvtools);
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(64 << 10)]);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    if head.starts_with('<') {
        return match head {
            _ if head.contains(NAMESPACE) => Some(FileKind::Document),
            _ if head.contains("<domain") => Some(FileKind::Libvirt),
            _ if head.contains("Envelope") => Some(FileKind::Ovf),
            _ => None,
        };
    }
    if head.starts_with('{') {
        return match head {
            _ if head.contains("\"replant-windows-inventory\"") => Some(FileKind::Windows),
            _ if head.contains("\"disks\"") && head.contains("\"contents\"") => Some(FileKind::Inspection),
            _ if head.contains("\"macs\"") && head.contains("\"inventory\"") => Some(FileKind::Device),
            _ if head.contains("\"facts\"") => Some(FileKind::Document),
            _ => None,
        };
    }
    if head.starts_with("replant-linux-inventory") {
        return Some(FileKind::Linux);
    }
    let first = head.lines().next().unwrap_or_default().to_lowercase();
    if super::rvtools::tab(&lower).is_some() && first.contains("vm") {
        return Some(FileKind::Rvtools);
    }
    let keys = ["config.version", "virtualhw.version", "displayname"];
    let text = head.to_lowercase();
    (lower.ends_with(".vmx") || keys.iter().filter(|key| text.contains(*key)).count() > 1).then_some(FileKind::Vmx)
}
