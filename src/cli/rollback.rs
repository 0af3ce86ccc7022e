//! `replant rollback`.

use std::env;

use camino::{Utf8Path, Utf8PathBuf};

use crate::execute::{
    ExecuteError, Injection, RollbackOptions, RunReport, UndoStep, UnwindPreview, preview_rollback, rollback,
};
use crate::planner::Reversal;

use super::status::{absolute, state_root};
use super::{Exit, Failure, Global, terminal};

/// The arguments of `replant rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The plan's folder, or a file in it (default: the nearest folder upwards that has `.replant/`)
    #[arg(value_name = "FOLDER")]
    root: Option<Utf8PathBuf>,
    /// Only these machines (globs; may be repeated); shared work is left alone then
    #[arg(long, value_name = "GLOB")]
    machine: Vec<String>,
    /// Show what would be undone, in order, and do nothing
    #[arg(long)]
    plan: bool,
    /// Also roll back machines beyond their point of no return
    #[arg(long)]
    past_commit: bool,
    /// Undo without asking
    #[arg(long, short)]
    yes: bool,
    /// Scripts at once
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Rehearse a fault, such as fail-undo@web01/create
    #[arg(long, value_name = "KIND@ADDRESS", hide = true)]
    inject: Vec<Injection>,
}

/// Runs the verb.
pub fn run(args: &RollbackArgs, global: &Global) -> Result<Exit, Failure> {
    let root = state_root(args.root.as_deref())?;
    let mut options = RollbackOptions::new(absolute(&root)?);
    options.machines.clone_from(&args.machine);
    options.past_commit = args.past_commit;
    options.jobs = args.jobs;
    options.injections.clone_from(&args.inject);
    options.command = env::args().collect::<Vec<_>>().join(" ");
    options.display = terminal::display(global);

    let preview = preview_rollback(&options).map_err(as_failure)?;
    if args.plan {
        show_preview(&preview, global);
        return Ok(Exit::Done);
    }
    if preview.steps.is_empty() {
        if !global.json {
            println!("nothing to undo");
        }
        return Ok(Exit::Done);
    }
    if !args.yes {
        show_preview(&preview, global);
        if !terminal::confirmed("Undo all of this?")? {
            return Err(Failure::with(Exit::Error, "nothing was undone"));
        }
    }
    let report = rollback(options).map_err(as_failure)?;
    if !global.json {
        show_report(&report, &root);
    }
    Ok(report.outcome.into())
}

/// An error of the executor with its exit code.
pub(super) fn as_failure(error: ExecuteError) -> Failure {
    let exit = Exit::from(&error);
    Failure::with(exit, error)
}

fn show_preview(preview: &UnwindPreview, global: &Global) {
    if global.json {
        let steps: Vec<_> = preview.steps.iter().map(step_as_json).collect();
        let past: Vec<_> = preview
            .past_commit
            .iter()
            .map(|(machine, why)| serde_json::json!({ "machine": machine, "why": why }))
            .collect();
        let line = serde_json::json!({
            "type": "rollback-preview", "undo": steps, "left_alone": preview.left_alone, "past_commit": past,
        });
        println!("{line}");
        return;
    }
    if preview.steps.is_empty() {
        println!("nothing to undo");
    }
    for step in &preview.steps {
        println!("  undo {:<40} {:<9} {}", step.task.to_string(), status_word(step), step.what);
        if let Reversal::KeepsResult { why } = &step.reversal {
            println!("       partial work only; what was completed stays: {why}");
        }
    }
    for task in &preview.left_alone {
        println!("  leave {task}: it was there before us");
    }
    for (machine, why) in &preview.past_commit {
        println!("  REFUSED {machine}: past its point of no return ({why}); `--past-commit` undoes it all the same");
    }
}

fn status_word(step: &UndoStep) -> String {
    super::status::word(step.status).to_owned()
}

fn step_as_json(step: &UndoStep) -> serde_json::Value {
    serde_json::json!({ "task": step.task, "what": step.what, "status": step.status, "reversal": step.reversal })
}

fn show_report(report: &RunReport, root: &Utf8Path) {
    println!("{}", report.summary());
    for (task, why) in &report.kept {
        println!("  kept {task}: {why}");
    }
    for trouble in &report.stuck {
        println!("  STUCK {}: {}", trouble.task, trouble.message);
        if let Some(log) = &trouble.log {
            println!("        log: {log}");
        }
    }
    if !report.stuck.is_empty() {
        println!("  remove what is named above by hand or mend its cause, then: replant rollback {root}");
    }
}
