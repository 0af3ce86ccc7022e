//! How a run ended.

use std::time::Duration;

use crate::address::Address;
use crate::journal::RunId;
use crate::units::human_duration;

/// How a run ended, worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Everything is done, or was done already.
    Done,
    /// Something failed, and all that it had made is taken back.
    RolledBack,
    /// Something failed, and what was made is kept for resume.
    Kept,
    /// A person stopped it; it can be resumed.
    Interrupted,
    /// A rollback is incomplete: a person is needed.
    Incomplete,
}

impl Outcome {
    /// The name in the journal and in events.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RolledBack => "rolled-back",
            Self::Kept => "kept",
            Self::Interrupted => "interrupted",
            Self::Incomplete => "incomplete",
        }
    }

    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::RolledBack => 4,
            Self::Kept => 5,
            Self::Incomplete => 6,
            Self::Interrupted => 130,
        }
    }

    /// Whether only a person can go on.
    pub fn needs_a_human(self) -> bool {
        self == Self::Incomplete
    }
}

/// A task that failed or is stuck, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The task.
    pub task: Address,
    /// Why, for people.
    pub message: String,
    /// The log of the last attempt.
    pub log: Option<String>,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// The run's name; `None` if there was nothing to do and so nothing was recorded.
    pub run: Option<RunId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Tasks that this run did.
    pub applied: u64,
    /// Tasks that were there before our first attempt.
    pub already_true: u64,
    /// Tasks that were done before this run.
    pub skipped: u64,
    /// Tasks that were taken back.
    pub undone: u64,
    /// Tasks that failed for good.
    pub failed: Vec<Trouble>,
    /// Tasks whose undo failed, or that could not be undone because of those.
    pub stuck: Vec<Trouble>,
    /// Tasks that never began because something before them failed.
    pub blocked: u64,
    /// What rollback left on purpose, and why.
    pub kept: Vec<(Address, String)>,
    /// Machines beyond their point of no return that were not rolled back, and why.
    pub past_commit: Vec<(String, String)>,
    /// Tasks that were running when it was stopped.
    pub interrupted: Vec<Address>,
    /// Tasks that an earlier, dead process had left running: each was looked at again.
    pub recovered: Vec<Address>,
    /// Wall time.
    pub elapsed: Duration,
}

impl RunReport {
    /// One line for people.
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.applied, "done"),
            (self.already_true, "were there already"),
            (self.skipped, "done before"),
            (self.undone, "undone"),
            (self.failed.len() as u64, "failed"),
            (self.stuck.len() as u64, "stuck"),
            (self.blocked, "not begun because of those"),
            (self.interrupted.len() as u64, "interrupted"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let what = match self.outcome {
            Outcome::Done => "done",
            Outcome::RolledBack => "failed and rolled back",
            Outcome::Kept => "failed; what was made is kept, `apply` again resumes",
            Outcome::Interrupted => "interrupted; `apply` again resumes",
            Outcome::Incomplete => "ROLLBACK INCOMPLETE, a person is needed",
        };
        let counts = if parts.is_empty() { "nothing to do".to_owned() } else { parts.join(", ") };
        format!("{what}: {counts} ({})", human_duration(self.elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_have_the_documented_codes() {
        use Outcome as O;
        let codes = [O::Done, O::RolledBack, O::Kept, O::Incomplete, O::Interrupted].map(O::code);
        assert_eq!(codes, [0, 4, 5, 6, 130]);
    }
}
