//! Every source disk of a plan, every problem at once.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;

use super::disk::probe_disk;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::inventory::{DiskFacts, DiskKind, MachineFacts};
use crate::plan::{AgentDisk, DiskFormat, Plan, SourceDisk};
use crate::units::ByteCount;

/// Looks at all source disks; facts stand at the same index as `plan.machines`.
pub fn observe(plan: &Plan) -> Result<Vec<MachineFacts>, Diagnostics> {
    let mut found = Diagnostics::new();
    let mut known: HashMap<(u64, u64), &Span> = HashMap::with_capacity(plan.machines.len());
    let mut facts = Vec::with_capacity(plan.machines.len());
    for machine in &plan.machines {
        let mut disks = Vec::with_capacity(machine.source.disks.len());
        for disk in &machine.source.disks {
            if let Some(known) = &disk.in_agent {
                disks.push(in_agent(disk, known));
                continue;
            }
            if let Some(live) = &disk.live {
                disks.push(declared(disk, live.size, format!("ssh device={} size={}", live.device, live.size.0)));
                continue;
            }
            match probe_disk(&disk.path.value, disk.index, disk.format) {
                Err(error) => found.push(
                    Diagnostic::error("source.refused", error.to_string())
                        .at(disk.path.span.clone(), format!("{} of `{}`", disk.index, machine.name.value))
                        .help(error.help()),
                ),
                Ok(seen) => {
                    if let Some(first) = file_id(disk).and_then(|id| known.insert(id, &disk.path.span)) {
                        found.push(shared(disk, first));
                    }
                    disks.push(seen);
                }
            }
        }
        facts.push(MachineFacts { disks, document: None });
    }
    match found.is_empty() {
        true => Ok(facts),
        false => Err(found.finish()),
    }
}

/// What is declared of a disk that only the agent sees; the capture proves it.
fn in_agent(disk: &SourceDisk, known: &AgentDisk) -> DiskFacts {
    let size = known.size;
    let identity = match &known.serial {
        Some(serial) => format!("agent serial={} size={}", serial.replace(char::is_whitespace, "_"), size.0),
        None => format!("agent size={}", size.0),
    };
    declared(disk, size, identity)
}

fn declared(disk: &SourceDisk, size: ByteCount, identity: String) -> DiskFacts {
    DiskFacts {
        index: disk.index,
        path: disk.path.value.clone(),
        format: DiskFormat::Raw,
        kind: DiskKind::Block,
        size,
        allocated: size,
        identity,
        boots: None,
    }
}

/// Device and inode of a file, the device's numbers of a block device: two paths may lead to one disk.
fn file_id(disk: &SourceDisk) -> Option<(u64, u64)> {
    let metadata = disk.path.value.metadata().ok()?;
    match metadata.is_file() {
        true => Some((metadata.dev(), metadata.ino())),
        false => Some((u64::MAX, metadata.rdev())),
    }
}

fn shared(disk: &SourceDisk, first: &Span) -> Diagnostic {
    Diagnostic::error("source.shared", format!("`{}` is a disk that the plan reads twice", disk.path.value))
        .at(disk.path.span.clone(), "this path leads to the same disk")
        .at(first.clone(), "as this one")
        .help("every disk belongs to one machine and is listed once; a link may hide that two paths are one")
}
