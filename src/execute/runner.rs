//! The seam between the executor and the world: how one task is checked, applied and undone. Scripts do it in
//! production; benchmarks and tests put something else in their place.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

use crate::freeze::RunManifest;
use crate::planner::Task;

/// A task of a frozen run; cheap to clone and to send.
#[derive(Clone, Debug)]
pub struct TaskHandle {
    manifest: Arc<RunManifest>,
    index: usize,
}

impl TaskHandle {
    /// The manifest's task of that index.
    ///
    /// # Panics
    /// If the manifest has fewer tasks, which is a broken promise of the caller.
    pub fn new(manifest: Arc<RunManifest>, index: usize) -> Self {
        assert!(index < manifest.tasks.len(), "the index is one of the manifest's");
        Self { manifest, index }
    }

    /// Its index in the manifest.
    pub fn index(&self) -> usize {
        self.index
    }
}

impl Deref for TaskHandle {
    type Target = Task;

    fn deref(&self) -> &Task {
        &self.manifest.tasks[self.index]
    }
}

/// What a running task is told about going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halt {
    /// Go on.
    #[default]
    No,
    /// End soon, at a checkpoint: SIGTERM.
    Term,
    /// End now: SIGKILL.
    Kill,
}

/// One call of a task.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which attempt of this run, from 1; for `check` the attempt that would follow.
    pub attempt: u32,
    /// The fencing epoch of this executor.
    pub epoch: u64,
    /// Whether the task is done again although it is done.
    pub redo: bool,
    /// Tells when to stop.
    pub halt: watch::Receiver<Halt>,
}

/// What `check` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All of it is there; with what the check reported.
    Present(BTreeMap<String, String>),
    /// Nothing of it is there.
    Absent,
    /// Part of it is there.
    Partial,
    /// It could not be told.
    Unknown(Failed),
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For people: what happened, with the last words of the script.
    pub message: String,
    /// Whether another attempt may help.
    pub retryable: bool,
    /// Whether it ended because it was told to.
    pub halted: bool,
    /// Where its log lies.
    pub log: Option<String>,
}

impl Failed {
    /// A failure that another attempt may mend.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true, halted: false, log: None }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether it succeeded.
    pub result: Result<(), Failed>,
    /// What it reported.
    pub outputs: BTreeMap<String, String>,
    /// Bytes it moved, if it said so.
    pub bytes: Option<u64>,
}

impl Ended {
    /// Success, with nothing reported.
    pub fn well() -> Self {
        Self { result: Ok(()), outputs: BTreeMap::new(), bytes: None }
    }

    /// A failure, with nothing reported.
    pub fn badly(failed: Failed) -> Self {
        Self { result: Err(failed), outputs: BTreeMap::new(), bytes: None }
    }
}

/// How tasks are done. All calls must be idempotent: each may be repeated after a crash.
pub trait TaskRunner: Send + Sync + 'static {
    /// Looks whether what the task makes is there; changes nothing.
    fn check(&self, task: &TaskHandle, call: Call) -> impl Future<Output = Checked> + Send;

    /// Does it, or goes on where an earlier attempt stopped.
    fn apply(&self, task: &TaskHandle, call: Call) -> impl Future<Output = Ended> + Send;

    /// Takes it back, also when it was half done or not begun.
    fn undo(&self, task: &TaskHandle, call: Call) -> impl Future<Output = Ended> + Send;

    /// Ends what still works for the scope of this cleanup task, before anything of it is undone.
    fn stop(&self, cleanup: &TaskHandle, call: Call) -> impl Future<Output = Ended> + Send;

    /// Kills everything that is running now, because the process is about to be killed itself (a rehearsed crash).
    fn kill_all(&self) {}
}
