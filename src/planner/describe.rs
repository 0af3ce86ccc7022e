//! What the preview says: for each task what will happen and why, what it costs, and what is risky.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use crate::address::{Address, glob_matches};
use crate::journal::{Ledger, LedgerEntry, TaskStatus};

use super::select::Selected;
use super::task::{Key, Phase, Reversal, Task};

/// What will happen to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is done for the first time.
    Create,
    /// It is done again, or gone on with.
    Run,
    /// It is done already.
    Skip,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "reason")]
pub enum Why {
    /// Nothing was ever begun.
    New,
    /// It was done, with other inputs.
    Changed {
        /// What is different.
        inputs: Vec<Change>,
    },
    /// The last attempt failed; what it finished is not done again.
    Failed {
        /// The error.
        message: Option<String>,
    },
    /// The last attempt was cut off; what it finished is not done again.
    Interrupted,
    /// It was rolled back.
    RolledBack,
    /// Its undo failed: a person must look first.
    Stuck {
        /// The error.
        message: Option<String>,
    },
    /// `--redo` names it.
    Redo,
    /// What it depends on is done again.
    UpstreamRedone,
    /// Done, with these inputs.
    Done,
    /// It was there before the first attempt.
    AlreadyTrue,
}

/// An input that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub input: String,
    /// The value it was done with.
    pub from: Option<String>,
    /// The value now.
    pub to: Option<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its address.
    pub address: Address,
    /// Its stage.
    pub phase: Phase,
    /// What it does.
    pub what: String,
    /// What will happen.
    pub action: Action,
    /// Why.
    pub why: Why,
    /// Bytes it will move.
    pub bytes: Option<u64>,
    /// Seconds it will take, from what was measured before.
    pub seconds: Option<f64>,
    /// Whether and how it is undone.
    pub reversal: Reversal,
}

/// Tasks of one machine or host that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The machine, `host:NAME` or `patch:KEY`.
    pub scope: String,
    /// Its tasks, in order.
    pub lines: Vec<Line>,
}

/// What it all comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Tasks that are done for the first time.
    pub create: usize,
    /// Tasks that are done again or gone on with.
    pub run: usize,
    /// Tasks that are done already.
    pub skip: usize,
    /// Bytes that will be captured.
    pub capture_bytes: u64,
    /// Bytes that will be restored.
    pub deploy_bytes: u64,
    /// Seconds of work, one task after another, if every running task's time is known.
    pub seconds: Option<f64>,
    /// Tasks behind which rollback asks for `--past-commit`.
    pub points_of_no_return: Vec<Address>,
    /// Tasks that a person must look at first.
    pub stuck: Vec<Address>,
}

/// The preview.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// In execution order.
    pub groups: Vec<Group>,
    /// What it all comes to.
    pub summary: Summary,
    /// What was left out, and why that is consistent.
    pub notes: Vec<String>,
}

impl Preview {
    /// Whether `apply` would do anything.
    pub fn has_changes(&self) -> bool {
        self.summary.create + self.summary.run > 0
    }

    /// The line of that task.
    pub fn line(&self, address: &Address) -> Option<&Line> {
        self.groups.iter().flat_map(|group| &group.lines).find(|line| line.address == *address)
    }
}

/// Says what will happen to every selected task; cleanup tasks are no part of it.
pub fn preview(selected: &Selected, ledger: &Ledger) -> Preview {
    let exact: HashSet<&str> = selected.selection.redo.iter().map(String::as_str).collect();
    let globs: Vec<&String> = selected.selection.redo.iter().filter(|glob| is_glob(glob)).collect();
    let asked = |task: &Task| exact.contains(task.address.as_str()) || globs.iter().any(|g| task.address.matches(g));
    let mut again: HashMap<&Address, ()> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut summary = Summary { seconds: Some(0.0), ..Summary::default() };
    for task in selected.tasks.iter().filter(|task| task.phase != Phase::Cleanup) {
        let redo = asked(task);
        let (action, mut why) = decide(task, ledger.entries.get(&task.address), redo);
        if why == Why::Redo && task.depends_on.iter().any(|before| again.contains_key(before)) {
            why = Why::UpstreamRedone;
        }
        if redo {
            again.insert(&task.address, ());
        }
        let line = Line {
            address: task.address.clone(),
            phase: task.phase,
            what: task.what.clone(),
            action,
            why,
            bytes: task.bytes,
            seconds: seconds(task, ledger),
            reversal: task.reversal.clone(),
        };
        summary.add(&line);
        match groups.last_mut() {
            Some(group) if group.scope == task.address.scope() => group.lines.push(line),
            _ => groups.push(Group { scope: task.address.scope().to_owned(), lines: vec![line] }),
        }
    }
    Preview { groups, summary, notes: selected.notes.clone() }
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?']) || !text.contains('/')
}

fn decide(task: &Task, entry: Option<&LedgerEntry>, redo: bool) -> (Action, Why) {
    let Some(entry) = entry else { return (Action::Create, Why::New) };
    let message = entry.message.clone();
    match entry.status {
        TaskStatus::Pending => (Action::Create, Why::New),
        TaskStatus::Applied | TaskStatus::AlreadyTrue if redo => (Action::Run, Why::Redo),
        TaskStatus::Applied | TaskStatus::AlreadyTrue if entry.key != task.key => {
            (Action::Run, Why::Changed { inputs: changes(&entry.key, &task.key) })
        }
        TaskStatus::Applied => (Action::Skip, Why::Done),
        TaskStatus::AlreadyTrue => (Action::Skip, Why::AlreadyTrue),
        TaskStatus::Running => (Action::Run, Why::Interrupted),
        TaskStatus::Failed => (Action::Run, Why::Failed { message }),
        TaskStatus::Undone => (Action::Create, Why::RolledBack),
        TaskStatus::Undoing => (Action::Run, Why::Interrupted),
        TaskStatus::Stuck => (Action::Run, Why::Stuck { message }),
    }
}

/// What is different between two keys, by name.
fn changes(from: &Key, to: &Key) -> Vec<Change> {
    let names: BTreeMap<&String, ()> = from.keys().chain(to.keys()).map(|name| (name, ())).collect();
    let changed = names.into_keys().filter(|name| from.get(*name) != to.get(*name));
    changed
        .map(|name| Change { input: name.clone(), from: from.get(name).cloned(), to: to.get(name).cloned() })
        .collect()
}

/// From the throughput of such work, or from how long such tasks took; unknown until there was some.
fn seconds(task: &Task, ledger: &Ledger) -> Option<f64> {
    if let (Some(bytes), Some(kind)) = (task.bytes, &task.throughput) {
        let rate = ledger.throughput.get(kind).copied().filter(|rate| *rate > 0.0)?;
        return Some(bytes as f64 / rate);
    }
    let known = ledger.seconds.iter().filter(|(glob, _)| glob_matches(glob, task.address.as_str()));
    // The longest pattern says most about the task.
    known.max_by_key(|(glob, _)| glob.len()).map(|(_, seconds)| *seconds)
}

impl Summary {
    fn add(&mut self, line: &Line) {
        match line.action {
            Action::Create => self.create += 1,
            Action::Run => self.run += 1,
            Action::Skip => {
                self.skip += 1;
                return;
            }
        }
        match line.phase {
            Phase::Capture => self.capture_bytes += line.bytes.unwrap_or(0),
            Phase::Deploy => self.deploy_bytes += line.bytes.unwrap_or(0),
            _ => {}
        }
        // A moment's work that was never measured does not make the sum unknown; moving bytes does.
        self.seconds = match (self.seconds, line.seconds, line.bytes) {
            (Some(sum), Some(more), _) => Some(sum + more),
            (Some(sum), None, None) => Some(sum),
            _ => None,
        };
        if matches!(line.reversal, Reversal::PointOfNoReturn { .. }) {
            self.points_of_no_return.push(line.address.clone());
        }
        if matches!(line.why, Why::Stuck { .. }) {
            self.stuck.push(line.address.clone());
        }
    }
}
