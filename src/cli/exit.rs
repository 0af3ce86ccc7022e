//! Every exit code, and how a failure becomes one.

use std::error::Error;
use std::process::ExitCode;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::execute::{ExecuteError, Outcome};
use crate::journal::JournalError;
use crate::planner::SelectionError;

/// The exit codes of `replant`; an interface, listed in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or nothing to do.
    Done,
    /// 1: an error that none of the others names.
    Error,
    /// 2: the command line is wrong; for `plan --detailed-exitcode`: there are changes.
    Usage,
    /// 3: the plan is refused.
    Refused,
    /// 4: a task failed and what was made is rolled back.
    RolledBack,
    /// 5: a task failed and what was made is kept for resume.
    KeptForResume,
    /// 6: a rollback is incomplete: a person is needed.
    RollbackIncomplete,
    /// 7: another process holds the lock.
    Locked,
    /// 8: the run folder is stale or was edited.
    Stale,
    /// 10: (verbs that scripts call to check) what was asked for is absent.
    Absent,
    /// 11: (verbs that scripts call to check) it is partly there.
    Partial,
    /// 75: (verbs that scripts call) stopped at a checkpoint, or something was busy: run the same command again.
    TryAgain,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::RolledBack => 4,
            Self::KeptForResume => 5,
            Self::RollbackIncomplete => 6,
            Self::Locked => 7,
            Self::Stale => 8,
            Self::Absent => 10,
            Self::Partial => 11,
            Self::TryAgain => 75,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Kept => Self::KeptForResume,
            Outcome::Incomplete => Self::RollbackIncomplete,
            Outcome::Interrupted => Self::Interrupted,
        }
    }
}

impl From<&ExecuteError> for Exit {
    fn from(error: &ExecuteError) -> Self {
        match error {
            ExecuteError::Journal(JournalError::Locked { .. } | JournalError::Fenced { .. }) => Self::Locked,
            ExecuteError::NoSuchMachine { .. } => Self::Usage,
            ExecuteError::Journal(_)
            | ExecuteError::System { .. }
            | ExecuteError::Hook(_)
            | ExecuteError::RunFolder { .. }
            | ExecuteError::NoOrigin { .. }
            | ExecuteError::PastCommit { .. } => Self::Error,
        }
    }
}

impl From<&SelectionError> for Exit {
    fn from(error: &SelectionError) -> Self {
        match error {
            SelectionError::NamesNothing { .. } => Self::Usage,
            SelectionError::Inconsistent { .. } | SelectionError::Settled { .. } | SelectionError::Nothing => {
                Self::Refused
            }
        }
    }
}

/// Why a verb did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The plan is refused: every mistake that was found.
    Refused(Vec<Diagnostic>),
    /// Anything else, with the exit code that tells callers what to do about it.
    Other {
        /// The code.
        exit: Exit,
        /// The error; its chain of sources is printed.
        error: Box<dyn Error + Send + Sync>,
    },
}

impl Failure {
    /// A failure with its own exit code.
    pub fn with(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Other { exit, error: error.into() }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Refused(diagnostics.into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::with(Exit::Error, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_with_the_code_of_its_outcome() {
        use Outcome as O;
        for outcome in [O::Done, O::RolledBack, O::Kept, O::Interrupted, O::Incomplete] {
            assert_eq!(Exit::from(outcome).code(), outcome.code());
        }
    }
}
