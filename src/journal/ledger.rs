//! What the journal says of each task now: the last status, with the inputs and outputs it was reached with.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::address::Address;

use super::status::TaskStatus;

/// The last word on one task, over all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Where it stands.
    pub status: TaskStatus,
    /// The inputs of the last attempt.
    pub key: BTreeMap<String, String>,
    /// The run of the last event.
    pub run: String,
    /// How many attempts that run made.
    pub attempt: u32,
    /// Sequence number of the last event.
    pub seq: u64,
    /// The error of the last failure, if the last event was one.
    pub message: Option<String>,
    /// What the last successful attempt reported, by name.
    pub outputs: BTreeMap<String, String>,
}

/// The last word on every task that was ever begun.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By address.
    pub entries: HashMap<Address, LedgerEntry>,
    /// Sequence number of the journal's last event; 0 for an empty journal.
    pub head: u64,
    /// Bytes per second of past work, by kind of work (`capture`, `deploy`).
    pub throughput: BTreeMap<String, f64>,
    /// Seconds of past work that moves no bytes, by address pattern (`*/create`, `*/deploy/guest`).
    pub seconds: BTreeMap<String, f64>,
}
