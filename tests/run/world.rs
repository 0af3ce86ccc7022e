//! A fake world: every task makes one file below `world/`, its undo removes it, and each call is noted in `calls`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use replant::address::Address;
use replant::execute::{ApplyOptions, ExecuteError, Injection, RollbackOptions, RunReport, apply, rollback};
use replant::freeze::{FrozenMachine, FrozenWave, RunManifest, Selection};
use replant::journal::{Event, JournalReader, Ledger, TaskEventKind, TaskStatus};
use replant::plan::OnFailure;
use replant::planner::{Phase, Reversal, ScriptCall, Task, TaskLimits};

/// `make` does the task's work; a test may put other words before it in `hook.sh`.
const SCRIPT: &str = r#"#!/bin/sh
set -eu
word=$1
item=${2:-}
file=$REPLANT_ROOT/world/$(printf %s "$REPLANT_TASK" | tr / +)
printf '%s %s\n' "$word${item:+:$item}" "$REPLANT_TASK" >> "$REPLANT_ROOT/calls"
make() { : > "$file.part"; mv "$file.part" "$file"; }
if [ -e "$REPLANT_ROOT/hook.sh" ]; then . "$REPLANT_ROOT/hook.sh"; fi
case $word:$item in
apply:stop) ;;
check:*) if [ -e "$file" ]; then exit 0; elif [ -e "$file.part" ]; then exit 11; else exit 10; fi ;;
apply:*) make ;;
undo:keep) rm -f "$file.part" ;;
undo:*) rm -f "$file" "$file.part" ;;
esac
"#;

/// A plan root with a run folder.
pub struct World {
    _folder: tempfile::TempDir,
    pub root: Utf8PathBuf,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for made in ["world", "run/artifacts"] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::write(root.join("run/artifacts/task.sh"), SCRIPT).unwrap();
        Self { _folder: folder, root }
    }

    /// Words that every script runs before its own, with `$word`, `$item` and `$REPLANT_TASK` set.
    pub fn hook(&self, words: &str) {
        fs::write(self.root.join("hook.sh"), words).unwrap();
    }

    pub fn unhook(&self) {
        fs::remove_file(self.root.join("hook.sh")).unwrap();
    }

    /// A pipe with a name, for a script and a test to wait for each other.
    pub fn pipe(&self, name: &str) -> Utf8PathBuf {
        let path = self.root.join(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("`mkfifo` (package coreutils)");
        assert!(made.success());
        path
    }

    /// Writes the run folder's `plan.json`, which the driver and `rollback` read.
    pub fn freeze(&self, manifest: &RunManifest) {
        let manifest = RunManifest { root: self.root.clone(), ..manifest.clone() };
        fs::write(self.root.join("run/plan.json"), serde_json::to_vec_pretty(&manifest).unwrap()).unwrap();
    }

    pub fn apply_options(&self, manifest: &RunManifest) -> ApplyOptions {
        self.freeze(manifest);
        let mut options = ApplyOptions::new(self.root.clone(), self.root.join("run"), manifest.clone());
        options.signals = false;
        options
    }

    pub fn apply(&self, manifest: &RunManifest, injections: &[&str]) -> Result<RunReport, ExecuteError> {
        let mut options = self.apply_options(manifest);
        options.injections = injections.iter().map(|text| text.parse::<Injection>().unwrap()).collect();
        apply(options)
    }

    pub fn rollback(&self, past_commit: bool, injections: &[&str]) -> Result<RunReport, ExecuteError> {
        let mut options = RollbackOptions::new(self.root.clone());
        options.signals = false;
        options.past_commit = past_commit;
        options.injections = injections.iter().map(|text| text.parse::<Injection>().unwrap()).collect();
        rollback(options)
    }

    /// The files of the world, as addresses.
    pub fn things(&self) -> BTreeSet<String> {
        let list = fs::read_dir(self.root.join("world")).unwrap();
        list.map(|entry| entry.unwrap().file_name().to_str().unwrap().replace('+', "/")).collect()
    }

    /// Puts a thing into the world that is not ours.
    pub fn put(&self, address: &str) {
        fs::write(self.root.join("world").join(address.replace('/', "+")), "not ours").unwrap();
    }

    pub fn is_untouched(&self, address: &str) -> bool {
        let file = self.root.join("world").join(address.replace('/', "+"));
        fs::read_to_string(file).is_ok_and(|text| text == "not ours")
    }

    /// Every call of a script, in order: `apply m/create`.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("calls")).unwrap_or_default();
        // `apply:disk0 m/...` without the item.
        let short = |line: &str| {
            let (word, task) = line.split_once(' ').unwrap();
            match word {
                "apply:stop" => format!("stop {task}"),
                _ => format!("{} {task}", word.split(':').next().unwrap()),
            }
        };
        text.lines().map(short).collect()
    }

    /// How many calls of scripts there were, cheap to ask while scripts run.
    pub fn calls_raw(&self) -> usize {
        fs::read(self.root.join("calls")).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls().iter().filter(|known| *known == call).count()
    }

    pub fn forget_calls(&self) {
        let _ = fs::remove_file(self.root.join("calls"));
    }

    pub fn reader(&self) -> JournalReader {
        JournalReader::open(&self.root).unwrap().expect("something was recorded")
    }

    pub fn ledger(&self) -> Ledger {
        self.reader().ledger().unwrap()
    }

    pub fn status(&self, task: &str) -> TaskStatus {
        self.ledger().entries.get(&Address::new(task)).map_or(TaskStatus::Pending, |entry| entry.status)
    }

    /// Proves the whole journal, and that no task was begun again after it was done.
    pub fn assert_sound(&self) {
        self.reader().verify().unwrap();
        let mut done = BTreeSet::new();
        for record in self.reader().records(1).unwrap() {
            let Event::Task(event) = record.event else { continue };
            if event.task.as_str().ends_with("/cleanup") {
                continue; // It is run with every rollback.
            }
            match event.event {
                TaskEventKind::Applied => drop(done.insert(event.task)),
                TaskEventKind::Started => {
                    assert!(!done.contains(&event.task), "{} began again at {}", event.task, record.seq);
                }
                TaskEventKind::UndoStarted => drop(done.remove(&event.task)),
                _ => {}
            }
        }
    }
}

/// A task of the fake world.
pub fn task(address: &str, depends_on: &[&str]) -> Task {
    Task {
        address: Address::new(address),
        phase: Phase::Create,
        what: format!("make {address}"),
        command: ScriptCall { script: "task.sh".into(), item: None },
        key: BTreeMap::from([("version".into(), "1".into())]),
        reversal: Reversal::Undo,
        bytes: None,
        throughput: None,
        limits: TaskLimits { backoff: Duration::from_millis(1), ..TaskLimits::default() },
        budgets: Vec::new(),
        depends_on: depends_on.iter().map(|address| Address::new(*address)).collect(),
    }
}

pub fn cleanup(machine: &str) -> Task {
    Task { phase: Phase::Cleanup, ..task(&format!("{machine}/cleanup"), &[]) }
}

pub fn kept(task: Task) -> Task {
    let command = ScriptCall { item: Some("keep".into()), ..task.command };
    Task { command, reversal: Reversal::KeepsResult { why: "it is of value".into() }, ..task }
}

/// A run of these tasks; every machine has the policy.
pub fn manifest(tasks: Vec<Task>, on_failure: OnFailure) -> RunManifest {
    let machines: BTreeSet<String> =
        tasks.iter().filter(|task| task.address.is_machine()).map(|task| task.address.scope().to_owned()).collect();
    RunManifest {
        format: 1,
        tool: "test".into(),
        name: "fake".into(),
        root: Utf8PathBuf::new(),
        files: Vec::new(),
        sources: BTreeMap::new(),
        journal_head: 0,
        selection: Selection::default(),
        budgets: BTreeMap::new(),
        machines: machines.into_iter().map(|name| (name, FrozenMachine { on_failure })).collect(),
        waves: Vec::new(),
        boot: None,
        artifacts: Vec::new(),
        tasks,
    }
}

pub fn wave(name: &str, machines: &[&str], max_failures: Option<u32>) -> FrozenWave {
    FrozenWave { name: name.into(), machines: machines.iter().map(|name| (*name).to_owned()).collect(), max_failures }
}

/// The tasks of one machine with two disks, as a real plan has them, and the shared work of its host.
pub fn two_disk_machine(machine: &str) -> Vec<Task> {
    let at = |rest: &str| format!("{machine}/{rest}");
    let (validate, seal, create) = (at("validate"), at("capture"), at("create"));
    let (capture0, capture1) = (at("capture/disk0"), at("capture/disk1"));
    let (deploy0, deploy1, guest) = (at("deploy/disk0"), at("deploy/disk1"), at("deploy/guest"));
    vec![
        kept(task("host:h/agent", &[])),
        Task { reversal: Reversal::Nothing, ..task(&validate, &[]) },
        kept(task(&capture0, &[&validate])),
        kept(task(&capture1, &[&validate])),
        kept(task(&seal, &[&capture0, &capture1])),
        task(&create, &[&validate]),
        task(&deploy0, &[&seal, &create]),
        task(&deploy1, &[&seal, &create]),
        task(&guest, &[&deploy0, &deploy1, "host:h/agent"]),
        Task {
            reversal: Reversal::PointOfNoReturn { why: "the VM is on the network".into() },
            ..task(&at("post-deploy"), &[&guest])
        },
        cleanup(machine),
    ]
}

/// The addresses of tasks that make something, the cleanup tasks not among them.
pub fn addresses(tasks: &[Task]) -> Vec<String> {
    tasks.iter().filter(|task| task.phase != Phase::Cleanup).map(|task| task.address.to_string()).collect()
}

/// What rollback leaves of these tasks.
pub fn keeps(tasks: &[Task]) -> BTreeSet<String> {
    let keeps = |task: &&Task| matches!(task.reversal, Reversal::KeepsResult { .. } | Reversal::Nothing);
    tasks.iter().filter(keeps).map(|task| task.address.to_string()).collect()
}

/// Waits until somebody opens the pipe for writing, and reads what is written.
pub fn read_pipe(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

/// Lets one reader of the pipe go on.
pub fn write_pipe(path: &Utf8Path, text: &str) {
    fs::write(path, text).unwrap();
}
