//! Rehearsed faults: `--inject KIND@ADDRESS`.
//!
//! | kind | what happens at the task |
//! |---|---|
//! | `fail` | its work is done, then every attempt counts as failed, so that there is something to undo; a point of no return fails without being run |
//! | `fail-once` | the same, for the first attempt only |
//! | `fail-undo` | every undo fails without being run |
//! | `repeat` | each apply and each undo is done twice, and both must succeed |
//! | `crash-before` | the process is killed when the attempt is recorded as begun, before its script starts |
//! | `crash-after` | the process is killed when the script has succeeded, before that is recorded |
//! | `crash-recorded` | the process is killed when the success is durable, before anything that depends on it starts |
//!
//! A crash is SIGKILL: to every running script, and to this process with its whole group if it leads one.

use std::fmt;
use std::str::FromStr;

use crate::address::Address;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InjectionKind {
    /// Every attempt fails after its work.
    Fail,
    /// The first attempt fails after its work.
    FailOnce,
    /// Every undo fails.
    FailUndo,
    /// Everything is done twice.
    Repeat,
    /// Killed between the record of the attempt and its effect.
    CrashBefore,
    /// Killed between the effect and its record.
    CrashAfter,
    /// Killed when the success is durable.
    CrashRecorded,
}

const KINDS: [(InjectionKind, &str); 7] = [
    (InjectionKind::Fail, "fail"),
    (InjectionKind::FailOnce, "fail-once"),
    (InjectionKind::FailUndo, "fail-undo"),
    (InjectionKind::Repeat, "repeat"),
    (InjectionKind::CrashBefore, "crash-before"),
    (InjectionKind::CrashAfter, "crash-after"),
    (InjectionKind::CrashRecorded, "crash-recorded"),
];

/// One rehearsed fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// What happens.
    pub kind: InjectionKind,
    /// Where: an address or a glob over addresses.
    pub at: String,
}

/// Why a text is not an injection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not KIND@ADDRESS with KIND one of {}", kinds())]
pub struct BadInjection {
    text: String,
}

fn kinds() -> String {
    KINDS.map(|(_, name)| name).join(", ")
}

impl FromStr for Injection {
    type Err = BadInjection;

    fn from_str(text: &str) -> Result<Self, BadInjection> {
        let bad = || BadInjection { text: text.to_owned() };
        let (kind, at) = text.split_once('@').ok_or_else(bad)?;
        let kind = KINDS.iter().find(|(_, name)| *name == kind).map(|(kind, _)| *kind).ok_or_else(bad)?;
        if at.is_empty() { Err(bad()) } else { Ok(Self { kind, at: at.to_owned() }) }
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        write!(f, "{name}@{}", self.at)
    }
}

/// The faults of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Injections(Vec<Injection>);

impl Injections {
    pub fn new(injections: Vec<Injection>) -> Self {
        Self(injections)
    }

    /// Whether that fault is planned at the task.
    pub fn at(&self, kind: InjectionKind, task: &Address) -> bool {
        self.0.iter().any(|injection| injection.kind == kind && task.matches(&injection.at))
    }
}

/// Kills this process, with its group if it leads one. Running scripts are in groups of their own: the runner has
/// killed them already.
pub(super) fn crash() -> ! {
    use rustix::process::{Signal, getpgrp, getpid, kill_process, kill_process_group};
    let me = getpid();
    if getpgrp() == me {
        let _ = kill_process_group(me, Signal::KILL);
    }
    let _ = kill_process(me, Signal::KILL);
    // SIGKILL cannot be refused; this line is for the compiler.
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back() {
        for (kind, name) in KINDS {
            let text = format!("{name}@web*/create");
            let injection: Injection = text.parse().unwrap();
            assert_eq!(injection.kind, kind);
            assert_eq!(injection.to_string(), text);
        }
    }

    #[test]
    fn mistakes_list_the_kinds() {
        for bad in ["fail", "explode@web01/create", "fail@", ""] {
            let error = bad.parse::<Injection>().unwrap_err().to_string();
            assert!(error.contains("crash-before"), "{error}");
        }
    }
}
