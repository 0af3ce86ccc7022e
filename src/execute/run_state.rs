//! The state of a run: its tasks, its scopes, and the messages that move them on. [`Dispatcher`] owns it.
//!
//! [`Dispatcher`]: super::dispatcher::Dispatcher

use std::sync::Arc;

use crate::freeze::RunManifest;
use crate::journal::{Event, Journal, JournalError, Ledger, RunId, TaskStatus};
use crate::progress::Emitter;

use super::cancel::StopRequests;
use super::graph::Shape;
use super::inject::Injections;
use super::outcome::Trouble;
use super::runner::{Checked, Ended};

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Do what is not done.
    Apply,
    /// Take back what was made, of every scope of the manifest.
    Rollback,
}

/// Everything that a dispatcher needs to begin.
pub(super) struct Setup<R> {
    pub manifest: Arc<RunManifest>,
    pub shape: Shape,
    pub ledger: Ledger,
    pub journal: Journal,
    pub run: RunId,
    pub epoch: u64,
    pub runner: Arc<R>,
    pub emitter: Emitter,
    pub injections: Injections,
    pub jobs: usize,
    pub past_commit: bool,
    pub mode: Mode,
    pub stop: StopRequests,
    /// Events that open the run, durable before anything starts.
    pub opening: Vec<Event>,
}

/// Where a task is in this run. Its journaled status is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// For others to be done, or for nothing at all.
    Waiting,
    /// In the ready heap or in the queue of a budget.
    Ready,
    /// Being checked, recorded or applied.
    Busy,
    /// Until the next attempt.
    Backoff,
    /// Done now or before.
    Done,
    /// Failed for good.
    Failed,
    /// Something before it failed.
    Blocked,
    /// To be undone, waiting for its dependents to be undone.
    UndoWaiting,
    /// In the ready heap or in the queue of a budget, to be undone or, for a cleanup task, to be run.
    UndoReady,
    /// Being undone.
    UndoBusy,
    /// Undone now.
    Undone,
    /// Its undo failed.
    Stuck,
}

pub(super) struct Node {
    pub status: TaskStatus,
    pub step: Step,
    /// Tasks that it waits for.
    pub waits: u32,
    /// Dependents that have to be undone before it.
    pub undo_waits: u32,
    /// Whether the way back passes through it without undoing anything.
    pub passes: bool,
    /// Attempts of this run.
    pub attempt: u32,
    /// Attempts since it was begun last, for the retry limit; the same for undos.
    pub tries: u32,
    pub undo_tries: u32,
    /// Asked to be done again.
    pub redo: bool,
    /// Its effect may be there from before, with other inputs: being there proves nothing.
    pub again: bool,
    /// Whether its status before the unwinding was Applied.
    pub was_applied: bool,
}

/// Where a scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopePhase {
    /// Its tasks go forward.
    Forward,
    /// It is to be unwound when what runs has ended.
    Draining,
    /// Its point of no return is being looked at.
    Asking,
    /// Its cleanup task stops what still works.
    Stopping,
    /// Its tasks are being undone.
    Undoing,
    /// All of it is undone.
    Unwound,
    /// It cannot be unwound to the end.
    Incomplete,
    /// It is beyond its point of no return and stays.
    PastCommit,
}

pub(super) struct Scope {
    pub phase: ScopePhase,
    /// Tasks of it that are busy.
    pub active: u32,
    pub undo_left: u32,
    pub failed: bool,
    /// Tasks to undo, if not all of ours.
    pub only: Option<Vec<u32>>,
    /// Whether it goes forward when it is unwound.
    pub then_forward: bool,
}

pub(super) enum Message {
    Durable { result: Result<u64, JournalError>, then: Vec<Then> },
    Checked { node: u32, answer: Checked },
    Ended { node: u32, ended: Ended, seconds: f64 },
    CommitChecked { scope: u32, answer: Checked },
    UndoEnded { node: u32, ended: Ended },
    StopEnded { node: u32, ended: Ended },
    Due { node: u32 },
    Lost(JournalError),
}

/// What follows when a record is durable.
pub(super) enum Then {
    Nothing,
    Apply(u32),
    Finish { node: u32, already_true: bool, seconds: f64 },
    AfterFailure { node: u32, trouble: Trouble, retryable: bool, halted: bool },
    CheckGaveUp { node: u32, trouble: Trouble },
    Undo(u32),
    Undone(u32),
    Stuck { node: u32, trouble: Trouble },
    Stop(u32),
    Stopped(u32),
    StopFailed { node: u32, trouble: Trouble },
}
