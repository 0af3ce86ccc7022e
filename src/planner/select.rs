//! What `--machine`, `--exclude`, `--from` and `--redo` take of a graph, and whether the rest can be left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::diagnostic::closest;
use crate::journal::{Ledger, TaskStatus};

use super::graph::TaskGraph;
use super::task::{Phase, Reversal, Task};

/// What `--machine`, `--exclude`, `--from` and `--redo` selected: globs over machines and addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Only these machines (and what they share).
    pub machines: Vec<String>,
    /// Not these tasks or machines.
    pub exclude: Vec<String>,
    /// Only these tasks and what depends on them.
    pub from: Vec<String>,
    /// These tasks are done again even if they are done.
    pub redo: Vec<String>,
}

/// What was taken.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The tasks, in dependency order; they depend on each other only.
    pub tasks: Vec<Task>,
    /// The selection, `redo` complete: what depends on a task that is done again is named, too.
    pub selection: Selection,
    /// What was left out, and why that is consistent; a line each, for people.
    pub notes: Vec<String>,
}

/// Why a selection cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// A glob that names nothing.
    #[error("`{option} {glob}` names no machine or task{}", near.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    NamesNothing {
        /// The option it was given with.
        option: &'static str,
        /// The glob.
        glob: String,
        /// A machine or task of a similar name.
        near: Option<String>,
    },
    /// Tasks that were left out must be done first and are not.
    #[error("{}", inconsistent(needs))]
    Inconsistent {
        /// What is selected, and what it needs that is left out and not done.
        needs: Vec<(Address, Address)>,
    },
    /// A machine that is finished is asked to be done again.
    #[error(
        "`{machine}` is past its point of no return, and `--redo` names `{task}`; \
             take it back first: `replant rollback --machine {machine} --past-commit`"
    )]
    Settled {
        /// The machine.
        machine: String,
        /// The first task of it that is named.
        task: Address,
    },
    /// Everything was left out.
    #[error("nothing is left to do: the options leave out every task")]
    Nothing,
}

fn inconsistent(needs: &[(Address, Address)]) -> String {
    const SHOWN: usize = 5;
    let one =
        |(task, missing): &(Address, Address)| format!("`{task}` needs `{missing}`, which is left out and not done");
    let mut lines: Vec<String> = needs.iter().take(SHOWN).map(one).collect();
    if needs.len() > SHOWN {
        lines.push(format!("and {} more", needs.len() - SHOWN));
    }
    lines.join("\n")
}

/// Takes what `selection` names. What is left out must be done already, with the same inputs, where something that is
/// taken depends on it.
pub fn select(graph: &TaskGraph, selection: &Selection, ledger: &Ledger) -> Result<Selected, SelectionError> {
    let tasks = graph.tasks();
    for (option, globs) in [
        ("--machine", &selection.machines),
        ("--exclude", &selection.exclude),
        ("--from", &selection.from),
        ("--redo", &selection.redo),
    ] {
        names_something(tasks, option, globs)?;
    }
    let number: HashMap<&Address, usize> =
        tasks.iter().zip(0..).map(|(task, number)| (&task.address, number)).collect();
    let matches = |task: &Task, globs: &[String]| globs.iter().any(|glob| task.address.matches(glob));

    let mut taken: Vec<bool> =
        tasks.iter().map(|task| selection.machines.is_empty() || matches(task, &selection.machines)).collect();
    if !selection.from.is_empty() {
        // In order, so that one pass reaches everything behind; a cleanup goes with its machine.
        let mut behind = vec![false; tasks.len()];
        let mut scopes: HashSet<&str> = HashSet::new();
        for (at, task) in tasks.iter().enumerate() {
            behind[at] = matches(task, &selection.from) || task.depends_on.iter().any(|before| behind[number[before]]);
            if task.phase == Phase::Cleanup {
                behind[at] |= scopes.contains(task.address.scope());
            } else if behind[at] {
                scopes.insert(task.address.scope());
            }
            taken[at] &= behind[at];
        }
    }
    // Shared work of hosts comes along with the machines that need it.
    for at in 0..tasks.len() {
        if taken[at] && tasks[at].address.is_machine() {
            let shared = tasks[at].depends_on.iter().filter(|before| !before.is_machine()).map(|before| number[before]);
            let open: Vec<usize> = shared.filter(|before| !is_done(&tasks[*before], ledger)).collect();
            open.into_iter().for_each(|before| taken[before] = true);
        }
    }
    for (at, task) in tasks.iter().enumerate() {
        taken[at] &= !matches(task, &selection.exclude);
    }
    let settled = settled(tasks, ledger);
    let remade = tasks.iter().zip(&taken).find(|(task, taken)| {
        **taken
            && matches!(task.phase, Phase::Capture | Phase::Create | Phase::Deploy)
            && settled.contains_key(task.address.scope())
            && matches(task, &selection.redo)
    });
    if let Some((task, _)) = remade {
        return Err(SelectionError::Settled { machine: task.address.scope().to_owned(), task: task.address.clone() });
    }
    let stays = |task: &Task| settled.get(task.address.scope()).is_some_and(|changed| !changed.is_empty());
    let some_stay = tasks.iter().enumerate().any(|(at, task)| taken[at] && stays(task));
    for (at, task) in tasks.iter().enumerate() {
        taken[at] &= !stays(task);
    }
    let is_done = |task: &Task| stays(task) || is_done(task, ledger);

    let mut needs = Vec::new();
    for (at, task) in tasks.iter().enumerate().filter(|(at, _)| taken[*at]) {
        let missing = task.depends_on.iter().filter(|before| !taken[number[before]]);
        needs.extend(missing.filter(|m| !is_done(&tasks[number[m]])).map(|m| (tasks[at].address.clone(), m.clone())));
    }
    if !needs.is_empty() {
        return Err(SelectionError::Inconsistent { needs });
    }
    if !some_stay
        && !tasks.is_empty()
        && !tasks.iter().enumerate().any(|(at, task)| taken[at] && task.phase != Phase::Cleanup)
    {
        return Err(SelectionError::Nothing);
    }

    let mut complete = selection.clone();
    complete.redo = with_dependents(tasks, &number, &taken, selection);
    let left: Vec<(&Task, bool)> =
        tasks.iter().zip(&taken).filter(|(task, _)| !stays(task)).map(|(task, taken)| (task, *taken)).collect();
    let mut notes = notes(&left, ledger);
    notes.extend(
        settled.iter().filter(|(_, changed)| !changed.is_empty()).map(|(machine, changed)| stay(machine, changed)),
    );
    let kept = tasks.iter().enumerate().filter(|(at, _)| taken[*at]).map(|(_, task)| {
        let mut task = task.clone();
        task.depends_on.retain(|before| taken[number[before]]);
        task
    });
    Ok(Selected { tasks: kept.collect(), selection: complete, notes })
}

fn names_something(tasks: &[Task], option: &'static str, globs: &[String]) -> Result<(), SelectionError> {
    for glob in globs {
        if !tasks.iter().any(|task| task.address.matches(glob)) {
            let whole = glob.contains('/');
            let candidates: BTreeSet<&str> =
                tasks.iter().map(|task| if whole { task.address.as_str() } else { task.address.scope() }).collect();
            let near = closest(glob, candidates).map(str::to_owned);
            return Err(SelectionError::NamesNothing { option, glob: glob.clone(), near });
        }
    }
    Ok(())
}

/// The redo globs, and by address what must be done again because it depends on what they name.
fn with_dependents(
    tasks: &[Task],
    number: &HashMap<&Address, usize>,
    taken: &[bool],
    selection: &Selection,
) -> Vec<String> {
    let mut redo = selection.redo.clone();
    let mut again = vec![false; tasks.len()];
    for (at, task) in tasks.iter().enumerate().filter(|(at, _)| taken[*at]) {
        let named = selection.redo.iter().any(|glob| task.address.matches(glob));
        // Another look makes nothing, and neither a shared cache nor another machine's end is an input.
        again[at] = named
            || task.depends_on.iter().any(|before| {
                let number = number[before];
                again[number] && before.scope() == task.address.scope() && tasks[number].reversal != Reversal::Nothing
            });
        if again[at] && !named {
            redo.push(task.address.to_string());
        }
    }
    redo
}

fn is_done(task: &Task, ledger: &Ledger) -> bool {
    ledger.entries.get(&task.address).is_some_and(|entry| entry.status.is_done() && entry.key == task.key)
}

/// Machines past their point of no return, each with its tasks before that whose inputs are others now. Such a machine
/// is at work: what changed since, be it only the wording of a template, must not take it down.
fn settled<'a>(tasks: &'a [Task], ledger: &Ledger) -> BTreeMap<&'a str, Vec<&'a Task>> {
    let applied =
        |task: &Task| ledger.entries.get(&task.address).is_some_and(|entry| entry.status == TaskStatus::Applied);
    let ends = tasks.iter().filter(|task| matches!(task.reversal, Reversal::PointOfNoReturn { .. }) && applied(task));
    let mut settled: BTreeMap<&str, Vec<&Task>> = ends.map(|task| (task.address.scope(), Vec::new())).collect();
    for task in tasks {
        let is_before = !matches!(task.phase, Phase::PostDeploy | Phase::Cleanup);
        if is_before
            && !is_done(task, ledger)
            && let Some(changed) = settled.get_mut(task.address.scope())
        {
            changed.push(task);
        }
    }
    settled
}

fn stay(machine: &str, changed: &[&Task]) -> String {
    const SHOWN: usize = 3;
    let names: Vec<&str> = changed.iter().take(SHOWN).map(|task| task.address.as_str()).collect();
    let more = if changed.len() > SHOWN { format!(" and {} more", changed.len() - SHOWN) } else { String::new() };
    format!(
        "{machine} is past its point of no return and stays as it is, though the inputs of {}{more} have changed; \
         to do it again: `replant rollback --machine {machine} --past-commit`, then `replant apply`",
        names.join(", ")
    )
}

fn notes(tasks: &[(&Task, bool)], ledger: &Ledger) -> Vec<String> {
    let left: Vec<&Task> =
        tasks.iter().filter(|(task, taken)| !taken && task.phase != Phase::Cleanup).map(|(task, _)| *task).collect();
    if left.is_empty() {
        return Vec::new();
    }
    let kept: HashSet<&str> = tasks.iter().filter(|(_, taken)| *taken).map(|(task, _)| task.address.scope()).collect();
    let scopes: BTreeSet<&str> = left.iter().map(|task| task.address.scope()).collect();
    let whole = scopes.iter().filter(|scope| !kept.contains(**scope)).count();
    let of_kept: Vec<&&Task> = left.iter().filter(|task| kept.contains(task.address.scope())).collect();
    let mut notes = Vec::new();
    if whole > 0 {
        notes.push(format!("{whole} machine(s) or host(s) are left out as a whole; nothing that is selected needs them undone or not done"));
    }
    if !of_kept.is_empty() {
        let done = of_kept.iter().filter(|task| is_done(task, ledger)).count();
        let names: Vec<&str> = of_kept.iter().take(4).map(|task| task.address.as_str()).collect();
        let more = if of_kept.len() > 4 { format!(" and {} more", of_kept.len() - 4) } else { String::new() };
        notes.push(format!(
            "{} task(s) of selected machines are left out ({}{more}); {done} of them are done, nothing selected waits for the others",
            of_kept.len(),
            names.join(", ")
        ));
    }
    notes
}
