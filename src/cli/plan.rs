//! `replant plan`: everything that `apply` would do, and why. Changes nothing but the folder of `--out`.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};

use crate::address::Address;
use crate::diagnostic::closest;
use crate::freeze::{Staging, folders, manifest, unified_diff};
use crate::journal::JournalReader;
use crate::plan::Machine;
use crate::provider::file_stem;
use crate::render::render;

use super::apply::SelectionArgs;
use super::prepare::{Prepared, prepare};
use super::{Exit, Failure, Global, guest_edits, live_volumes, preview, say};

/// The arguments of `replant plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
    /// Show every rendered artifact, or what changed in it since it last ran, and every edit of each guest that is known
    /// beforehand
    #[arg(long)]
    detail: bool,
    /// With --detail: look into Linux guests, too; starts the agent with each machine's source disks, which it only reads
    #[arg(long, requires = "detail")]
    inspect: bool,
    /// Ask machines behind ssh which of their volumes would be read from snapshots, and what that takes; changes nothing there
    #[arg(long)]
    look: bool,
    /// Explain one task: each input, and what it was when the task was last done
    #[arg(long, value_name = "ADDRESS")]
    explain: Option<String>,
    /// Write a run folder to review and apply
    #[arg(long, value_name = "DIR")]
    out: Option<Utf8PathBuf>,
    /// Exit with 0 if there is nothing to do, 2 if there is, 1 on an error
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    selection: SelectionArgs,
}

/// Runs the verb.
pub fn run(args: &PlanArgs, global: &Global) -> Result<Exit, Failure> {
    let prepared = match prepare(&args.plan, &args.selection.selection()) {
        // The convention that CI scripts know has one code for all errors.
        Err(Failure::Refused(found)) if args.detailed_exitcode => {
            say(&found.into());
            return Ok(Exit::Error);
        }
        other => other?,
    };
    if !global.json {
        say(&prepared.warnings);
    }
    if let Some(address) = &args.explain {
        explain(&prepared, address, global)?;
    } else if global.json {
        let mut value = json(&prepared);
        if args.detail {
            value["guests"] = serde_json::to_value(guest_edits(&prepared, args.inspect, &texts(&prepared)?)?)?;
        }
        if args.look {
            value["volumes"] = serde_json::to_value(live_volumes(&prepared))?;
        }
        anstream::println!("{value}");
    } else {
        show(&prepared);
    }
    if args.detail && !global.json {
        let texts = texts(&prepared)?;
        detail(&prepared, &texts)?;
        guest_edits::print(&guest_edits(&prepared, args.inspect, &texts)?);
    }
    if args.look && !global.json {
        live_volumes::print(&live_volumes(&prepared));
    }
    let changes = prepared.preview.has_changes();
    if let Some(out) = &args.out {
        freeze(prepared, out)?;
        if !global.json {
            anstream::println!("the run folder is {out}: review it, then `replant apply {out}`");
        }
    }
    Ok(if args.detailed_exitcode && changes { Exit::Usage } else { Exit::Done })
}

/// Shows the preview for people.
pub fn show(prepared: &Prepared) {
    anstream::print!("{}", preview::text(&prepared.preview, &prepared.plan));
    anstream::print!("{}", super::rules::preview(&prepared.findings));
}

fn json(prepared: &Prepared) -> serde_json::Value {
    serde_json::json!({
        "type": "plan",
        "name": prepared.plan.plan.name,
        "changes": prepared.preview.has_changes(),
        "selection": prepared.selected.selection,
        "groups": prepared.preview.groups,
        "summary": prepared.preview.summary,
        "notes": prepared.preview.notes,
        "rules": super::rules::json(&prepared.findings),
    })
}

fn explain(prepared: &Prepared, address: &str, global: &Global) -> Result<(), Failure> {
    let wanted = Address::new(address);
    let Some(task) = prepared.graph.get(&wanted) else {
        let known = prepared.graph.tasks().iter().map(|task| task.address.as_str());
        let near = closest(address, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::with(Exit::Usage, format!("the plan has no task `{address}`{near}")));
    };
    let line = prepared.preview.line(&wanted);
    if global.json {
        let last = prepared.ledger.entries.get(&wanted);
        anstream::println!("{}", serde_json::json!({ "type": "task", "task": task, "preview": line, "last": last }));
    } else {
        anstream::print!("{}", preview::explain(task, line, &prepared.ledger));
    }
    Ok(())
}

/// The texts of the selection's artifacts, by path.
fn texts(prepared: &Prepared) -> Result<BTreeMap<String, String>, Failure> {
    let wanted = folders(&prepared.selected);
    let texts: Mutex<BTreeMap<String, String>> = Mutex::default();
    let sink = |path: &str, text: &str, _: bool| {
        if wanted.contains(path.split('/').next().unwrap_or_default()) {
            texts.lock().expect("no thread panics while it holds the lock").insert(path.to_owned(), text.to_owned());
        }
        Ok(())
    };
    let chosen = |machine: &Machine| wanted.contains(&*file_stem(&machine.name.value.0));
    render(&prepared.plan, &prepared.catalog, &chosen, &sink)?;
    Ok(texts.into_inner().expect("the threads have ended"))
}

fn live_volumes(prepared: &Prepared) -> Vec<live_volumes::LiveVolumes> {
    let wanted = folders(&prepared.selected);
    live_volumes::collect(prepared, &|machine: &Machine| wanted.contains(&*file_stem(&machine.name.value.0)))
}

fn guest_edits(
    prepared: &Prepared,
    inspect: bool,
    texts: &BTreeMap<String, String>,
) -> Result<Vec<guest_edits::GuestEdits>, Failure> {
    let wanted = folders(&prepared.selected);
    let chosen = |machine: &Machine| wanted.contains(&*file_stem(&machine.name.value.0));
    let sequence = |machine: &Machine| {
        let stem = file_stem(&machine.name.value.0);
        texts.get(&format!("{stem}/{stem}_deploy-vm.xml")).cloned()
    };
    guest_edits::collect(prepared, &chosen, inspect, &sequence)
}

/// Prints each artifact of the selection, or its difference from the one that last ran.
fn detail(prepared: &Prepared, texts: &BTreeMap<String, String>) -> Result<(), Failure> {
    let runs = match JournalReader::open(&prepared.plan.plan.root)? {
        Some(reader) => reader.runs()?.into_iter().rev().map(|run| run.about.folder).collect(),
        None => Vec::new(),
    };
    let mut unchanged = 0;
    for (path, text) in texts {
        match last_run_of(&runs, path) {
            Some(before) if before == *text => unchanged += 1,
            Some(before) => anstream::println!("{}", unified_diff(path, &before, text)),
            None => anstream::println!("=== {path}\n{text}"),
        }
    }
    if unchanged > 0 {
        anstream::println!("{unchanged} artifacts are what they were when they last ran");
    }
    Ok(())
}

/// The artifact as it last ran, from the newest run that had it.
fn last_run_of(runs: &[Utf8PathBuf], path: &str) -> Option<String> {
    runs.iter().find_map(|folder| fs::read_to_string(folder.join("artifacts").join(path)).ok())
}

/// Writes the run folder.
fn freeze(prepared: Prepared, out: &Utf8Path) -> Result<(), Failure> {
    let Prepared { plan, catalog, artifacts, selected, ledger, .. } = prepared;
    let staging = Staging::begin(out)?;
    let wanted = folders(&selected);
    let chosen = |machine: &Machine| wanted.contains(&*file_stem(&machine.name.value.0));
    render(&plan, &catalog, &chosen, &staging)?;
    staging.finish(&manifest(&plan, &catalog, artifacts, selected, ledger.head))?;
    Ok(())
}
