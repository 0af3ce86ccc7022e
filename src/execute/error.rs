//! Why a run could not go on. A task that fails is no such error: it is part of the report.

use camino::Utf8PathBuf;

use crate::journal::JournalError;

/// Why a run could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The journal refused: nothing more was started.
    #[error("the journal could not be written; nothing more was started")]
    Journal(#[from] JournalError),
    /// The operating system refused something that a run needs.
    #[error("{doing} failed")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The caller's preparation of the run failed.
    #[error("the run could not be prepared")]
    Hook(#[source] std::io::Error),
    /// A run folder that rollback needs cannot be read.
    #[error("the folder {folder} of run {run}, which knows how to undo {task}, cannot be read")]
    RunFolder {
        /// The folder.
        folder: Utf8PathBuf,
        /// The run.
        run: String,
        /// A task that was begun in it.
        task: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// Nothing knows how a task is undone.
    #[error("no recorded run knows how to undo {task}")]
    NoOrigin {
        /// The task.
        task: String,
    },
    /// Rollback was asked for machines beyond their point of no return.
    #[error("{machine} is past its point of no return ({why}); to roll it back all the same: `--past-commit`")]
    PastCommit {
        /// The machine.
        machine: String,
        /// Why it cannot simply be taken back.
        why: String,
    },
    /// No machine has that name.
    #[error("no machine matches `{glob}` among those that have something to undo")]
    NoSuchMachine {
        /// As it was written.
        glob: String,
    },
}
