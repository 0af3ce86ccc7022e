//! Facts of disks, and a plan that every needed fact is bound to.

use std::sync::Arc;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::model::Document;
use crate::plan::{DiskFormat, DiskIndex, Firmware, Nic, Plan};
use crate::units::ByteCount;

/// What was seen of one source disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// Which disk.
    pub index: DiskIndex,
    /// Its path, absolute.
    pub path: Utf8PathBuf,
    /// Its format: declared, or by the file's own signature.
    pub format: DiskFormat,
    /// File or block device.
    pub kind: DiskKind,
    /// Bytes the machine sees.
    pub size: ByteCount,
    /// Bytes the file takes; the upper bound of what is read.
    pub allocated: ByteCount,
    /// One line that changes when the disk's content or layout may have changed:
    /// `file size=N mtime=NANOSECONDS inode=N` or `block serial=S size=N`.
    pub identity: String,
    /// Firmware that its boot areas are made for, if it is bootable.
    pub boots: Option<Firmware>,
}

/// File or block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// A regular file.
    File,
    /// A block device.
    Block,
}

/// What was seen of one machine, in plan order of its disks.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineFacts {
    /// Its disks.
    pub disks: Vec<DiskFacts>,
    /// What its inventory document says, if the plan names one.
    pub document: Option<Arc<Document>>,
}

/// A machine's open questions answered from declaration or observation. Stands at the same index as
/// `plan.machines`.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedMachine {
    /// What was seen.
    pub disks: Vec<DiskFacts>,
    /// What its inventory document says, if the plan names one.
    pub document: Option<Arc<Document>>,
    /// Memory of the VM.
    pub memory: ByteCount,
    /// Processors of the VM.
    pub cpus: u32,
    /// Firmware of the VM.
    pub firmware: Firmware,
    /// Network adapters of the VM, MAC addresses from the inventory.
    pub nics: Vec<Nic>,
}

/// A plan with the facts it needs; only `resolve` makes one.
#[derive(Clone, Debug)]
pub struct ResolvedPlan {
    /// What is asked.
    pub plan: Plan,
    /// What is known, machine by machine in plan order.
    pub machines: Vec<ResolvedMachine>,
}
