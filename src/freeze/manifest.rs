//! `plan.json`: everything that `apply` needs, and the digests that prove that it is what was reviewed.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::plan::{Netboot, OnFailure};
use crate::planner::{Selection, Task};
use crate::render::ArtifactRecord;

/// The content of `plan.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunManifest {
    /// Version of this format: 1.
    pub format: u32,
    /// Version of the tool that wrote it.
    pub tool: String,
    /// The plan's name.
    pub name: String,
    /// The folder that relative paths start from; `.replant/` lies here.
    pub root: Utf8PathBuf,
    /// Every plan file, with its digest.
    pub files: Vec<FileRecord>,
    /// Observed source disks by name (`web01/disk0`).
    pub sources: BTreeMap<String, FrozenSource>,
    /// Sequence number of the journal's last event when it was planned.
    pub journal_head: u64,
    /// What was selected on the command line.
    pub selection: Selection,
    /// Named budgets: how many tasks may hold each at once.
    pub budgets: BTreeMap<String, u32>,
    /// Per machine: its failure policy.
    pub machines: BTreeMap<String, FrozenMachine>,
    /// Waves with their failure budgets.
    pub waves: Vec<FrozenWave>,
    /// The boot network, if a machine of this run boots into the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Netboot>,
    /// Every artifact, sorted by path.
    pub artifacts: Vec<ArtifactRecord>,
    /// The selected tasks, in dependency order; cleanup tasks among them.
    pub tasks: Vec<Task>,
}

/// A file that went into the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Absolute path.
    pub path: Utf8PathBuf,
    /// `blake3:HEX` of its bytes.
    pub digest: String,
}

/// A source disk as it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenSource {
    /// Its path, absolute.
    pub path: Utf8PathBuf,
    /// Its identity line.
    pub identity: String,
}

/// What the executor needs to know of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenMachine {
    /// What happens when one of its tasks fails.
    pub on_failure: OnFailure,
}

/// A wave with its failure budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenWave {
    /// Its name.
    pub name: String,
    /// Its machines.
    pub machines: Vec<String>,
    /// This many may fail before nothing new starts.
    pub max_failures: Option<u32>,
}
