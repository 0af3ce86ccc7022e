//! `replant apply`: executes a plan file or a reviewed run folder; run again, it goes on where it stopped.
//!
//! ```text
//! plan.yaml --prepare, show, confirm--> .replant/runs/RUN --+
//! run folder --nothing moved? nothing edited?--> copied ----+--> execute
//! ```

mod controller;
mod fresh;
mod report;
mod reviewed;

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use crate::controller::CONTROLLER_SOCKET;
use crate::execute::{ApplyOptions, Injection, OnStart};
use crate::freeze::RunManifest;
use crate::planner::Selection;

use self::controller::RunController;
use super::rollback::as_failure;
use super::{Exit, Failure, Global, terminal};

pub(super) use controller::{boot_network, serve_network};

/// The arguments of `replant apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// A plan file (planned, shown, confirmed, applied) or a run folder made by `plan --out`
    #[arg(value_name = "PLAN|FOLDER")]
    target: Utf8PathBuf,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Run a folder although its artifacts were edited after they were reviewed; journaled
    #[arg(long)]
    accept_edits: bool,
    /// When a machine fails beyond its point of no return, roll it back all the same
    #[arg(long)]
    past_commit: bool,
    /// Scripts at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Rehearse a fault: fail@, fail-once@, fail-undo@, repeat@, crash-before@, crash-after@, crash-recorded@ADDRESS
    #[arg(long, value_name = "KIND@ADDRESS")]
    inject: Vec<Injection>,
}

/// What `--machine`, `--exclude`, `--from` and `--redo` select.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SelectionArgs {
    /// Only these machines and what they share (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    machine: Vec<String>,
    /// Not these machines or tasks (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Only these tasks and what depends on them (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    from: Vec<String>,
    /// Do these tasks again although they are done (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    redo: Vec<String>,
}

impl SelectionArgs {
    /// As the planner takes it.
    pub fn selection(&self) -> Selection {
        Selection {
            machines: self.machine.clone(),
            exclude: self.exclude.clone(),
            from: self.from.clone(),
            redo: self.redo.clone(),
        }
    }

    /// Whether anything is selected at all.
    fn is_everything(&self) -> bool {
        [&self.machine, &self.exclude, &self.from, &self.redo].iter().all(|globs| globs.is_empty())
    }
}

/// Runs the verb.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<Exit, Failure> {
    if args.target.is_dir() {
        if !args.selection.is_everything() {
            let hint = "a run folder is applied as it was reviewed: select with `replant plan --out`";
            return Err(Failure::with(Exit::Usage, hint));
        }
        return reviewed::run(args, global);
    }
    fresh::run(args, global)
}

/// Executes a frozen run with the controller beside it.
fn execute(
    args: &ApplyArgs,
    global: &Global,
    root: &Utf8Path,
    manifest: RunManifest,
    on_start: OnStart,
    accepted_edits: BTreeMap<String, String>,
) -> Result<Exit, Failure> {
    if let Some(task) = manifest.tasks.iter().find(|task| !task.command.script.ends_with(".sh")) {
        let text =
            format!("{} is not a script that this system runs: it is run by hand, elsewhere", task.command.script);
        return Err(Failure::with(Exit::Refused, text));
    }
    let controller = RunController::start(root, manifest.boot.as_ref())?;
    let mut options = ApplyOptions::new(root.to_owned(), Utf8PathBuf::new(), manifest);
    options.on_start = on_start;
    options.injections.clone_from(&args.inject);
    options.past_commit = args.past_commit;
    options.jobs = args.jobs;
    options.display = terminal::display(global);
    options.command = std::env::args().collect::<Vec<_>>().join(" ");
    options.accepted_edits = accepted_edits;
    options.env = vec![(CONTROLLER_SOCKET.to_owned(), controller.socket())];
    let report = crate::execute::apply(options).map_err(as_failure)?;
    drop(controller);
    if !global.json {
        report::show(&report);
    }
    Ok(report.outcome.into())
}

/// Where the folder of a run is kept.
fn run_folder(root: &Utf8Path, run: &str) -> Utf8PathBuf {
    root.join(".replant/runs").join(run)
}
