//! The entry: what past runs made is taken back. Each task is undone by the scripts of the run in which it was begun
//! last, from that run's recorded folder.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use camino::Utf8PathBuf;

use crate::address::{Address, glob_matches};
use crate::freeze::RunManifest;
use crate::journal::{JournalReader, Ledger, RunId, TaskStatus};
use crate::planner::{Phase, Reversal, Task};
use crate::progress::Display;

use super::apply::{RunOrder, empty_report, runtime, show_end};
use super::cancel::{StopHandle, StopRequests};
use super::error::ExecuteError;
use super::inject::{Injection, Injections};
use super::outcome::RunReport;
use super::run_state::Mode;

/// What [`rollback`] needs to know.
pub struct RollbackOptions {
    /// The plan's folder; `.replant/` lies here.
    pub root: Utf8PathBuf,
    /// Globs over machines; none means everything, shared work included.
    pub machines: Vec<String>,
    /// Whether points of no return are passed backwards.
    pub past_commit: bool,
    /// Rehearsed faults.
    pub injections: Vec<Injection>,
    /// Scripts at once; `None` chooses by the number of processors.
    pub jobs: Option<usize>,
    /// Further environment for the scripts.
    pub env: Vec<(String, String)>,
    /// The binary that scripts call as `$REPLANT`; `None` is this one.
    pub replant: Option<Utf8PathBuf>,
    /// How the run is shown.
    pub display: Display,
    /// The command line, for others who find the lease taken.
    pub command: String,
    /// Whether Ctrl-C and SIGTERM to this process stop the run.
    pub signals: bool,
    /// Another way to stop it.
    pub stop: Option<(StopHandle, StopRequests)>,
}

impl RollbackOptions {
    /// Rolls back everything below `root`, with everything else as it mostly is.
    pub fn new(root: Utf8PathBuf) -> Self {
        Self {
            root,
            machines: Vec::new(),
            past_commit: false,
            injections: Vec::new(),
            jobs: None,
            env: Vec::new(),
            replant: None,
            display: Display::Silent,
            command: "replant rollback".into(),
            signals: true,
            stop: None,
        }
    }
}

/// One task that rollback would undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoStep {
    /// The task.
    pub task: Address,
    /// What it did, for people.
    pub what: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// Whether there is anything to run.
    pub reversal: Reversal,
}

/// What rollback would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindPreview {
    /// Tasks to undo, in the order of a rollback that does one after the other.
    pub steps: Vec<UndoStep>,
    /// What was there before us and is left alone.
    pub left_alone: Vec<Address>,
    /// Machines beyond their point of no return, and why they cannot simply be taken back.
    pub past_commit: Vec<(String, String)>,
}

/// Everything that has to be known to roll back.
struct Gathered {
    manifest: RunManifest,
    folders: HashMap<Address, Utf8PathBuf>,
    ledger: Ledger,
}

/// What [`rollback`] would do; reads only.
pub fn preview_rollback(options: &RollbackOptions) -> Result<UnwindPreview, ExecuteError> {
    let Some(gathered) = gather(options)? else { return Ok(UnwindPreview::default()) };
    Ok(preview(&gathered))
}

/// Undoes what is ours, in reverse order, scope beside scope. Refused for machines beyond their point of no return,
/// before anything is undone, unless asked for.
pub fn rollback(options: RollbackOptions) -> Result<RunReport, ExecuteError> {
    let began = Instant::now();
    let gathered = gather(&options)?;
    let preview = gathered.as_ref().map(preview).unwrap_or_default();
    if let Some((machine, why)) = preview.past_commit.into_iter().next()
        && !options.past_commit
    {
        return Err(ExecuteError::PastCommit { machine, why });
    }
    let (Some(gathered), false) = (gathered, preview.steps.is_empty()) else {
        let mut report = empty_report(None);
        report.elapsed = began.elapsed();
        show_end(options.display, "-", &report);
        return Ok(report);
    };
    let scopes: BTreeSet<String> = gathered.manifest.tasks.iter().map(|task| task.address.scope().to_owned()).collect();
    let run = RunId::fresh();
    let order = RunOrder {
        folder: options.root.clone(),
        root: options.root,
        verb: "rollback",
        mode: Mode::Rollback,
        run,
        folders: gathered.folders,
        manifest: Arc::new(gathered.manifest),
        scopes: scopes.into_iter().collect(),
        injections: Injections::new(options.injections),
        past_commit: options.past_commit,
        jobs: options.jobs,
        env: options.env,
        replant: options.replant,
        display: options.display,
        command: options.command,
        accepted_edits: BTreeMap::new(),
        signals: options.signals,
        stop: options.stop,
    };
    let runtime = runtime()?;
    let report = runtime.block_on(order.execute());
    runtime.shutdown_background();
    report
}

fn preview(gathered: &Gathered) -> UnwindPreview {
    let mut preview = UnwindPreview::default();
    for task in gathered.manifest.tasks.iter().rev().filter(|task| task.phase != Phase::Cleanup) {
        let Some(entry) = gathered.ledger.entries.get(&task.address) else { continue };
        if entry.status == TaskStatus::AlreadyTrue {
            preview.left_alone.push(task.address.clone());
        }
        if !entry.status.is_ours() {
            continue;
        }
        if let (Reversal::PointOfNoReturn { why }, TaskStatus::Applied) = (&task.reversal, entry.status) {
            preview.past_commit.push((task.address.scope().to_owned(), why.clone()));
        }
        preview.steps.push(UndoStep {
            task: task.address.clone(),
            what: task.what.clone(),
            status: entry.status,
            reversal: task.reversal.clone(),
        });
    }
    preview.past_commit.sort();
    preview
}

/// The run folders that are needed, each read once.
struct Folders {
    recorded: HashMap<RunId, Utf8PathBuf>,
    read: HashMap<RunId, (Utf8PathBuf, RunManifest, HashMap<Address, usize>)>,
}

impl Folders {
    fn of(
        &mut self,
        run: &RunId,
        task: &Address,
    ) -> Result<&(Utf8PathBuf, RunManifest, HashMap<Address, usize>), ExecuteError> {
        if !self.read.contains_key(run) {
            let no_origin = || ExecuteError::NoOrigin { task: task.to_string() };
            let folder = self.recorded.get(run).cloned().ok_or_else(no_origin)?;
            let unreadable = |error| ExecuteError::RunFolder {
                folder: folder.clone(),
                run: run.to_string(),
                task: task.to_string(),
                error,
            };
            let text = std::fs::read(folder.join("plan.json")).map_err(unreadable)?;
            let manifest: RunManifest =
                serde_json::from_slice(&text).map_err(|error| unreadable(std::io::Error::other(error)))?;
            let index = manifest.tasks.iter().enumerate().map(|(at, task)| (task.address.clone(), at)).collect();
            self.read.insert(run.clone(), (folder, manifest, index));
        }
        Ok(self.read.get(run).expect("it was put there above"))
    }
}

/// Puts together the tasks of every scope that is asked for, each as it was when it was begun last.
fn gather(options: &RollbackOptions) -> Result<Option<Gathered>, ExecuteError> {
    let Some(reader) = JournalReader::open(&options.root)? else { return Ok(None) };
    let (ledger, begun_in) = (reader.ledger()?, reader.begun_in()?);
    // Runs of rollback have no folder of their own; all that was ever begun in them are cleanup tasks.
    let runs = reader.runs()?.into_iter().filter(|run| run.about.verb != "rollback");
    let recorded: HashMap<RunId, Utf8PathBuf> = runs.map(|run| (run.run, run.about.folder)).collect();
    let mut folders = Folders { recorded, read: HashMap::new() };

    let asked =
        |scope: &str| options.machines.is_empty() || options.machines.iter().any(|glob| glob_matches(glob, scope));
    let mut ours: BTreeMap<&str, Vec<&Address>> = BTreeMap::new();
    for (address, entry) in &ledger.entries {
        let has_folder = begun_in.get(address).is_some_and(|run| folders.recorded.contains_key(run));
        if entry.status.is_ours() && has_folder && asked(address.scope()) {
            ours.entry(address.scope()).or_default().push(address);
        }
    }
    if let Some(glob) =
        options.machines.iter().find(|glob| !ledger.entries.keys().any(|task| glob_matches(glob, task.scope())))
    {
        return Err(ExecuteError::NoSuchMachine { glob: glob.clone() });
    }

    let mut tasks: Vec<Task> = Vec::new();
    let mut task_folders = HashMap::new();
    let mut frame: Option<RunManifest> = None;
    for (scope, addresses) in ours {
        let newest = addresses.iter().filter_map(|address| begun_in.get(*address)).max().cloned();
        let Some(newest) = newest else { continue };
        let (folder, manifest, _) = folders.of(&newest, addresses[0])?;
        let mut of_scope: Vec<Task> =
            manifest.tasks.iter().filter(|task| task.address.scope() == scope).cloned().collect();
        of_scope.iter().for_each(|task| drop(task_folders.insert(task.address.clone(), folder.clone())));
        let budgets = manifest.budgets.clone();
        match &mut frame {
            Some(frame) => frame.budgets.extend(budgets),
            None => frame = Some(RunManifest { tasks: Vec::new(), ..manifest.clone() }),
        }
        for address in addresses {
            let origin = begun_in.get(address).unwrap_or(&newest);
            if *origin == newest && of_scope.iter().any(|task| task.address == *address) {
                continue;
            }
            let (folder, manifest, index) = folders.of(origin, address)?;
            let at = index.get(address).ok_or_else(|| ExecuteError::NoOrigin { task: address.to_string() })?;
            let task = manifest.tasks[*at].clone();
            task_folders.insert(address.clone(), folder.clone());
            match of_scope.iter_mut().find(|known| known.address == *address) {
                Some(known) => *known = task,
                None => of_scope.push(task),
            }
        }
        tasks.extend(of_scope);
    }
    let Some(mut manifest) = frame else { return Ok(None) };
    manifest.tasks = in_dependency_order(tasks);
    Ok(Some(Gathered { manifest, folders: task_folders, ledger }))
}

/// Tasks of several runs in one order in which each stands after all that it depends on.
fn in_dependency_order(tasks: Vec<Task>) -> Vec<Task> {
    let known: HashMap<Address, usize> =
        tasks.iter().enumerate().map(|(at, task)| (task.address.clone(), at)).collect();
    let mut waits: Vec<usize> = vec![0; tasks.len()];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        let before: HashSet<usize> = task.depends_on.iter().filter_map(|address| known.get(address).copied()).collect();
        waits[at] = before.len();
        before.into_iter().for_each(|before| dependents[before].push(at));
    }
    let mut free: BTreeSet<usize> = (0..tasks.len()).filter(|at| waits[*at] == 0).collect();
    let mut order = Vec::with_capacity(tasks.len());
    while let Some(at) = free.pop_first() {
        order.push(at);
        for dependent in &dependents[at] {
            waits[*dependent] -= 1;
            if waits[*dependent] == 0 {
                free.insert(*dependent);
            }
        }
    }
    // Runs of different plans may contradict each other; what is in a circle comes last, in the order it had.
    let ordered: HashSet<usize> = order.iter().copied().collect();
    order.extend((0..tasks.len()).filter(|at| !ordered.contains(at)));
    let mut tasks: Vec<Option<Task>> = tasks.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| tasks[at].take()).collect()
}
