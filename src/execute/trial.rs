//! The executor with another world in place of scripts: for benchmarks, tests and rehearsals.

use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::freeze::RunManifest;
use crate::journal::{Event, Holder, Journal, PlannedFaults, RunId, RunOpened};
use crate::progress::Emitter;

use super::apply::close;
use super::cancel::{StopHandle, StopRequests};
use super::dispatcher::Dispatcher;
use super::error::ExecuteError;
use super::graph::Shape;
use super::inject::{Injection, Injections};
use super::outcome::RunReport;
use super::run_state::{Mode, Setup};
use super::runner::TaskRunner;

/// A run whose tasks are done by a runner of the caller's.
pub struct Trial<R> {
    /// The plan's folder; its journal is used for real.
    pub root: Utf8PathBuf,
    /// The tasks.
    pub manifest: Arc<RunManifest>,
    /// How they are done.
    pub runner: Arc<R>,
    /// Whether everything is undone instead of done.
    pub rollback: bool,
    /// Tasks at once.
    pub jobs: usize,
    /// Rehearsed faults.
    pub injections: Vec<Injection>,
    /// Faults of the journal.
    pub faults: PlannedFaults,
    /// Whether rollback goes beyond points of no return.
    pub past_commit: bool,
    /// Who listens.
    pub emitter: Emitter,
    /// A way to stop it.
    pub stop: Option<(StopHandle, StopRequests)>,
}

/// Runs a trial to its end.
pub async fn run_trial<R: TaskRunner>(trial: Trial<R>) -> Result<RunReport, ExecuteError> {
    let run = RunId::fresh();
    let journal = Journal::open_with(&trial.root, trial.faults)?;
    let shape = Shape::of(&trial.manifest);
    let scopes = shape.scopes.iter().map(|scope| scope.name.to_string()).collect();
    let leased = journal.acquire(scopes, Holder::here(run.clone(), "a trial".into()))?;
    let ledger = journal.ledger()?;
    let mode = if trial.rollback { Mode::Rollback } else { Mode::Apply };
    let about = RunOpened {
        verb: if trial.rollback { "rollback".into() } else { "apply".into() },
        plan: trial.manifest.name.clone(),
        folder: trial.root.clone(),
        command: "a trial".into(),
        tool: env!("CARGO_PKG_VERSION").into(),
        to_do: trial.manifest.tasks.len() as u64,
    };
    // The handle lives as long as the run: a closed channel would count as a request each turn.
    let (_handle, stop) = trial.stop.unwrap_or_else(StopHandle::new);
    let setup = Setup {
        shape,
        manifest: trial.manifest,
        ledger,
        journal,
        run: run.clone(),
        epoch: leased.epoch,
        runner: trial.runner,
        emitter: trial.emitter,
        injections: Injections::new(trial.injections),
        jobs: trial.jobs,
        past_commit: trial.past_commit,
        mode,
        stop,
        opening: vec![Event::RunOpened(about)],
    };
    let (report, broken, journal) = Dispatcher::new(setup).run().await;
    close(&journal, &run, &report, broken.is_some())?;
    match broken {
        Some(error) => Err(error.into()),
        None => Ok(report),
    }
}
