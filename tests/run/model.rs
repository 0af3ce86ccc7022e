//! Random graphs against a model: a world in memory, a crash after every prefix of the journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use proptest::prelude::*;
use replant::execute::{Call, Checked, Ended, ExecuteError, Failed, Outcome, TaskHandle, TaskRunner, Trial, run_trial};
use replant::freeze::RunManifest;
use replant::journal::{JournalReader, PlannedFaults};
use replant::plan::OnFailure;
use replant::planner::{Phase, Task};
use replant::progress::Emitter;

use super::world::{cleanup, manifest, task};

/// A world in memory: what each task made. Undo must never find something that was built on it.
#[derive(Default)]
struct Memory {
    made: BTreeSet<String>,
    applied: BTreeMap<String, u32>,
    broken: Vec<String>,
}

struct MemoryRunner {
    manifest: Arc<RunManifest>,
    memory: Mutex<Memory>,
    failing: Option<String>,
}

impl MemoryRunner {
    fn dependents<'a>(&'a self, address: &'a str) -> impl Iterator<Item = &'a Task> {
        self.manifest.tasks.iter().filter(move |task| task.depends_on.iter().any(|on| on.as_str() == address))
    }
}

impl TaskRunner for MemoryRunner {
    async fn check(&self, task: &TaskHandle, _call: Call) -> Checked {
        match self.memory.lock().unwrap().made.contains(task.address.as_str()) {
            true => Checked::Present(BTreeMap::new()),
            false => Checked::Absent,
        }
    }

    async fn apply(&self, task: &TaskHandle, _call: Call) -> Ended {
        let mut memory = self.memory.lock().unwrap();
        for before in &task.depends_on {
            if !memory.made.contains(before.as_str()) {
                memory.broken.push(format!("{} began before {before}", task.address));
            }
        }
        memory.made.insert(task.address.to_string());
        *memory.applied.entry(task.address.to_string()).or_default() += 1;
        match self.failing.as_deref() == Some(task.address.as_str()) {
            true => Ended::badly(Failed::retryable("it fails")),
            false => Ended::well(),
        }
    }

    async fn undo(&self, task: &TaskHandle, _call: Call) -> Ended {
        let mut memory = self.memory.lock().unwrap();
        for later in self.dependents(task.address.as_str()) {
            if memory.made.contains(later.address.as_str()) && later.address.scope() == task.address.scope() {
                memory.broken.push(format!("{} was undone under {}", task.address, later.address));
            }
        }
        memory.made.remove(task.address.as_str());
        Ended::well()
    }

    async fn stop(&self, _cleanup: &TaskHandle, _call: Call) -> Ended {
        Ended::well()
    }
}

struct Site {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    runner: Arc<MemoryRunner>,
}

impl Site {
    fn new(plan: &RunManifest, failing: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        let manifest = Arc::new(plan.clone());
        let failing = failing.map(str::to_owned);
        let runner = Arc::new(MemoryRunner { manifest, memory: Mutex::default(), failing });
        Self { _folder: folder, root, runner }
    }

    fn run(&self, rollback: bool, refuse_after: Option<u64>) -> Result<replant::execute::RunReport, ExecuteError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run_trial(Trial {
            root: self.root.clone(),
            manifest: Arc::clone(&self.runner.manifest),
            runner: Arc::clone(&self.runner),
            rollback,
            jobs: 3,
            injections: Vec::new(),
            faults: PlannedFaults { refuse_after },
            past_commit: true,
            emitter: Emitter::silent("model"),
            stop: None,
        }))
    }

    fn made(&self) -> BTreeSet<String> {
        self.runner.memory.lock().unwrap().made.clone()
    }

    fn assert_in_order(&self) {
        let memory = self.runner.memory.lock().unwrap();
        assert!(memory.broken.is_empty(), "{:?}", memory.broken);
        drop(memory);
        JournalReader::open(&self.root).unwrap().unwrap().verify().unwrap();
    }
}

/// Random tasks of up to three machines, each depending on any of those before it.
fn plans() -> impl Strategy<Value = RunManifest> {
    let nodes = prop::collection::vec((0usize..3, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..9);
    (nodes, any::<bool>()).prop_map(|(nodes, rollback)| {
        let mut tasks: Vec<Task> = Vec::new();
        for (at, (machine, before)) in nodes.iter().enumerate() {
            let before: BTreeSet<String> =
                before.iter().filter(|_| at > 0).map(|index| tasks[index.index(at)].address.to_string()).collect();
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            tasks.push(task(&format!("m{machine}/t{at}"), &before));
        }
        tasks.extend((0..3).map(|machine| cleanup(&format!("m{machine}"))));
        manifest(tasks, if rollback { OnFailure::Rollback } else { OnFailure::Keep })
    })
}

fn all(plan: &RunManifest) -> BTreeSet<String> {
    let made = plan.tasks.iter().filter(|task| task.phase != Phase::Cleanup);
    made.map(|task| task.address.to_string()).collect()
}

/// How many records an undisturbed run writes.
fn records(site: &Site) -> u64 {
    JournalReader::open(&site.root).unwrap().unwrap().ledger().unwrap().head
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_crash_behind_every_record_a_run_ends_as_if_nothing_had_happened(plan in plans()) {
        let whole = Site::new(&plan, None);
        prop_assert_eq!(whole.run(false, None).unwrap().outcome, Outcome::Done);
        whole.assert_in_order();
        prop_assert_eq!(whole.made(), all(&plan));
        for prefix in 0..records(&whole) {
            let site = Site::new(&plan, None);
            prop_assert!(site.run(false, Some(prefix)).is_err(), "cut after {} records", prefix);
            let report = site.run(false, None).unwrap();
            prop_assert_eq!(report.outcome, Outcome::Done, "cut after {} records: {:?}", prefix, &report);
            site.assert_in_order();
            prop_assert_eq!(site.made(), all(&plan));
            // It is looked at before it is done again, so nothing is ever done twice.
            prop_assert!(site.runner.memory.lock().unwrap().applied.values().all(|times| *times == 1));
        }
    }

    #[test]
    fn after_a_crash_behind_every_record_of_a_rollback_it_ends_with_nothing_left(plan in plans()) {
        let whole = Site::new(&plan, None);
        whole.run(false, None).unwrap();
        let done = records(&whole);
        prop_assert_eq!(whole.run(true, None).unwrap().outcome, Outcome::Done);
        prop_assert!(whole.made().is_empty());
        for prefix in 0..records(&whole) - done {
            let site = Site::new(&plan, None);
            site.run(false, None).unwrap();
            prop_assert!(site.run(true, Some(prefix)).is_err());
            let report = site.run(true, None).unwrap();
            prop_assert_eq!(report.outcome, Outcome::Done, "cut after {} records: {:?}", prefix, &report);
            prop_assert!(site.made().is_empty(), "{:?}", site.made());
            site.assert_in_order();
        }
    }

    #[test]
    fn a_failure_and_a_crash_behind_every_record_leave_nothing_that_rollback_cannot_take_back(
        plan in plans(), failing in any::<prop::sample::Index>(),
    ) {
        let names: Vec<String> = all(&plan).into_iter().collect();
        let failing = failing.get(&names).as_str();
        let whole = Site::new(&plan, Some(failing));
        let report = whole.run(false, None).unwrap();
        prop_assert!(matches!(report.outcome, Outcome::RolledBack | Outcome::Kept), "{:?}", &report);
        let scope = failing.split('/').next().unwrap();
        let left = whole.made().into_iter().any(|made| made.starts_with(&format!("{scope}/")));
        prop_assert_eq!(left, report.outcome == Outcome::Kept);
        whole.assert_in_order();
        for prefix in 0..records(&whole) {
            let site = Site::new(&plan, Some(failing));
            prop_assert!(site.run(false, Some(prefix)).is_err());
            // Forward again (to the same failure), then all the way back: from wherever the crash has left it.
            let report = site.run(false, None).unwrap();
            prop_assert!(matches!(report.outcome, Outcome::RolledBack | Outcome::Kept | Outcome::Done));
            let report = site.run(true, None).unwrap();
            prop_assert_eq!(report.outcome, Outcome::Done, "cut after {} records: {:?}", prefix, &report);
            prop_assert!(site.made().is_empty(), "{:?}", site.made());
            site.assert_in_order();
        }
    }
}

#[test]
fn nothing_begins_on_what_another_machine_has_taken_back() {
    for steps in 0..12 {
        // m2 needs a while until it could build on what m1, which fails, has taken back by then, is taking back, or not yet.
        let mut tasks = vec![task("m1/t0", &[]), task("m1/fails", &["m1/t0"]), task("m2/a0", &[])];
        tasks.extend((1..=steps).map(|at| task(&format!("m2/a{at}"), &[&format!("m2/a{}", at - 1)])));
        tasks.push(task("m2/late", &["m1/t0", &format!("m2/a{steps}")]));
        tasks.push(task("m2/later", &["m2/late"]));
        tasks.extend(["m1", "m2"].map(cleanup));
        let site = Site::new(&manifest(tasks, OnFailure::Rollback), Some("m1/fails"));
        let report = site.run(false, None).unwrap();
        assert_eq!(report.outcome, Outcome::RolledBack, "{report:?}");
        site.assert_in_order();
        let made = site.made();
        assert!(!made.contains("m1/t0") && made.contains(&format!("m2/a{steps}")), "{made:?}");
        assert_eq!(made.contains("m2/later"), made.contains("m2/late"));
        assert_eq!(report.blocked, if made.contains("m2/late") { 0 } else { 2 }, "{report:?}");
    }
}

#[test]
fn many_tasks_in_a_chain_and_side_by_side_are_no_trouble() {
    for chain in [true, false] {
        let mut tasks: Vec<Task> = vec![task("m/t0", &[])];
        for at in 1..3000 {
            let before = format!("m/t{}", if chain { at - 1 } else { 0 });
            tasks.push(task(&format!("m/t{at}"), &[&before]));
        }
        let plan = manifest(tasks, OnFailure::Rollback);
        let site = Site::new(&plan, None);
        assert_eq!(site.run(false, None).unwrap().applied, 3000);
        assert_eq!(site.run(true, None).unwrap().undone, 3000);
        site.assert_in_order();
    }
}
