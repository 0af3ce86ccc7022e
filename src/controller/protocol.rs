//! What agent and controller say to each other, and what verbs say to the controller over its local socket.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::Edit;

/// `POST /v1/enrol`: a token for a certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// The boot order's token.
    pub token: String,
    /// A PEM certificate request; the key stays with the agent.
    pub csr: String,
    /// What the agent saw of its machine.
    pub facts: BTreeMap<String, String>,
}

/// The answer to an enrolment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolAnswer {
    /// The device's name, part of every later path.
    pub device: String,
    /// Its certificate, PEM.
    pub certificate: String,
    /// Whether it stays for one job after another, until its certificate opens nothing any more.
    #[serde(default)]
    pub stays: bool,
    /// What people call it; empty if nobody has said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// The answer to `GET /v1/devices/DEVICE/jobs/JOB/resume` for a job whose machine has restarted on its behalf: where it
/// goes on. 204 for a job that begins at its begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// The step behind which it goes on.
    pub after: String,
    /// What its steps had found.
    pub facts: BTreeMap<String, String>,
}

/// The header of `GET /v1/devices/DEVICE/sequence` that names the job.
pub const JOB_HEADER: &str = "replant-job";

/// `POST /v1/devices/DEVICE/jobs/JOB/captures/DISK/open`: what the agent has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureOpen {
    /// Bytes of the disk.
    pub size: u64,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
    /// The device's path in the agent.
    pub device: String,
    /// The boot of the agent: a disk does not change from then on.
    pub boot: String,
}

/// The answer: where to begin, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureOpened {
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// The first chunk that is wanted.
    pub next_chunk: u64,
    /// Whether chunks are to be compressed.
    pub compress: bool,
    /// Whether bytes that the medium does not give become zeros, and are told; else they are an error.
    pub zero_unreadable: bool,
    /// Bytes a second at most.
    pub limit: Option<u64>,
}

/// What a job's device may capture. Only the local socket brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureGrant {
    /// The machine's name in the store.
    pub machine: String,
    /// The disk's name in the store.
    pub disk: String,
    /// The store's folder.
    pub store: std::path::PathBuf,
    /// The reference to its key.
    pub key: Option<String>,
    /// What the plan knows the disk by.
    pub identity: String,
    /// Bytes that it must have.
    pub size: u64,
    /// The serial number that it must have.
    pub serial: Option<String>,
    /// Whether chunks are compressed.
    pub compress: bool,
    /// Whether bytes that the medium does not give become zeros, and the image names them; else they are an error.
    pub zero_unreadable: bool,
    /// Bytes a second at most.
    pub limit: Option<u64>,
}

/// `POST /v1/devices/DEVICE/jobs/JOB/deploys/DISK/open`: what the agent has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployOpen {
    /// Bytes of the disk.
    pub size: u64,
    /// Its serial number, if it has one.
    pub serial: Option<String>,
    /// The device's path in the agent.
    pub device: String,
}

/// The answer: what is to be put on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployOpened {
    /// The image's id.
    pub image: String,
    /// Bytes of the image.
    pub size: u64,
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// The disk's digest.
    pub digest: String,
}

/// `.../deploys/DISK/map`: which part is wanted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapFrom {
    /// The chunk that it begins at.
    pub first: u64,
}

/// What a job's device may put on one of its disks. Only the local socket brings it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployGrant {
    /// The machine's name in the store.
    pub machine: String,
    /// The disk's name in the store.
    pub disk: String,
    /// Which image; the one of the newest sealed set, if nothing is said.
    pub image: Option<String>,
    /// The store's folder.
    pub store: std::path::PathBuf,
    /// The reference to its key.
    pub key: Option<String>,
    /// The serial number that the disk must have.
    pub serial: Option<String>,
    /// How fast at most, with hours.
    pub limit: Option<String>,
    /// Budgets that are shared with others: the folder that they are kept in, `NAME=RATE` for each.
    pub budgets: Option<(std::path::PathBuf, Vec<String>)>,
}

/// `POST /v1/devices/DEVICE/reports`: entries in order, without gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportBatch {
    /// The job that they belong to; the device's own, if it has one only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The entries.
    pub entries: Vec<ReportEntry>,
}

/// One report with its number; numbers begin at 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportEntry {
    /// Its number.
    pub seq: u64,
    /// What is reported.
    pub report: Report,
}

/// The answer to a batch.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ack {
    /// Every entry up to this number is known.
    pub acknowledged: u64,
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Report {
    /// The agent has a certificate (said by the controller).
    Enrolled {
        /// What the agent saw of its machine.
        facts: BTreeMap<String, String>,
    },
    /// A step begins.
    Begin {
        /// Its id.
        step: String,
        /// What it does, for people.
        what: String,
        /// Which attempt.
        attempt: u32,
        /// Its place among all steps, from 1.
        position: u64,
        /// How many there are.
        total: u64,
    },
    /// A step has ended, or was skipped.
    End {
        /// Its id.
        step: String,
        /// `done`, `skipped` or `failed`.
        outcome: String,
        /// Why it was skipped or failed; empty if it is done.
        message: String,
    },
    /// A file of the guest was changed.
    Edit(Edit),
    /// So much of a disk is in the store (said by the controller).
    Captured {
        /// The disk's name.
        disk: String,
        /// Bytes that are done.
        done: u64,
        /// Bytes of the disk.
        total: u64,
        /// What was made of it, once all is done.
        image: Option<CapturedImage>,
    },
    /// So much of an image is on a disk.
    Deployed {
        /// The disk's name.
        disk: String,
        /// Bytes that are done.
        done: u64,
        /// Bytes of the image.
        total: u64,
    },
    /// A line for people.
    Note {
        /// The text.
        text: String,
    },
    /// The machine restarts on behalf of the sequence, and goes on behind this step: the last report of this boot.
    Restart(ResumePoint),
    /// The sequence has ended: the last report.
    Result {
        /// Whether it has ended well.
        ok: bool,
        /// Why it has not; empty if it has.
        message: String,
        /// What its steps have found.
        facts: BTreeMap<String, String>,
    },
}

/// A disk that has become an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedImage {
    /// Its id.
    pub id: String,
    /// The disk's digest.
    pub digest: String,
    /// Bytes added to the store.
    pub stored: u64,
    /// Bytes of content that travelled.
    pub received: u64,
    /// Bytes of it that the store had already.
    pub repeated: u64,
    /// Bytes of the disk that were done before.
    pub resumed: u64,
    /// Bytes that the medium did not give; the image has zeros there and names them.
    pub unreadable: u64,
}

/// The first line on the local socket: a job for a machine that is about to boot into the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalJob {
    /// The machine.
    pub machine: String,
    /// The XML task sequence.
    pub sequence: String,
    /// How long the token may be used.
    pub token_seconds: u64,
    /// The registered device that is to do it; without one, a device is made for this job alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What it may capture meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<CaptureGrant>,
    /// What it may put on its disks meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deploys: Vec<DeployGrant>,
}

impl LocalJob {
    /// A job for a device of its own.
    pub fn alone(machine: impl Into<String>, sequence: impl Into<String>, token_seconds: u64) -> Self {
        let (machine, sequence) = (machine.into(), sequence.into());
        Self { machine, sequence, token_seconds, device: None, captures: Vec::new(), deploys: Vec::new() }
    }
}

/// Every line that comes back. The connection is the job: when it ends, the job is withdrawn.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum LocalAnswer {
    /// The job is there: what the boot order must carry.
    Order {
        /// The device.
        device: String,
        /// The controller's TCP port.
        port: u16,
        /// `sha256:HEX` of the CA's certificate.
        ca: String,
        /// The one-time token.
        token: String,
    },
    /// The job waits for the registered device.
    Queued {
        /// The job.
        job: String,
    },
    /// The agent reports.
    Report {
        /// What.
        report: Report,
    },
    /// The job cannot be.
    Refused {
        /// Why.
        message: String,
    },
}
