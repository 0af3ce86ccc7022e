//! A disk of this machine on its way into the controller's store.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::body::Bytes;

use crate::controller::{CaptureOpen, CaptureOpened, CapturedImage};
use crate::device;
use crate::image::remote::{BatchAnswer, BatchSink, SinkError, send_disk};
use crate::image::used::UsedDisk;
use crate::image::{Compression, Control, DiskReader, ImageError, ImageFormat, OnReadError, Tick, open_source};
use crate::units::{ByteCount, ByteRate};

use super::discover::{SeenDisk, disks};
use super::http::{Channel, Client, HttpError};
use super::watchdog;

/// A job that may capture.
pub struct Link {
    /// Shows our certificate.
    pub client: Client,
    /// Our name.
    pub device: String,
    /// The job.
    pub job: String,
}

/// How long the controller may be away before a capture gives up; it goes on where it was when it is begun again.
pub(super) const PATIENCE: Duration = Duration::from_secs(1800);
/// The agent itself, the kernel and what they must not take from each other.
const LEAST_MEMORY: u64 = 300 << 20;
/// Memory of one connection: what is read, what is encoded, what is sent.
const PER_CONNECTION: u64 = 24 << 20;
const MOST_CONNECTIONS: u64 = 4;

/// Why a disk is not captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No disk is the one that is wanted.
    #[error("no disk of this machine is {wanted}; it has {found}")]
    NoDisk {
        /// What is wanted.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// Several are.
    #[error("{count} disks of this machine are {wanted}: give the serial number")]
    Several {
        /// What is wanted.
        wanted: String,
        /// How many.
        count: usize,
    },
    /// This is a system that works with its disks.
    #[error("this is not the agent's own system: its disks are neither made read-only nor captured nor written")]
    NotAgent,
    /// The machine is too small.
    #[error("this machine has {found} of memory, and a capture needs {}", ByteCount(LEAST_MEMORY))]
    Memory {
        /// What it has.
        found: ByteCount,
    },
    /// A device cannot be made read-only, or looked at.
    #[error("{path} cannot be protected from writing")]
    Protect {
        /// The device.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: std::io::Error,
    },
    /// The disk cannot be read, or its chunks cannot be handed over.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The controller refuses, or is gone for good.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The controller's answer makes no sense.
    #[error("the controller's answer makes no sense: {0}")]
    Answer(String),
    /// Something of the system is missing.
    #[error("the agent cannot work here")]
    System(#[from] std::io::Error),
}

/// Which disk is meant.
pub(super) struct Wanted<'a> {
    /// Its serial number.
    pub(super) serial: Option<&'a str>,
    /// Its size.
    pub(super) size: Option<u64>,
}

/// Only the agent's own system has it: nothing else may have its disks taken away.
const MARK: &str = "/etc/replant-agent";

/// Whether this is the agent's own system.
pub(super) fn is_agent() -> bool {
    Path::new(MARK).exists()
}

/// The disks that the agent works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disks {
    /// All of this machine's, which has to be the agent's own system.
    Machine,
    /// Only these files or devices, and none of the machine's own.
    Given(Vec<SeenDisk>),
}

impl Disks {
    /// The disks.
    pub(super) fn list(&self) -> Result<Vec<SeenDisk>, CaptureError> {
        match self {
            Self::Given(disks) => Ok(disks.clone()),
            Self::Machine if is_agent() => Ok(disks()),
            Self::Machine => Err(CaptureError::NotAgent),
        }
    }
}

/// Makes every disk read-only, for everybody, until the machine boots again.
pub(super) fn protect_all(disks: &Disks) -> Result<Vec<String>, CaptureError> {
    let mut protected = Vec::new();
    for disk in disks.list()? {
        device::protect(&disk.path).map_err(|error| CaptureError::Protect { path: disk.path.clone(), error })?;
        protected.push(disk.path.display().to_string());
    }
    Ok(protected)
}

/// The one disk that is wanted.
pub(super) fn choose(disks: &Disks, wanted: &Wanted<'_>) -> Result<SeenDisk, CaptureError> {
    let all = disks.list()?;
    let matches = |disk: &&SeenDisk| {
        wanted.serial.is_none_or(|serial| disk.serial.as_deref() == Some(serial))
            && wanted.size.is_none_or(|size| disk.bytes == size)
    };
    let described = || {
        let serial = wanted.serial.map(|serial| format!("serial number {serial}"));
        let size = wanted.size.map(|size| format!("{size} bytes"));
        serial.into_iter().chain(size).collect::<Vec<_>>().join(" with ")
    };
    let found: Vec<&SeenDisk> = all.iter().filter(matches).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        [] => {
            let found: Vec<String> = all.iter().map(SeenDisk::to_string).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            Err(CaptureError::NoDisk { wanted: described(), found })
        }
        _ => Err(CaptureError::Several { wanted: described(), count: found.len() }),
    }
}

struct Sink {
    channel: Channel,
    path: String,
}

impl BatchSink for Sink {
    fn deliver(&mut self, batch: &mut Vec<u8>) -> Result<BatchAnswer, SinkError> {
        watchdog::alive_for(watchdog::CAPTURE);
        let body = Bytes::from(std::mem::take(batch));
        let answer = self.channel.post(&self.path, body.clone())?;
        // Whoever sent it has let go of it, so its memory serves the next one; fresh memory would cost more than sending it.
        if let Ok(mut body) = body.try_into_mut() {
            body.clear();
            *batch = body.into();
        }
        Ok(BatchAnswer::decode(&answer)?)
    }
}

/// Captures a disk; what was captured of it since this machine's boot is not read again. Returns facts.
pub fn capture(
    link: &Link,
    disk: &str,
    found: &SeenDisk,
    note: &dyn Fn(String),
    reached: &(dyn Fn(u64, u64) + Sync),
) -> Result<Vec<(String, String)>, CaptureError> {
    device::protect(&found.path).map_err(|error| CaptureError::Protect { path: found.path.clone(), error })?;
    let connections = connections()?;
    let path = |what: &str| {
        let Link { device, job, .. } = link;
        format!("/v1/devices/{device}/jobs/{job}/captures/{disk}/{what}")
    };
    let standing = format!("/v1/devices/{}/jobs/{}/resume", link.device, link.job);
    let mut channel = link.client.channel(PATIENCE)?.asking(standing.clone());
    let open = CaptureOpen {
        size: found.bytes,
        serial: found.serial.clone(),
        device: found.path.display().to_string(),
        boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned(),
    };
    let body = serde_json::to_vec(&open).map_err(|error| CaptureError::Answer(error.to_string()))?;
    let opened: CaptureOpened = serde_json::from_slice(&channel.post(&path("open"), body)?)
        .map_err(|error| CaptureError::Answer(error.to_string()))?;
    if !opened.chunk_size.is_power_of_two() {
        return Err(CaptureError::Answer(format!("chunks of {} bytes", opened.chunk_size)));
    }
    let used = UsedDisk::new(reader(&found.path)?)?;
    let begin = (opened.next_chunk * u64::from(opened.chunk_size)).min(found.bytes);
    note(format!("{disk}: {found} from byte {begin} on, over {connections} connections"));
    let (stop, tick) = (AtomicBool::new(false), |tick: Tick| reached(tick.done, tick.total));
    let control = Control::new(&stop, &tick).threads(connections).limit(opened.limit.map(ByteRate));
    let compression = if opened.compress { Compression::Zstd } else { Compression::None };
    let connect = || -> Result<Sink, SinkError> {
        let channel = link.client.channel(PATIENCE)?.asking(standing.clone());
        Ok(Sink { channel, path: path("batch") })
    };
    let on_error = if opened.zero_unreadable { OnReadError::ZeroAndReport } else { OnReadError::Fail };
    let sent = send_disk(&used, opened.chunk_size, opened.next_chunk, compression, on_error, connect, &control)?;
    if sent.unreadable > 0 {
        note(format!("{disk}: {} could not be read and are zeros in the image", ByteCount(sent.unreadable)));
    }
    let image: CapturedImage = serde_json::from_slice(&channel.post(&path("finish"), Vec::new())?)
        .map_err(|error| CaptureError::Answer(error.to_string()))?;
    let fact = |name: &str, value: String| (format!("{disk}.{name}"), value);
    Ok(vec![
        fact("image", image.id),
        fact("digest", image.digest),
        fact("bytes-read", sent.read.to_string()),
        fact("bytes-sent", sent.sent.to_string()),
        fact("bytes-unreadable", sent.unreadable.to_string()),
    ])
}

fn reader(path: &Path) -> Result<Box<dyn DiskReader>, ImageError> {
    open_source(path, ImageFormat::Raw)
}

/// As many connections as this machine has memory for.
pub(super) fn connections() -> Result<usize, CaptureError> {
    connections_for(&std::fs::read_to_string("/proc/meminfo")?)
}

fn connections_for(text: &str) -> Result<usize, CaptureError> {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(u64::MAX >> 20)
    };
    let total = kib("MemTotal:") << 10;
    if total < LEAST_MEMORY {
        return Err(CaptureError::Memory { found: ByteCount(total) });
    }
    let available = kib("MemAvailable:") << 10;
    Ok(((available / 2) / PER_CONNECTION).clamp(1, MOST_CONNECTIONS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_as_many_connections_as_memory_and_too_small_a_one_is_told_so() {
        let memory = |total: u64, available: u64| {
            connections_for(&format!(
                "MemTotal: {} kB\nMemFree: 1 kB\nMemAvailable: {} kB\n",
                total << 10,
                available << 10
            ))
        };
        assert_eq!(memory(480, 300).unwrap(), 4);
        assert_eq!(memory(320, 100).unwrap(), 2);
        assert_eq!(memory(310, 20).unwrap(), 1);
        let error = memory(255, 100).unwrap_err().to_string();
        assert!(error.contains("255 MiB") && error.contains("300 MiB"), "{error}");
    }
}
