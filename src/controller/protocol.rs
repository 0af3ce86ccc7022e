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
}

/// `POST /v1/devices/DEVICE/reports`: entries in order, without gaps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportBatch {
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
    /// A line for people.
    Note {
        /// The text.
        text: String,
    },
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

/// The first line on the local socket: a job for a machine that is about to boot into the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocalJob {
    /// The machine.
    pub machine: String,
    /// The XML task sequence.
    pub sequence: String,
    /// How long the token may be used.
    pub token_seconds: u64,
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
