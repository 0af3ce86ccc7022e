//! What the journal records: one [`Record`] per fact, in the order in which they became durable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::address::Address;

use super::status::TaskEventKind;

/// A run's name, unique in a journal; it begins with the time it was made, so that names sort by age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Arc<str>);

impl RunId {
    /// A new name: `20261122T164512Z-3fa9c1`.
    pub fn fresh() -> Self {
        let random = uuid::Uuid::now_v7().simple().to_string();
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
        Self(format!("{now}-{}", &random[random.len() - 6..]).into())
    }

    /// Wraps a text that is a run's name already.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A durable fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the journal, from 1, without gaps.
    pub seq: u64,
    /// Milliseconds since 1970, UTC.
    pub time: i64,
    /// The run that recorded it.
    pub run: RunId,
    /// The fencing epoch of the process that recorded it.
    pub epoch: u64,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Event {
    /// A run begins; recorded before its first task starts.
    RunOpened(RunOpened),
    /// A run has ended.
    RunClosed {
        /// How: `done`, `rolled-back`, `kept`, `incomplete`, `interrupted`.
        outcome: String,
        /// One line for people.
        summary: String,
    },
    /// A task moved on.
    Task(TaskEvent),
    /// It could not be found out whether the task's result is there already; its status stays what it was.
    CheckFailed {
        /// The task.
        task: Address,
        /// Why.
        message: String,
    },
    /// A person edited artifacts after the plan was made, and said that the edits shall run.
    EditsAccepted {
        /// Paths below `artifacts/`, each with the digest that ran.
        artifacts: BTreeMap<String, String>,
    },
    /// Scopes that a dead process held are ours now.
    LeaseTakenOver {
        /// The scopes.
        scopes: Vec<String>,
        /// Who held them, for people.
        from: String,
        /// The fencing epoch that is over.
        from_epoch: u64,
    },
    /// A person asked to stop.
    Interrupted {
        /// 1: nothing new starts; 2: SIGTERM to the running tasks; 3: SIGKILL.
        stage: u8,
        /// What was running.
        running: Vec<Address>,
    },
}

/// A run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOpened {
    /// `apply` or `rollback`.
    pub verb: String,
    /// The plan's name.
    pub plan: String,
    /// The run folder (`plan.json`, `artifacts/`), absolute.
    pub folder: Utf8PathBuf,
    /// The command line, for people.
    pub command: String,
    /// Version of the tool.
    pub tool: String,
    /// Tasks that are not done yet.
    pub to_do: u64,
}

/// A task moved on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// The task.
    pub task: Address,
    /// How.
    pub event: TaskEventKind,
    /// Which attempt of the run, from 1; 0 for a task that the run has not attempted.
    pub attempt: u32,
    /// The inputs, with `Started` and `AlreadyTrue`; the other events keep those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<BTreeMap<String, String>>,
    /// What the attempt reported, with `Applied` and `AlreadyTrue`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// The error, or a remark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long it took and how much it moved, with `Applied`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

impl TaskEvent {
    /// An event without key, outputs and message.
    pub fn plain(task: Address, event: TaskEventKind, attempt: u32) -> Self {
        Self { task, event, attempt, key: None, outputs: BTreeMap::new(), message: None, measured: None }
    }
}

/// What a finished attempt teaches about the next one of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Wall time.
    pub millis: u64,
    /// Bytes that were moved, with the kind of work (`capture`, `deploy`), if it moves bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<(String, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_and_unknown_keys_are_ignored() {
        let event = Event::Task(TaskEvent {
            key: Some(BTreeMap::from([("script".into(), "blake3:00".into())])),
            message: Some("it's \"done\"\n".into()),
            measured: Some(Measured { millis: 3, moved: Some(("capture".into(), 7)) }),
            ..TaskEvent::plain(Address::new("web01/create"), TaskEventKind::Applied, 2)
        });
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let newer = text.replacen('{', "{\"colour\":1,", 1);
        assert_eq!(serde_json::from_str::<Event>(&newer).unwrap(), event);
    }

    #[test]
    fn run_names_sort_by_age_and_differ() {
        let (a, b) = (RunId::fresh(), RunId::fresh());
        assert_ne!(a, b);
        assert!(a.as_str()[..15] <= b.as_str()[..15]);
    }
}
