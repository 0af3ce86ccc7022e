//! A fact with who observed it, when and how.

use jiff::Timestamp;

use super::value::words;

/// A value and the observation it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact<T> {
    /// The value.
    pub value: T,
    /// The observation's place in the document's list.
    pub from: u16,
}

impl<T> Fact<T> {
    /// A fact of the document's first observation, which is the only one while a document is being made.
    pub fn of(value: T) -> Self {
        Self { value, from: 0 }
    }

    /// The same, where the value may be missing.
    pub fn maybe(value: Option<T>) -> Option<Self> {
        value.map(Self::of)
    }
}

/// A text that says something, without the space around it.
pub fn text(value: impl AsRef<str>) -> Option<Fact<String>> {
    let trimmed = value.as_ref().trim();
    // Characters that XML cannot hold would make the document unreadable.
    let clean = |c: char| (!c.is_control() || matches!(c, '\t' | '\n')) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    let cleaned: String = trimmed.chars().filter(|c| clean(*c)).collect();
    (!cleaned.is_empty()).then(|| Fact::of(cleaned))
}

words! {
    /// How an observation was made.
    Method {
        /// A script run over ssh on the running machine.
        Ssh = "ssh",
        /// The script for Linux, run by somebody; its output imported.
        LinuxScript = "linux-script",
        /// The script for Windows, run by somebody; its output imported.
        WindowsScript = "windows-script",
        /// The booted agent looked at the machine's hardware.
        Agent = "agent",
        /// The disks were looked into.
        Inspection = "inspection",
        /// A VMware descriptor.
        Vmx = "vmx",
        /// An OVF descriptor.
        Ovf = "ovf",
        /// A libvirt domain.
        Libvirt = "libvirt",
        /// A workbook of RVTools.
        Rvtools = "rvtools",
        /// Recorded by sysstat.
        Sysstat = "sysstat",
        /// Recorded by the performance monitor of Windows.
        PerformanceMonitor = "performance-monitor",
        /// Exported from Prometheus.
        Prometheus = "prometheus",
        /// Exported from vSphere.
        Vsphere = "vsphere",
        /// Recorded samples in a plain table.
        Samples = "samples",
        /// Written by a person.
        Declared = "declared",
    }
}

/// Who observed, how, from what and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Who: a program and its version, or a person.
    pub by: String,
    /// How.
    pub how: Method,
    /// From what: a file, with sheet and row or line; a machine's address.
    pub source: Option<String>,
    /// When it was observed; an import's file says so itself, or was written then.
    pub when: Option<Timestamp>,
}
