//! Tasks at the source: look again, pre-copy, boot into the agent, capture, seal, release.

use crate::address::Address;
use crate::inventory::DiskFacts;
use crate::plan::{AgentSource, Capture, CaptureRead, DiskFormat, OnReadError, SnapshotUse, SshSource};

use super::super::phases::Sides;
use super::super::task::{Key, Phase, Reversal, Task, TaskLimits};
use super::{Make, compression, count, encryption, limits};

impl Make<'_> {
    pub(in super::super) fn validate(&self) -> (Task, Sides) {
        let disks = count(self.facts.disks.len(), "source disk");
        let what = format!("look again at {disks} and the host's tools");
        let mut task = self.task("validate", Phase::Validate, what, "validate", None);
        task.limits = limits(10, None, 1);
        for disk in &self.facts.disks {
            task.key.insert(disk.index.to_string(), disk.identity.clone());
        }
        let script = task.command.script.clone();
        (task, Sides { digests: vec![("script", script), self.common()], ..Sides::default() })
    }

    /// Most of the disks goes into the store while the source works, so that the agent's capture is short.
    pub(in super::super) fn precopy(&self, validate: &Address) -> (Task, Sides) {
        let disks = count(self.facts.disks.len(), "disk");
        let snapshots = self.machine.source.ssh.as_ref().map(snapshots).unwrap_or_default();
        let what = format!("pre-copy {disks} over ssh while the source works (not consistent){snapshots}");
        let mut task = self.task("precopy", Phase::Capture, what, "capture", Some("precopy".into()));
        task.key.insert("template".into(), self.template("capture"));
        task.key.extend(self.facts.disks.iter().map(|disk| (disk.index.to_string(), disk.identity.clone())));
        let why = "what it put into the store is of value to any later capture";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.bytes = Some(self.facts.disks.iter().map(|disk| disk.allocated.0).sum());
        task.throughput = Some("precopy".into());
        task.limits = limits(0, Some(10), 2);
        task.budgets = vec!["store".into()];
        task.depends_on = vec![validate.clone()];
        (task, Sides::default())
    }

    /// The source machine comes into the agent.
    pub(in super::super) fn boot_source(
        &self,
        source: &AgentSource,
        validate: &Address,
        agent: Option<&Address>,
    ) -> (Task, Sides) {
        let named = [("MAC", &source.mac), ("UUID", &source.uuid), ("serial number", &source.serial)];
        let named = named.into_iter().filter_map(|(what, value)| Some((what, value.as_ref()?)));
        let finds: Vec<String> = named.clone().map(|(what, value)| format!("{what} {value}")).collect();
        let what = format!("have the machine with {} boot into the agent, and wait for it", finds.join(", "));
        let mut task = self.task("boot", Phase::Capture, what, "capture", Some("boot".into()));
        task.key = named.map(|(what, value)| (what.to_owned(), value.clone())).collect();
        task.key.insert("template".into(), self.template("capture"));
        task.reversal = Reversal::Undo;
        task.limits = TaskLimits { retries: 2, ..TaskLimits::default() };
        task.depends_on = std::iter::once(validate.clone()).chain(agent.cloned()).collect();
        (task, Sides::default())
    }

    /// The source machine goes off; nobody needs it any more.
    pub(in super::super) fn release_source(&self, sealed: &Address) -> (Task, Sides) {
        let what = "switch the source machine off and release it".to_owned();
        let mut task = self.task("release", Phase::Capture, what, "capture", Some("release".into()));
        task.key.insert("template".into(), self.template("capture"));
        let why = "the source is only off; switch it on to have it back";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.limits = limits(30, None, 2);
        task.depends_on = vec![sealed.clone()];
        (task, Sides { upstream: vec![("images", vec![sealed.clone()])], ..Sides::default() })
    }

    pub(in super::super) fn capture(&self, disk: &DiskFacts, validate: &Address) -> (Task, Sides) {
        let id = disk.index.to_string();
        let format = DiskFormat::name(disk.format);
        let live = match (&self.machine.source.ssh, &self.machine.source.agent) {
            (Some(ssh), None) if ssh.accept_inconsistent => ", while it is in use: consistent or marked as not",
            (Some(_), None) => ", while it is in use: consistent or refused",
            _ => "",
        };
        let only_ssh = self.machine.source.ssh.as_ref().filter(|_| self.machine.source.agent.is_none());
        let snapshots = only_ssh.map(snapshots).unwrap_or_default();
        let what = format!("capture {id} ({}, {format}) of {}{live}{snapshots}", disk.size, disk.path);
        let mut task = self.task(&format!("capture/{id}"), Phase::Capture, what, "capture", Some(id.clone()));
        task.key = Key::from([
            ("source".into(), disk.path.to_string()),
            ("format".into(), format.into()),
            ("identity".into(), disk.identity.clone()),
            ("store".into(), self.plan.plan.store.path.to_string()),
            ("encryption".into(), encryption(&self.plan.plan.store.encryption)),
            ("compression".into(), compression(self.machine.capture.compression).into()),
            ("template".into(), self.template("capture")),
        ]);
        let Capture { read, on_read_error, .. } = self.machine.capture;
        if read == CaptureRead::Whole {
            task.key.insert("read".into(), "whole".into());
        }
        if on_read_error == OnReadError::ZeroAndReport {
            task.key.insert("on_read_error".into(), "zero-and-report".into());
        }
        let why = "a finished image is of value; remove it with `replant image rm`";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.bytes = Some(disk.allocated.0.min(disk.size.0));
        // What travels from an agent, and what is left to travel after a pre-copy, have rates of their own.
        let kind = match (&self.machine.source.agent, &self.machine.source.ssh) {
            (Some(_), Some(_)) => "capture-warm",
            (Some(_), None) => "capture-agent",
            (None, Some(_)) => "capture-ssh",
            (None, None) => "capture",
        };
        task.throughput = Some(kind.into());
        task.limits = limits(0, Some(10), 2);
        task.budgets = vec!["store".into()];
        task.depends_on = vec![validate.clone()];
        let store = &self.plan.plan.store.path;
        (task, Sides { writes: Some(format!("image {}/{id} in {store}", self.name())), ..Sides::default() })
    }

    pub(in super::super) fn seal(&self, captures: &[Address]) -> (Task, Sides) {
        let what = match captures.len() {
            1 => "seal the image".to_owned(),
            disks => format!("seal the images of {disks} disks as one set"),
        };
        let mut task = self.task("capture", Phase::Capture, what, "capture", Some("seal".into()));
        task.key.insert("template".into(), self.template("capture"));
        let why = "a sealed image is of value; remove it with `replant image rm`";
        task.reversal = Reversal::KeepsResult { why: why.into() };
        task.limits = limits(30, None, 2);
        task.depends_on = captures.to_vec();
        (task, Sides { upstream: vec![("images", captures.to_vec())], ..Sides::default() })
    }
}

/// What is done on a running machine besides reading, for people.
fn snapshots(ssh: &SshSource) -> String {
    let room = match ssh.snapshot_size {
        Some(size) => format!("{size} each"),
        None => "a tenth of each".to_owned(),
    };
    match ssh.snapshot {
        SnapshotUse::Never => "; no snapshots".to_owned(),
        SnapshotUse::Auto => format!(
            "; LVM volumes from snapshots where their group has {room} free, taken there (lvcreate -s) and removed again"
        ),
        SnapshotUse::Required => format!(
            "; every LVM volume in use from a snapshot, taken there (lvcreate -s, {room}) and removed again, or nothing is read"
        ),
    }
}
