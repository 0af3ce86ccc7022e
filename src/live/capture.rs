//! The capture: look, read, look again.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::image::remote::{
    Batch, BatchAnswer, BatchSink, RemoteCapture, RemoteReport, RemoteSource, SendReport, SinkError, send_disk,
};
use crate::image::used::UsedDisk;
use crate::image::{Compression, Control, DiskName, DiskReader, ImageError, Live, Store};

use super::disk::SshDisk;
use super::look::{Seen, look};
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
    let source = RemoteSource {
        disk: disk.clone(),
        place: format!("ssh:{target}:{device}:{}:{}", before.boot, before.written),
        identity: request.identity.clone(),
        size: before.size,
    };
    let capture = RemoteCapture::open(store, source)?;
    let there: Box<dyn DiskReader> = Box::new(SshDisk::new(target, device, before.size, before.direct));
    let used = UsedDisk::new(there)
        .map_err(|error| ImageError::Remote { doing: "reading the partitions over ssh", error: Box::new(error) })?;
    let connect = || Ok(Sink(&capture));
    let sent = send_disk(&used, capture.chunk_size(), capture.next_chunk(), request.compression, connect, control)?;
    let after = look(target, device)?;
    let was_frozen = frozen.is_some();
    drop(frozen);
    let live = judge(&before, &after, was_frozen);
    let image = capture.finish_live(live.clone(), request.accept)?;
    Ok(LiveReport { image, sent, live, took: begun.elapsed() })
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
