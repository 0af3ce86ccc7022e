//! `replant status`: where every task stands, from the journal alone. Takes no lock.

use std::collections::{BTreeMap, HashMap};

use camino::{Utf8Path, Utf8PathBuf};

use crate::address::Address;
use crate::freeze::RunManifest;
use crate::journal::{Holder, JournalReader, Ledger, LedgerEntry, RunRecord, TaskStatus, journal_path};
use crate::planner::{Phase, Task};

use super::{Exit, Failure, Global};

/// The arguments of `replant status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The plan's folder, or a file in it (default: the nearest folder upwards that has `.replant/`)
    #[arg(value_name = "FOLDER")]
    root: Option<Utf8PathBuf>,
    /// Only these machines (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    machine: Vec<String>,
    /// Read every record and prove that none was lost or changed
    #[arg(long)]
    verify: bool,
}

/// One line of the report.
struct Row<'a> {
    address: &'a Address,
    entry: Option<&'a LedgerEntry>,
    /// What a pending task waits for.
    waits: Option<String>,
}

/// Runs the verb.
pub fn run(args: &StatusArgs, global: &Global) -> Result<Exit, Failure> {
    let root = state_root(args.root.as_deref())?;
    let Some(reader) = JournalReader::open(&root)? else {
        if global.json {
            println!("{}", serde_json::json!({ "runs": [], "tasks": [], "leases": [] }));
        } else {
            println!("nothing was ever applied here (no journal in {})", journal_path(&root));
        }
        return Ok(Exit::Done);
    };
    if args.verify {
        let events = reader.verify()?;
        if !global.json {
            println!("the journal is whole: {events} records, each as it was written");
        }
    }
    let (ledger, runs, holders) = (reader.ledger()?, reader.runs()?, reader.holders()?);
    let last = runs.last();
    // The run folder only adds what has not begun yet; the journal alone is the truth about the rest.
    let manifest = last.filter(|run| run.about.verb == "apply").and_then(|run| read_manifest(&run.about.folder));
    let wanted = |address: &Address| args.machine.is_empty() || args.machine.iter().any(|glob| address.matches(glob));
    let rows = rows(&ledger, manifest.as_ref());
    let rows: Vec<Row<'_>> = rows.into_iter().filter(|row| wanted(row.address)).collect();
    match global.json {
        true => print_json(&runs, &holders, &rows),
        false => print_text(&ledger, last, &holders, &rows),
    }
    Ok(Exit::Done)
}

/// The folder whose `.replant/` is meant: the one given, or the nearest upwards that has one.
pub(super) fn state_root(given: Option<&Utf8Path>) -> Result<Utf8PathBuf, Failure> {
    let start = match given {
        Some(given) if given.is_file() => match given.parent() {
            Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
            _ => Utf8PathBuf::from("."),
        },
        Some(given) => given.to_owned(),
        None => Utf8PathBuf::from("."),
    };
    if given.is_some() {
        return match start.is_dir() {
            true => Ok(start),
            false => Err(Failure::with(Exit::Usage, format!("{start} is not a folder"))),
        };
    }
    let here = absolute(&start)?;
    let found = here.ancestors().find(|folder| folder.join(".replant").is_dir()).map(Utf8Path::to_owned);
    Ok(found.unwrap_or(here))
}

/// The path from the file system's root.
pub(super) fn absolute(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    Ok(path.canonicalize_utf8()?)
}

/// A status in one word.
pub(super) fn word(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Pending => "pending",
        TaskStatus::AlreadyTrue => "was there",
        TaskStatus::Running => "running",
        TaskStatus::Applied => "done",
        TaskStatus::Failed => "FAILED",
        TaskStatus::Undoing => "undoing",
        TaskStatus::Undone => "undone",
        TaskStatus::Stuck => "STUCK",
    }
}

fn read_manifest(folder: &Utf8Path) -> Option<RunManifest> {
    serde_json::from_slice(&std::fs::read(folder.join("plan.json")).ok()?).ok()
}

/// Every task that the journal or the last run knows, machine by machine.
fn rows<'a>(ledger: &'a Ledger, manifest: Option<&'a RunManifest>) -> Vec<Row<'a>> {
    let tasks: &[Task] = manifest.map_or(&[], |manifest| &manifest.tasks);
    let order: HashMap<&Address, usize> = tasks.iter().enumerate().map(|(at, task)| (&task.address, at)).collect();
    let queues = manifest.map(|manifest| queues(ledger, manifest)).unwrap_or_default();
    // A cleanup is of interest until its machine goes forward again; runs sort by when they began.
    let mut newest: HashMap<&str, &str> = HashMap::new();
    for (address, entry) in &ledger.entries {
        let run = newest.entry(address.scope()).or_default();
        *run = (*run).max(&entry.run);
    }
    let is_past = |address: &Address, entry: &LedgerEntry| {
        address.as_str().ends_with("/cleanup") && newest.get(address.scope()).is_some_and(|run| *run > &*entry.run)
    };
    let mut rows: Vec<Row<'a>> = ledger
        .entries
        .iter()
        .filter(|(address, entry)| entry.status != TaskStatus::Applied || !is_past(address, entry))
        .map(|(address, entry)| Row { address, entry: Some(entry), waits: queues.get(address).cloned() })
        .collect();
    rows.extend(
        tasks
            .iter()
            .filter(|task| task.phase != Phase::Cleanup && !ledger.entries.contains_key(&task.address))
            .map(|task| Row { address: &task.address, entry: None, waits: queues.get(&task.address).cloned() }),
    );
    rows.sort_by_key(|row| {
        (
            !row.address.is_machine(),
            row.address.scope(),
            order.get(row.address).copied().unwrap_or(usize::MAX),
            row.address,
        )
    });
    rows
}

/// What each task that could begin waits for: a budget that running tasks use up.
fn queues(ledger: &Ledger, manifest: &RunManifest) -> HashMap<Address, String> {
    let status = |address: &Address| ledger.entries.get(address).map_or(TaskStatus::Pending, |entry| entry.status);
    let known: HashMap<&Address, &Task> = manifest.tasks.iter().map(|task| (&task.address, task)).collect();
    let mut used: BTreeMap<&str, u32> = BTreeMap::new();
    for task in manifest.tasks.iter().filter(|task| status(&task.address) == TaskStatus::Running) {
        task.budgets.iter().for_each(|budget| *used.entry(budget).or_default() += 1);
    }
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut waits = HashMap::new();
    for task in manifest.tasks.iter().filter(|task| task.phase != Phase::Cleanup) {
        if !matches!(status(&task.address), TaskStatus::Pending | TaskStatus::Undone) {
            continue;
        }
        let open: Vec<&Address> =
            task.depends_on.iter().filter(|before| known.contains_key(before) && !status(before).is_done()).collect();
        if let Some(first) = open.first() {
            waits.insert(task.address.clone(), format!("after {first}"));
            continue;
        }
        let full = task.budgets.iter().find(|budget| {
            let limit = manifest.budgets.get(*budget).copied().unwrap_or(1).max(1);
            used.get(budget.as_str()).is_some_and(|used| *used >= limit)
        });
        if let Some(budget) = full {
            let place = places.entry(budget).or_default();
            *place += 1;
            waits.insert(task.address.clone(), format!("waiting for {budget}, position {place}"));
        }
    }
    waits
}

fn print_text(ledger: &Ledger, last: Option<&RunRecord>, holders: &[(Holder, Vec<String>)], rows: &[Row<'_>]) {
    if let Some(run) = last {
        let ended = match (&run.outcome, run.closed) {
            (Some(_), _) => run.summary.clone().unwrap_or_default(),
            (None, _) if holders.iter().any(|(holder, _)| holder.run == run.run && is_alive(holder)) => {
                "running".to_owned()
            }
            (None, _) => "ended without a word (its process died); `replant apply` goes on".to_owned(),
        };
        println!("last run {} ({} of `{}`): {ended}", run.run, run.about.verb, run.about.plan);
    }
    let mut scope = "";
    for row in rows {
        if row.address.scope() != scope {
            scope = row.address.scope();
            println!("{scope}");
        }
        let rest = row.address.as_str().split_once('/').map_or("", |(_, rest)| rest);
        let status = row.entry.map_or(TaskStatus::Pending, |entry| entry.status);
        let waits = row.waits.as_deref().unwrap_or_default();
        println!("{}", format!("  {rest:<24} {:<9} {waits}", word(status)).trim_end());
        let is_bad =
            matches!(status, TaskStatus::Failed | TaskStatus::Stuck | TaskStatus::Pending | TaskStatus::Undone);
        if let Some(message) = row.entry.and_then(|entry| entry.message.as_ref()).filter(|_| is_bad) {
            println!("      {message}");
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|row| {
        *counts.entry(word(row.entry.map_or(TaskStatus::Pending, |entry| entry.status))).or_default() += 1;
    });
    let counts: Vec<String> = counts.into_iter().map(|(word, count)| format!("{count} {word}")).collect();
    println!("{} tasks: {}; journal at {}", rows.len(), counts.join(", "), ledger.head);
    for (holder, scopes) in holders {
        let state = if is_alive(holder) { "held by" } else { "left behind by (dead, the next run takes over)" };
        let shown: Vec<&str> = scopes.iter().take(5).map(String::as_str).collect();
        let more = if scopes.len() > shown.len() {
            format!(" and {} more", scopes.len() - shown.len())
        } else {
            String::new()
        };
        println!("lease on {}{more}: {state} {holder}, epoch {}", shown.join(", "), holder.epoch);
    }
}

fn is_alive(holder: &Holder) -> bool {
    holder.is_alive(jiff::Timestamp::now().as_millisecond())
}

fn print_json(runs: &[RunRecord], holders: &[(Holder, Vec<String>)], rows: &[Row<'_>]) {
    let runs: Vec<_> = runs
        .iter()
        .map(|run| {
            serde_json::json!({
                "run": run.run, "verb": run.about.verb, "plan": run.about.plan, "opened": time(run.opened),
                "closed": run.closed.map(time), "outcome": run.outcome, "summary": run.summary,
                "folder": run.about.folder,
            })
        })
        .collect();
    let tasks: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "task": row.address,
                "status": row.entry.map_or(TaskStatus::Pending, |entry| entry.status),
                "run": row.entry.map(|entry| &entry.run),
                "attempt": row.entry.map(|entry| entry.attempt),
                "message": row.entry.and_then(|entry| entry.message.as_ref()),
                "outputs": row.entry.map(|entry| &entry.outputs),
                "waits": row.waits,
            })
        })
        .collect();
    let leases: Vec<_> = holders
        .iter()
        .map(|(holder, scopes)| {
            serde_json::json!({
                "scopes": scopes, "epoch": holder.epoch, "run": holder.run, "command": holder.command,
                "host": holder.process.host, "pid": holder.process.pid, "since": time(holder.since),
                "heartbeat": time(holder.heartbeat), "alive": is_alive(holder),
            })
        })
        .collect();
    println!("{}", serde_json::json!({ "runs": runs, "tasks": tasks, "leases": leases }));
}

fn time(millis: i64) -> Option<String> {
    jiff::Timestamp::from_millisecond(millis).ok().map(|time| time.to_string())
}
