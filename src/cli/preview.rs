//! The preview as people read it: grouped by machine in execution order, a line a task.

mod downtime;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::inventory::ResolvedPlan;
use crate::journal::Ledger;
use crate::plan::{Allocation, Encryption};
use crate::planner::{Action, Change, Line, Phase, Preview, Reversal, Task, Why};
use crate::units::{ByteCount, human_duration};

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RED: &str = "\x1b[31m";
const FAINT: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Values longer than this are told from each other by `--explain` only.
const SHORT: usize = 24;
/// Machines whose downtime is told.
const DOWNTIMES: usize = 20;

/// The whole preview. Paths below `root` are shown from there; escape codes for colours are left to the printer.
pub fn text(preview: &Preview, plan: &ResolvedPlan) -> String {
    let mut text = String::new();
    let root = format!("{}/", plan.plan.root);
    for group in &preview.groups {
        let all_done = group.lines.iter().all(|line| line.action == Action::Skip);
        if all_done {
            let tasks = group.lines.len();
            let _ = writeln!(text, "{FAINT}{}  = done ({tasks} task{}){PLAIN}", group.scope, plural(tasks));
            continue;
        }
        let _ = writeln!(text, "{BOLD}{}{PLAIN}", group.scope);
        let width = group.lines.iter().map(|line| rest(line).len()).max().unwrap_or(0);
        for line in &group.lines {
            let (mark, colour) = mark(line);
            let what = line.what.replace(&root, "");
            let details = details(line).join(", ");
            let _ = writeln!(text, "  {colour}{mark} {:<width$}{PLAIN}  {what}  {FAINT}[{details}]{PLAIN}", rest(line));
        }
    }
    let _ = writeln!(text, "\n{}", summary(preview));
    for line in preview.groups.iter().filter_map(downtime::line).take(DOWNTIMES) {
        let _ = writeln!(text, "  {FAINT}-{PLAIN} {line}");
    }
    for line in risks(preview, plan) {
        let _ = writeln!(text, "  {RED}!{PLAIN} {line}");
    }
    for note in &preview.notes {
        let _ = writeln!(text, "  {FAINT}-{PLAIN} {note}");
    }
    text
}

fn rest(line: &Line) -> &str {
    line.address.as_str().split_once('/').map_or(line.address.as_str(), |(_, rest)| rest)
}

fn mark(line: &Line) -> (char, &'static str) {
    match (line.action, &line.why) {
        (_, Why::Stuck { .. }) => ('!', RED),
        (Action::Create, _) => ('+', GREEN),
        (Action::Run, Why::Failed { .. } | Why::Interrupted) => ('>', YELLOW),
        (Action::Run, _) => ('~', YELLOW),
        (Action::Skip, _) => ('=', FAINT),
    }
}

fn details(line: &Line) -> Vec<String> {
    let mut details = vec![match &line.why {
        Why::New => "new".to_owned(),
        Why::Changed { inputs } => changed(inputs),
        Why::Failed { message: Some(message) } => format!("failed last time, resumes: {}", one_line(message)),
        Why::Failed { message: None } => "failed last time, resumes".to_owned(),
        Why::Interrupted => "interrupted, resumes".to_owned(),
        Why::RolledBack => "was rolled back".to_owned(),
        Why::Stuck { message } => {
            format!("its undo failed, a person is needed: {}", one_line(message.as_deref().unwrap_or("see its log")))
        }
        Why::Redo => "again, as asked".to_owned(),
        Why::UpstreamRedone => "again, for what it depends on is".to_owned(),
        Why::Done => "done".to_owned(),
        Why::AlreadyTrue => "was there already".to_owned(),
    }];
    if line.action == Action::Skip {
        return details;
    }
    details.extend(line.bytes.map(|bytes| ByteCount(bytes).to_string()));
    details.extend(line.seconds.map(|seconds| format!("about {}", human(seconds))));
    details.extend(match line.reversal {
        Reversal::Undo => Some("reversible".to_owned()),
        Reversal::Nothing => None,
        Reversal::KeepsResult { .. } => Some("result is kept".to_owned()),
        Reversal::PointOfNoReturn { .. } => Some("POINT OF NO RETURN".to_owned()),
    });
    details
}

fn changed(inputs: &[Change]) -> String {
    let one = |change: &Change| match (&change.from, &change.to) {
        (Some(from), Some(to)) if from.len() <= SHORT && to.len() <= SHORT => {
            format!("{} from {from} to {to}", change.input)
        }
        (None, Some(_)) => format!("{} is new", change.input),
        (Some(_), None) => format!("{} is gone", change.input),
        _ => format!("{} changed", change.input),
    };
    // What says the most first; digests only repeat it.
    let (plain, digests): (Vec<&Change>, Vec<&Change>) =
        inputs.iter().partition(|change| !change.to.as_deref().unwrap_or_default().starts_with("blake3:"));
    let shown = if plain.is_empty() { digests } else { plain };
    shown.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    match first.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &first[..at]),
        None => first.to_owned(),
    }
}

fn human(seconds: f64) -> String {
    human_duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e9)))
}

fn summary(preview: &Preview) -> String {
    let summary = &preview.summary;
    if !preview.has_changes() {
        return format!("Nothing to do: all {} tasks are done.", summary.skip);
    }
    let mut parts = Vec::new();
    for (number, word) in [(summary.create, "new"), (summary.run, "again or resumed"), (summary.skip, "done already")] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    let mut text = format!("Plan: {}.", parts.join(", "));
    if summary.capture_bytes > 0 {
        let _ = write!(text, " Reads up to {}.", ByteCount(summary.capture_bytes));
    }
    if summary.deploy_bytes > 0 {
        let _ = write!(text, " Writes up to {}.", ByteCount(summary.deploy_bytes));
    }
    match summary.seconds {
        Some(seconds) if seconds >= 1.0 => {
            let _ = write!(text, " About {} of work, tasks side by side take less.", human(seconds));
        }
        _ => text.push_str(" How long it takes is known after the first run."),
    }
    text
}

/// What a reviewer must not overlook.
fn risks(preview: &Preview, plan: &ResolvedPlan) -> Vec<String> {
    const SHOWN: usize = 5;
    let summary = &preview.summary;
    let mut risks: Vec<String> = summary
        .stuck
        .iter()
        .map(|task| format!("{task}: its undo failed, look at what is left before you go on"))
        .collect();
    let finals = &summary.points_of_no_return;
    risks.extend(finals.iter().take(SHOWN).map(|task| {
        format!("{task} is a point of no return: the source must be off; behind it rollback asks for --past-commit")
    }));
    if finals.len() > SHOWN {
        risks.push(format!("and {} more points of no return", finals.len() - SHOWN));
    }
    if preview.has_changes() && plan.plan.store.encryption == Encryption::None {
        risks.push(format!("the store {} is not encrypted: images lie in the clear", plan.plan.store.path));
    }
    let lines = preview.groups.iter().flat_map(|group| &group.lines);
    let created: HashSet<&str> = lines
        .filter(|line| line.phase == Phase::Create && line.action != Action::Skip)
        .map(|line| line.address.scope())
        .collect();
    let fixed = plan.plan.machines.iter().zip(&plan.machines).filter(|(machine, _)| {
        machine.target.allocation == Allocation::Fixed && created.contains(machine.name.value.0.as_ref())
    });
    let bytes: u64 = fixed.flat_map(|(_, facts)| &facts.disks).map(|disk| disk.size.0).sum();
    if bytes > 0 {
        risks.push(format!("fixed disks take {} on their hosts at once", ByteCount(bytes)));
    }
    risks
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}

/// Everything about one task: what it does, what it waits for, and each input, with its value when it was last done.
pub fn explain(task: &Task, line: Option<&Line>, ledger: &Ledger) -> String {
    let mut text = format!("{}: {}\n", task.address, task.what);
    if let Some(line) = line {
        let _ = writeln!(text, "  will be: {} ({})", action(line.action), details(line).join(", "));
    }
    let item = task.command.item.as_deref().map(|item| format!(" {item}")).unwrap_or_default();
    let _ = writeln!(text, "  runs: {} apply{item}", task.command.script);
    match &task.reversal {
        Reversal::KeepsResult { why } | Reversal::PointOfNoReturn { why } => {
            let _ = writeln!(text, "  reversal: {} ({why})", reversal(&task.reversal));
        }
        other => {
            let _ = writeln!(text, "  reversal: {}", reversal(other));
        }
    }
    if !task.depends_on.is_empty() {
        let before: Vec<&str> = task.depends_on.iter().map(|address| address.as_str()).collect();
        let _ = writeln!(text, "  waits for: {}", before.join(", "));
    }
    let entry = ledger.entries.get(&task.address);
    text.push_str("  inputs:\n");
    let old = entry.map(|entry| &entry.key);
    for (name, value) in &task.key {
        let _ = match old.map(|key| key.get(name)) {
            Some(Some(before)) if before != value => writeln!(text, "  ~ {name}: {before}\n      -> {value}"),
            Some(None) => writeln!(text, "  + {name}: {value}"),
            _ => writeln!(text, "    {name}: {value}"),
        };
    }
    for (name, value) in old.into_iter().flatten().filter(|(name, _)| !task.key.contains_key(*name)) {
        let _ = writeln!(text, "  - {name}: {value}");
    }
    if let Some(entry) = entry {
        let _ = writeln!(text, "  last: {:?} in run {}, attempt {}", entry.status, entry.run, entry.attempt);
        for (name, value) in &entry.outputs {
            let _ = writeln!(text, "    {name} = {}", one_line(value));
        }
    }
    text
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Create => "done for the first time",
        Action::Run => "done again",
        Action::Skip => "skipped",
    }
}

fn reversal(reversal: &Reversal) -> &'static str {
    match reversal {
        Reversal::Undo => "undone by its script",
        Reversal::Nothing => "changes nothing",
        Reversal::KeepsResult { .. } => "partial work is undone, the result is kept",
        Reversal::PointOfNoReturn { .. } => "point of no return",
    }
}
