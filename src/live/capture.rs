//! The capture: look, read, look again.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::image::remote::{
    Batch, BatchAnswer, BatchSink, RemoteCapture, RemoteReport, RemoteSource, SendReport, SinkError, send_disk,
};
use crate::image::used::UsedDisk;
use crate::image::{Compression, Control, DiskName, ImageError, Live, OnReadError, Store};
use crate::plan::SnapshotUse;
use crate::units::ByteCount;

use super::look::{Seen, look};
use super::snapshot;
use super::ssh::{SshError, SshTarget};

/// What to capture.
#[derive(Clone, Debug)]
pub struct LiveRequest {
    /// Whose disk.
    pub disk: DiskName,
    /// The machine.
    pub target: SshTarget,
    /// The disk there: a block device or a file.
    pub device: String,
    /// Bytes that it must have.
    pub size: u64,
    /// What the plan knows it by.
    pub identity: String,
    /// How chunks are stored.
    pub compression: Compression,
    /// Whether its file systems are frozen meanwhile, and how long at most.
    pub freeze: Option<Duration>,
    /// Whether its LVM volumes are read from snapshots.
    pub snapshot: SnapshotUse,
    /// Bytes that each snapshot gets; a tenth of its volume if nobody says.
    pub snapshot_room: Option<u64>,
    /// What about bytes that the medium does not give.
    pub on_read_error: OnReadError,
    /// An image that is not consistent will do.
    pub accept: bool,
}

/// What was done.
#[derive(Clone, Debug)]
pub struct LiveReport {
    /// The image.
    pub image: RemoteReport,
    /// What was read.
    pub sent: SendReport,
    /// Whether it is consistent.
    pub live: Live,
    /// How long it took.
    pub took: Duration,
    /// Snapshots that could not be removed, and how to.
    pub left: Option<String>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The machine does not do what it should.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The disk or the store does not.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// It is another disk.
    #[error("{device} of {target} has {found} bytes, and the plan says {expected}")]
    OtherSize {
        /// The device.
        device: String,
        /// The machine.
        target: String,
        /// What it has.
        found: u64,
        /// What it should have.
        expected: u64,
    },
    /// Snapshots are required, and cannot be had.
    #[error(
        "not everything on {device} of {target} can be read from a snapshot: {why}. Make room in the volume group, give \
         `snapshot_size`, or write `snapshot: auto`"
    )]
    NoSnapshot {
        /// The device.
        device: String,
        /// The machine.
        target: String,
        /// Of what.
        why: String,
    },
    /// A snapshot is no good any more.
    #[error(
        "the snapshot of {volume} on {target} overflowed: its {room} were full when {done} of {total} were read, so it is \
         no state of the volume any more, and nothing of it is used. At this rate it takes `snapshot_size: {}`; \
         fewer writes meanwhile, or a faster way to the store, make it less",
        enough.to_string().replace(' ', "")
    )]
    Overflow {
        /// The volume.
        volume: String,
        /// The machine.
        target: String,
        /// What it had.
        room: ByteCount,
        /// Bytes that were read until then.
        done: ByteCount,
        /// Bytes of the disk.
        total: ByteCount,
        /// What would do.
        enough: ByteCount,
    },
    /// Volumes were moved or made while snapshots were taken.
    #[error(
        "volumes on {device} of {target} were changed while snapshots of them were taken: try again when that is done"
    )]
    Remapped {
        /// The device.
        device: String,
        /// The machine.
        target: String,
    },
    /// The connection that keeps the snapshots is gone.
    #[error("{target}: the connection that keeps the snapshots broke, and with it they were removed; begin again")]
    Lost {
        /// The machine.
        target: String,
    },
}

/// File systems that are frozen; they are let go when this is dropped.
struct Frozen(Child);

impl Frozen {
    fn hold(request: &LiveRequest, longest: Duration) -> Result<Self, SshError> {
        let seconds = longest.as_secs().to_string();
        let mut frozen = Self(request.target.start(&["freeze", &request.device, &seconds])?);
        let mut line = String::new();
        let read = frozen.0.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
        if matches!(read, Some(Ok(_))) && line.trim() == "frozen" {
            return Ok(frozen);
        }
        drop(frozen.0.stdin.take());
        let mut said = Vec::new();
        if let Some(mut errors) = frozen.0.stderr.take() {
            let _ = std::io::Read::read_to_end(&mut errors, &mut said);
        }
        let code = frozen.0.wait().ok().and_then(|status| status.code());
        Err(request.target.failed(&said, code))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The script there lets go when its input ends, and says so by ending itself.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

struct Sink<'a>(&'a RemoteCapture);

impl BatchSink for Sink<'_> {
    fn deliver(&mut self, batch: &mut Vec<u8>) -> Result<BatchAnswer, SinkError> {
        Ok(self.0.take(&Batch::decode(batch)?)?)
    }
}

/// Captures a disk of a running machine. Begun again it goes on where it was, if nothing was written since.
pub fn capture_live(store: Arc<Store>, request: &LiveRequest, control: &Control<'_>) -> Result<LiveReport, LiveError> {
    let begun = Instant::now();
    let LiveRequest { disk, target, device, .. } = request;
    let frozen = request.freeze.map(|longest| Frozen::hold(request, longest)).transpose()?;
    let before = look(target, device)?;
    if before.size != request.size {
        let (device, target) = (device.clone(), target.to_string());
        return Err(LiveError::OtherSize { device, target, found: before.size, expected: request.size });
    }
    let (there, mut snapshots) = snapshot::open(request, &before)?;
    let state = snapshots.as_ref().map_or_else(|| before.written.clone(), snapshot::Snapshots::place);
    let source = RemoteSource {
        disk: disk.clone(),
        place: format!("ssh:{target}:{device}:{}:{state}", before.boot),
        identity: request.identity.clone(),
        size: before.size,
        on_read_error: request.on_read_error,
    };
    let capture = RemoteCapture::open(store, source)?;
    let read = || -> Result<SendReport, ImageError> {
        let used = UsedDisk::new(there)
            .map_err(|error| ImageError::Remote { doing: "reading the partitions over ssh", error: Box::new(error) })?;
        let connect = || Ok(Sink(&capture));
        let LiveRequest { compression, on_read_error, .. } = *request;
        send_disk(&used, capture.chunk_size(), capture.next_chunk(), compression, on_read_error, connect, control)
    };
    let sent = match read() {
        Ok(sent) => sent,
        Err(error) => {
            let (done, total) = capture.reached();
            let fault = snapshots.as_mut().filter(|_| !matches!(error, ImageError::Stopped { .. }));
            return Err(fault.and_then(|held| held.fault(request, done, total)).unwrap_or_else(|| error.into()));
        }
    };
    let after = look(target, device)?;
    let live = match &snapshots {
        None => judge(&before, &after, frozen.is_some()),
        Some(snapshots) => {
            let (written, names) = snapshots.judge(request, before.size)?;
            judge_snapshots(&before, &after, &written, &names)
        }
    };
    drop(frozen);
    let image = capture.finish_live(live.clone(), request.accept)?;
    let left = snapshots.and_then(|snapshots| snapshots.release(request));
    Ok(LiveReport { image, sent, live, took: begun.elapsed(), left })
}

/// What an image is worth whose volumes came from snapshots, when `written` was written besides.
fn judge_snapshots(before: &Seen, after: &Seen, written: &[String], names: &str) -> Live {
    let same = before.boot == after.boot && before.size == after.size;
    let snapshots = format!("each of these is one state, read from its snapshot: {names}");
    match (same, written.is_empty()) {
        (true, true) => {
            Live { consistent: true, how: format!("{snapshots}; nothing else was written while it was read") }
        }
        (true, false) => {
            Live { consistent: false, how: format!("written while it was read: {}; {snapshots}", written.join(", ")) }
        }
        (false, _) => Live { consistent: false, how: "the machine was restarted while it was read".to_owned() },
    }
}

/// Whether the disk stood still between two looks.
fn judge(before: &Seen, after: &Seen, frozen: bool) -> Live {
    let still = before.boot == after.boot && before.written == after.written && before.size == after.size;
    let how = match (still, frozen) {
        (true, true) => "its file systems were frozen, and nothing was written while it was read",
        (true, false) => "nothing was written while it was read; what programs had not written yet is not in it",
        (false, true) => "it was written while it was read, although its file systems were frozen at first",
        (false, false) => "it was written while it was read",
    };
    Live { consistent: still, how: how.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_write_or_one_boot_between_makes_a_pre_copy() {
        let seen = |boot: &str, written: &str| Seen { boot: boot.into(), written: written.into(), ..Seen::default() };
        assert!(judge(&seen("b", "1"), &seen("b", "1"), false).consistent);
        assert!(!judge(&seen("b", "1"), &seen("b", "2"), true).consistent);
        assert!(!judge(&seen("b", "1"), &seen("c", "1"), false).consistent);
    }
}
