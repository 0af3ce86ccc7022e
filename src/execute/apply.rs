//! The entry: a frozen run is applied. See [`apply`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;

use crate::freeze::RunManifest;
use crate::journal::{Event, Holder, Journal, JournalReader, Ledger, LedgerEntry, RunId, RunOpened, TaskStatus};
use crate::planner::{Phase, Task};
use crate::progress::{Display, Emitter, ProgressServer, RunEventKind};

use super::cancel::{StopHandle, StopRequests};
use super::dispatcher::Dispatcher;
use super::error::ExecuteError;
use super::graph::Shape;
use super::inject::{Injection, Injections};
use super::orphans::end_orphans_of;
use super::outcome::{Outcome, RunReport};
use super::run_state::{Mode, Setup};
use super::worker::{ScriptRunner, Surroundings};

/// Called with the new run's name before anything else happens; answers with the run folder to record and to run
/// from (such as a copy below `.replant/runs/`).
pub type OnStart = Box<dyn FnOnce(&RunId) -> io::Result<Utf8PathBuf> + Send>;

/// The remark of an attempt at something that was done before: that it is there proves nothing.
pub(super) const DONE_AGAIN: &str = "done again";

/// What [`apply`] needs to know.
pub struct ApplyOptions {
    /// The plan's folder; `.replant/` lies here.
    pub root: Utf8PathBuf,
    /// The frozen run.
    pub manifest: RunManifest,
    /// Which run folder is used; see [`OnStart`].
    pub on_start: OnStart,
    /// Rehearsed faults.
    pub injections: Vec<Injection>,
    /// Whether a failed machine is rolled back even beyond its point of no return.
    pub past_commit: bool,
    /// Scripts at once; `None` chooses by the number of processors.
    pub jobs: Option<usize>,
    /// Further environment for the scripts (`REPLANT_CONTROLLER`, `REPLANT_STORE_KEY`).
    pub env: Vec<(String, String)>,
    /// The binary that scripts call as `$REPLANT`; `None` is this one.
    pub replant: Option<Utf8PathBuf>,
    /// How the run is shown.
    pub display: Display,
    /// The command line, for others who find the lease taken, and for resuming.
    pub command: String,
    /// Edits of artifacts that a person accepted: path to digest; journaled.
    pub accepted_edits: BTreeMap<String, String>,
    /// Whether Ctrl-C and SIGTERM to this process stop the run.
    pub signals: bool,
    /// Another way to stop it.
    pub stop: Option<(StopHandle, StopRequests)>,
}

impl ApplyOptions {
    /// Applies `manifest` from the run folder `folder`, with everything else as it mostly is.
    pub fn new(root: Utf8PathBuf, folder: Utf8PathBuf, manifest: RunManifest) -> Self {
        Self {
            root,
            manifest,
            on_start: Box::new(move |_| Ok(folder)),
            injections: Vec::new(),
            past_commit: false,
            jobs: None,
            env: Vec::new(),
            replant: None,
            display: Display::Silent,
            command: "replant apply".into(),
            accepted_edits: BTreeMap::new(),
            signals: true,
            stop: None,
        }
    }
}

/// Executes a frozen run, or goes on with it: what the journal says is done is skipped, what was cut off is looked at
/// again. Returns when everything that could be done is durable. If all is done already it returns at once, takes no
/// lease and records nothing.
///
/// ```no_run
/// use replant::execute::{ApplyOptions, apply};
/// use replant::progress::Display;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = camino::Utf8PathBuf::from("/srv/plans/run");
/// let manifest = serde_json::from_slice(&std::fs::read(folder.join("plan.json"))?)?;
/// let mut options = ApplyOptions::new("/srv/plans".into(), folder, manifest);
/// options.display = Display::Bars;
/// options.injections = vec!["fail-once@web01/create".parse()?];
/// let report = apply(options)?;
/// println!("{}", report.summary());
/// std::process::exit(report.outcome.code().into());
/// # }
/// ```
pub fn apply(options: ApplyOptions) -> Result<RunReport, ExecuteError> {
    let runtime = runtime()?;
    let report = runtime.block_on(apply_async(options));
    // Tasks have ended; only connections of services that they left behind may be open.
    runtime.shutdown_background();
    report
}

/// The runtime of a run: it waits more than it works.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, ExecuteError> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.build().map_err(|error| ExecuteError::System { doing: "starting the asynchronous runtime", error })
}

/// As [`apply`], for callers that have a tokio runtime already.
pub async fn apply_async(options: ApplyOptions) -> Result<RunReport, ExecuteError> {
    let began = Instant::now();
    let seen = match JournalReader::open(&options.root)? {
        Some(reader) => reader.ledger()?,
        None => Ledger::default(),
    };
    let to_do = scopes_to_do(&options.manifest, &seen);
    if to_do.is_empty() {
        let mut report = empty_report(None);
        report.skipped = options.manifest.tasks.iter().filter(|task| task.phase != Phase::Cleanup).count() as u64;
        report.elapsed = began.elapsed();
        show_end(options.display, "-", &report);
        return Ok(report);
    }
    let run = RunId::fresh();
    let folder = (options.on_start)(&run).map_err(ExecuteError::Hook)?;
    let order = RunOrder {
        root: options.root,
        verb: "apply",
        mode: Mode::Apply,
        run,
        folder,
        folders: HashMap::new(),
        manifest: Arc::new(options.manifest),
        scopes: to_do.into_iter().collect(),
        injections: Injections::new(options.injections),
        past_commit: options.past_commit,
        jobs: options.jobs,
        env: options.env,
        replant: options.replant,
        display: options.display,
        command: options.command,
        accepted_edits: options.accepted_edits,
        signals: options.signals,
        stop: options.stop,
    };
    order.execute().await
}

/// A run of either kind, ready to begin.
pub(super) struct RunOrder {
    pub root: Utf8PathBuf,
    pub verb: &'static str,
    pub mode: Mode,
    pub run: RunId,
    pub folder: Utf8PathBuf,
    pub folders: HashMap<crate::address::Address, Utf8PathBuf>,
    pub manifest: Arc<RunManifest>,
    pub scopes: Vec<String>,
    pub injections: Injections,
    pub past_commit: bool,
    pub jobs: Option<usize>,
    pub env: Vec<(String, String)>,
    pub replant: Option<Utf8PathBuf>,
    pub display: Display,
    pub command: String,
    pub accepted_edits: BTreeMap<String, String>,
    pub signals: bool,
    pub stop: Option<(StopHandle, StopRequests)>,
}

impl RunOrder {
    /// Takes the leases, runs, records the end and gives the leases back.
    pub async fn execute(self) -> Result<RunReport, ExecuteError> {
        let journal = Journal::open(&self.root)?;
        let leased = journal.acquire(self.scopes, Holder::here(self.run.clone(), self.command.clone()))?;
        for holder in &leased.taken_over {
            let ended = end_orphans_of(holder);
            tracing::info!(%holder, ended, "took over from a process that has died");
        }
        // Others may have finished something since we looked without a lease.
        let ledger = journal.ledger()?;
        let (emitter, stream) = Emitter::new(self.run.as_str());
        let display = self.display;
        let display = std::thread::spawn(move || display.show(stream));
        let system = |doing| move |error| ExecuteError::System { doing, error };
        let server = ProgressServer::start(emitter.clone()).map_err(system("opening the scripts' socket"))?;
        let replant = match self.replant {
            Some(path) => path,
            None => this_binary().map_err(system("finding this program's own path"))?,
        };
        let (handle, stop) = self.stop.unwrap_or_else(StopHandle::new);
        let listening = match self.signals {
            true => Some(handle.listen_to_signals().map_err(system("listening to signals"))?),
            false => None,
        };
        let total = self.manifest.tasks.iter().filter(|task| task.phase != Phase::Cleanup).count() as u64;
        let to_do = tasks_to_do(&self.manifest, &ledger, self.mode);
        let about = RunOpened {
            verb: self.verb.into(),
            plan: self.manifest.name.clone(),
            folder: self.folder.clone(),
            command: self.command,
            tool: env!("CARGO_PKG_VERSION").into(),
            to_do,
        };
        let mut opening = vec![Event::RunOpened(about)];
        if !self.accepted_edits.is_empty() {
            opening.push(Event::EditsAccepted { artifacts: self.accepted_edits });
        }
        let done = total.saturating_sub(to_do);
        let plan = self.manifest.name.clone();
        emitter.emit(RunEventKind::RunStarted { plan, verb: self.verb, to_do, done });
        let surroundings = Surroundings {
            root: self.root,
            folder: self.folder,
            folders: self.folders,
            run: self.run.to_string(),
            replant,
            env: self.env,
        };
        let setup = Setup {
            shape: Shape::of(&self.manifest),
            manifest: self.manifest,
            ledger,
            journal,
            run: self.run.clone(),
            epoch: leased.epoch,
            runner: Arc::new(ScriptRunner::new(surroundings, server)),
            emitter: emitter.clone(),
            injections: self.injections,
            jobs: self.jobs.unwrap_or_else(default_jobs),
            past_commit: self.past_commit,
            mode: self.mode,
            stop,
            opening,
        };
        let (report, broken, journal) = Dispatcher::new(setup).run().await;
        drop(handle);
        if let Some(listening) = listening {
            listening.abort();
        }
        let closed = close(&journal, &self.run, &report, broken.is_some());
        emitter.emit(ended(&report));
        emitter.close();
        // A display that panicked has shown it.
        let _ = display.join();
        match broken {
            Some(error) => Err(error.into()),
            None => closed.map(|()| report),
        }
    }
}

/// Records the end of the run.
pub(super) fn close(journal: &Journal, run: &RunId, report: &RunReport, broken: bool) -> Result<(), ExecuteError> {
    if broken {
        return Ok(());
    }
    let event = Event::RunClosed { outcome: report.outcome.name().into(), summary: report.summary() };
    journal.append_and_wait(run, vec![event])?;
    Ok(())
}

fn ended(report: &RunReport) -> RunEventKind {
    RunEventKind::RunEnded { outcome: report.outcome.name(), exit: report.outcome.code(), summary: report.summary() }
}

/// Shows the end of a run that had nothing to do.
pub(super) fn show_end(display: Display, run: &str, report: &RunReport) {
    let (emitter, stream) = Emitter::new(run);
    emitter.emit(ended(report));
    emitter.close();
    display.show(stream);
}

pub(super) fn empty_report(run: Option<RunId>) -> RunReport {
    RunReport {
        run,
        outcome: Outcome::Done,
        applied: 0,
        already_true: 0,
        skipped: 0,
        undone: 0,
        failed: Vec::new(),
        stuck: Vec::new(),
        blocked: 0,
        kept: Vec::new(),
        past_commit: Vec::new(),
        interrupted: Vec::new(),
        recovered: Vec::new(),
        elapsed: Duration::ZERO,
    }
}

/// Scripts at once: they wait for disks and hosts more than they compute.
pub(super) fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(8, |n| n.get() * 4).max(8)
}

fn this_binary() -> io::Result<Utf8PathBuf> {
    Utf8PathBuf::from_path_buf(std::env::current_exe()?)
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
}

/// Whether the task is to be done again although it is done: asked for, and not done since the plan was made.
pub(super) fn is_redo(manifest: &RunManifest, task: &Task, entry: Option<&LedgerEntry>) -> bool {
    let asked = manifest.selection.redo.iter().any(|glob| task.address.matches(glob));
    asked && !entry.is_some_and(|entry| entry.status.is_done() && entry.seq > manifest.journal_head)
}

/// Whether the task is done with these inputs.
pub(super) fn is_done(task: &Task, entry: Option<&LedgerEntry>, redo: bool) -> bool {
    !redo && entry.is_some_and(|entry| entry.status.is_done() && entry.key == task.key)
}

/// Whether the attempt that was cut off was one at something that was done before.
pub(super) fn is_done_again(entry: Option<&LedgerEntry>) -> bool {
    entry.is_some_and(|entry| entry.status == TaskStatus::Running && entry.message.as_deref() == Some(DONE_AGAIN))
}

/// The scopes with something to do: only these are leased.
fn scopes_to_do(manifest: &RunManifest, ledger: &Ledger) -> BTreeSet<String> {
    let mut scopes = BTreeSet::new();
    for task in manifest.tasks.iter().filter(|task| task.phase != Phase::Cleanup) {
        let entry = ledger.entries.get(&task.address);
        if !is_done(task, entry, is_redo(manifest, task, entry)) && !scopes.contains(task.address.scope()) {
            scopes.insert(task.address.scope().to_owned());
        }
    }
    scopes
}

fn tasks_to_do(manifest: &RunManifest, ledger: &Ledger, mode: Mode) -> u64 {
    let wanted = |task: &&Task| {
        let entry = ledger.entries.get(&task.address);
        match mode {
            Mode::Apply => !is_done(task, entry, is_redo(manifest, task, entry)),
            Mode::Rollback => entry.is_some_and(|entry| entry.status.is_ours()),
        }
    };
    manifest.tasks.iter().filter(|task| task.phase != Phase::Cleanup).filter(wanted).count() as u64
}
