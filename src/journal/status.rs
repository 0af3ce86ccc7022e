//! What is known of a task, and the one function that moves it on: the writer and the replayer both use only this.

use serde::{Deserialize, Serialize};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskStatus {
    /// Nothing was begun.
    Pending,
    /// It was there before our first attempt: rollback leaves it alone.
    AlreadyTrue,
    /// An attempt was begun and its end is not recorded.
    Running,
    /// Done.
    Applied,
    /// The last attempt failed; partial work may be there.
    Failed,
    /// An undo was begun and its end is not recorded.
    Undoing,
    /// What we made of it is gone.
    Undone,
    /// The undo failed: a person is needed.
    Stuck,
}

/// What happened to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskEventKind {
    /// `check` found it present before our first attempt.
    AlreadyTrue,
    /// An attempt begins; recorded before the effect.
    Started,
    /// The attempt succeeded.
    Applied,
    /// The attempt failed.
    Failed,
    /// An undo begins; recorded before the effect.
    UndoStarted,
    /// The undo succeeded.
    Undone,
    /// The undo failed.
    UndoFailed,
}

/// An event that cannot follow the status: stored data is damaged, or our own code broke its promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {status:?} cannot take the event {event:?}")]
pub struct IllegalEvent {
    /// The status before.
    pub status: TaskStatus,
    /// The event.
    pub event: TaskEventKind,
}

impl TaskStatus {
    /// The status after `event`.
    pub fn next(self, event: TaskEventKind) -> Result<Self, IllegalEvent> {
        use {TaskEventKind as E, TaskStatus as S};
        Ok(match (self, event) {
            // Only before our first attempt: after a crash a fresh look would take our own half-made work for
            // somebody else's.
            (S::Pending | S::AlreadyTrue | S::Undone, E::AlreadyTrue) => S::AlreadyTrue,
            // A new key or `--redo` begins again what was done; a resumed attempt begins again what was cut off.
            (S::Pending | S::AlreadyTrue | S::Running | S::Applied | S::Failed | S::Undone, E::Started) => S::Running,
            (S::Running, E::Applied) => S::Applied,
            (S::Running, E::Failed) => S::Failed,
            (S::Running | S::Failed | S::Applied | S::Undoing | S::Stuck, E::UndoStarted) => S::Undoing,
            (S::Undoing, E::Undone) => S::Undone,
            (S::Undoing, E::UndoFailed) => S::Stuck,
            _ => return Err(IllegalEvent { status: self, event }),
        })
    }

    /// Whether tasks that depend on it may begin.
    pub fn is_done(self) -> bool {
        matches!(self, Self::AlreadyTrue | Self::Applied)
    }

    /// Whether rollback has something of ours to take back.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Running | Self::Failed | Self::Applied | Self::Undoing | Self::Stuck)
    }
}
