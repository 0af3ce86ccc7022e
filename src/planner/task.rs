//! A task: one thing that is checked, applied, undone and journaled.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Address;

/// The named inputs of a task. The same key again means that there is nothing to do; a changed one says which input
/// changed, from what to what. Values are short texts or digests (`blake3:...`), never secrets.
pub type Key = BTreeMap<String, String>;

/// The stages of a machine's migration, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Work on a host that several machines share.
    Host,
    /// The world is looked at again.
    Validate,
    /// Driver packages and system files are put into the patch cache.
    Patch,
    /// Source disks become images.
    Capture,
    /// The VM is made.
    Create,
    /// Images become the VM's disks.
    Deploy,
    /// The declared end state; the commit point.
    PostDeploy,
    /// Runs only when one of the others has failed.
    Cleanup,
}

/// One node of the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub address: Address,
    /// Its stage.
    pub phase: Phase,
    /// What it does, for people: `capture disk0 (8 GiB, qcow2) of /srv/web01.qcow2`.
    pub what: String,
    /// How it is done.
    pub command: ScriptCall,
    /// Its inputs.
    pub key: Key,
    /// Whether and how it is undone.
    pub reversal: Reversal,
    /// Bytes it will move, if known.
    pub bytes: Option<u64>,
    /// Which throughput history tells how long it takes, such as `capture` or `deploy`.
    pub throughput: Option<String>,
    /// Time and retry limits.
    pub limits: TaskLimits,
    /// Named budgets it takes one unit of each while it runs: `store`, `host:local`, `source:...`.
    pub budgets: Vec<String>,
    /// Tasks that must be done before.
    pub depends_on: Vec<Address>,
}

/// A rendered script and the item of it: the script is called `SCRIPT apply|check|undo [ITEM]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptCall {
    /// Path below `artifacts/` of the run folder.
    pub script: String,
    /// The item, if only one is meant.
    pub item: Option<String>,
}

/// Whether and how a task is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Reversal {
    /// `SCRIPT undo ITEM` takes it back.
    Undo,
    /// It changes nothing that would have to be taken back.
    Nothing,
    /// `undo` takes back partial work only; what was completed is of value and stays.
    KeepsResult {
        /// What stays, and how it is removed when that is wanted.
        why: String,
    },
    /// After it rollback asks for `--past-commit`.
    PointOfNoReturn {
        /// Why it cannot simply be taken back.
        why: String,
    },
}

/// Time and retry limits of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Longest time of one attempt.
    pub timeout: Option<Duration>,
    /// Longest time without output or progress.
    pub stall: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// Wait before the second attempt; doubles, up to a minute.
    pub backoff: Duration,
}

impl Default for TaskLimits {
    fn default() -> Self {
        Self { timeout: None, stall: None, retries: 0, backoff: Duration::from_secs(1) }
    }
}

/// Exit codes of a script's `check`.
pub mod check_code {
    /// What the task makes is there.
    pub const PRESENT: i32 = 0;
    /// Nothing of it is there.
    pub const ABSENT: i32 = 10;
    /// Part of it is there.
    pub const PARTIAL: i32 = 11;
}

/// Exit codes of `apply` that are never retried: usage (2 of our own verbs and of the shell, 64), permission (77),
/// configuration (78; these three of sysexits.h), a program that cannot be run (126) or is not there (127).
pub const NON_RETRYABLE: [i32; 6] = [2, 64, 77, 78, 126, 127];
