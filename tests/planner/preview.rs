//! What the preview says of a plan that was partly done, and what the options take of it.

use std::collections::BTreeMap;

use replant::address::Address;
use replant::journal::{Ledger, LedgerEntry, TaskStatus};
use replant::planner::{Action, Preview, Selection, SelectionError, TaskGraph, Why, preview, select};

use super::graph::graph_of;
use crate::render::site;

fn graph() -> TaskGraph {
    graph_of(&site::resolved(site::TWO_MACHINES)).unwrap()
}

/// A ledger in which these tasks have that status, with the keys of the graph.
fn ledger(graph: &TaskGraph, tasks: &[(&str, TaskStatus)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (glob, status) in tasks {
        for task in graph.tasks().iter().filter(|task| task.address.matches(glob)) {
            let entry = LedgerEntry {
                status: *status,
                key: task.key.clone(),
                run: "r1".into(),
                attempt: 1,
                seq: 7,
                message: (*status == TaskStatus::Failed).then(|| "no space left on device".to_owned()),
                outputs: BTreeMap::new(),
            };
            ledger.entries.insert(task.address.clone(), entry);
        }
    }
    ledger
}

fn with(graph: &TaskGraph, ledger: &Ledger, selection: Selection) -> Result<Preview, SelectionError> {
    select(graph, &selection, ledger).map(|selected| preview(&selected, ledger))
}

fn why<'a>(preview: &'a Preview, address: &str) -> (&'a Why, Action) {
    let line = preview.line(&Address::new(address)).unwrap_or_else(|| panic!("{address} is not in the preview"));
    (&line.why, line.action)
}

fn globs(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn each_task_says_why_it_runs_or_not() {
    let graph = graph();
    let done = TaskStatus::Applied;
    let mut ledger = ledger(
        &graph,
        &[
            ("host:local", done),
            ("web01/validate", done),
            ("web01/capture*", done),
            ("web01/create", done),
            ("web01/deploy/disk0", TaskStatus::Failed),
            ("web01/deploy/disk1", TaskStatus::Running),
            ("db01/create", TaskStatus::AlreadyTrue),
            ("db01/validate", TaskStatus::Undone),
        ],
    );
    let create = ledger.entries.get_mut(&Address::new("web01/create")).unwrap();
    create.key.insert("memory".into(), "256 MiB".into());
    ledger.throughput.insert("deploy".into(), (1 << 28) as f64);
    ledger.seconds.insert("*/deploy/guest".into(), 40.0);
    let preview = with(&graph, &ledger, Selection::default()).unwrap();
    assert_eq!(why(&preview, "web01/capture/disk0"), (&Why::Done, Action::Skip));
    assert_eq!(why(&preview, "db01/create"), (&Why::AlreadyTrue, Action::Skip));
    assert_eq!(why(&preview, "db01/validate"), (&Why::RolledBack, Action::Create));
    assert_eq!(why(&preview, "web01/deploy/disk1"), (&Why::Interrupted, Action::Run));
    let failed = Why::Failed { message: Some("no space left on device".into()) };
    assert_eq!(why(&preview, "web01/deploy/disk0"), (&failed, Action::Run));
    let (Why::Changed { inputs }, Action::Run) = why(&preview, "web01/create") else { panic!("create has changed") };
    assert_eq!(
        (inputs[0].input.as_str(), inputs[0].from.as_deref(), inputs[0].to.as_deref()),
        ("memory", Some("256 MiB"), Some("512 MiB"))
    );
    let line = preview.line(&Address::new("web01/deploy/disk0")).unwrap();
    assert_eq!(line.seconds, Some(2.0));
    assert_eq!(preview.line(&Address::new("web01/deploy/guest")).unwrap().seconds, Some(40.0));
    assert_eq!(preview.summary.skip, 6);
    assert_eq!(preview.summary.seconds, None, "no capture was ever measured, and one is to be done");
}

#[test]
fn a_finished_plan_has_nothing_to_do() {
    let graph = graph();
    let ledger = ledger(&graph, &[("*", TaskStatus::Applied)]);
    let preview = with(&graph, &ledger, Selection::default()).unwrap();
    assert!(!preview.has_changes());
}

#[test]
fn redo_takes_along_what_depends_on_it() {
    let graph = graph();
    let ledger = ledger(&graph, &[("*", TaskStatus::Applied), ("web01/post-deploy", TaskStatus::AlreadyTrue)]);
    let selection = Selection { redo: globs("web01/deploy/disk1"), ..Selection::default() };
    let preview = with(&graph, &ledger, selection).unwrap();
    assert_eq!(why(&preview, "web01/deploy/disk1"), (&Why::Redo, Action::Run));
    assert_eq!(why(&preview, "web01/deploy/guest"), (&Why::UpstreamRedone, Action::Run));
    assert_eq!(why(&preview, "web01/post-deploy"), (&Why::UpstreamRedone, Action::Run));
    assert_eq!(why(&preview, "web01/deploy/disk0"), (&Why::Done, Action::Skip));
    assert_eq!(why(&preview, "db01/validate"), (&Why::Done, Action::Skip));
    let look = with(&graph, &ledger, Selection { redo: globs("web01/validate"), ..Selection::default() }).unwrap();
    assert_eq!(look.summary.run, 1, "another look makes nothing that others depend on");
}

#[test]
fn a_machine_past_its_point_of_no_return_stays_as_it_is() {
    let graph = graph();
    let mut ledger = ledger(&graph, &[("*", TaskStatus::Applied)]);
    let create = ledger.entries.get_mut(&Address::new("web01/create")).unwrap();
    create.key.insert("memory".into(), "256 MiB".into());
    let preview = with(&graph, &ledger, Selection::default()).unwrap();
    assert!(!preview.has_changes());
    assert!(preview.line(&Address::new("web01/create")).is_none());
    assert_eq!(why(&preview, "db01/create"), (&Why::Done, Action::Skip), "others are not touched by it");
    assert_eq!(
        preview.notes,
        ["web01 is past its point of no return and stays as it is, though the inputs of web01/create have changed; \
          to do it again: `replant rollback --machine web01 --past-commit`, then `replant apply`"]
    );
    let redo = |task: &str| with(&graph, &ledger, Selection { redo: globs(task), ..Selection::default() });
    let refused = redo("db01/deploy*").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`db01` is past its point of no return, and `--redo` names `db01/deploy/disk0`; \
         take it back first: `replant rollback --machine db01 --past-commit`"
    );
    assert_eq!(redo("db01/post-deploy").unwrap().summary.run, 1, "its end state may be declared again");
}

#[test]
fn what_is_left_out_must_be_done() {
    let graph = graph();
    let nothing = Ledger::default();
    let machine = |globs_: &str| Selection { machines: globs(globs_), ..Selection::default() };
    let preview = with(&graph, &nothing, machine("web*")).unwrap();
    let scopes: Vec<&str> = preview.groups.iter().map(|group| group.scope.as_str()).collect();
    assert_eq!(scopes, ["host:local", "web01"], "shared work comes along");

    let refused = with(&graph, &nothing, machine("db01")).unwrap_err();
    assert_eq!(refused.to_string(), "`db01/validate` needs `web01/post-deploy`, which is left out and not done");
    let finished = ledger(&graph, &[("web01", TaskStatus::Applied)]);
    assert!(with(&graph, &finished, machine("db01")).is_ok());

    let exclude = Selection { exclude: globs("web01/deploy/guest"), ..Selection::default() };
    let refused = with(&graph, &nothing, exclude).unwrap_err();
    assert!(refused.to_string().contains("`web01/post-deploy` needs `web01/deploy/guest`"), "{refused}");

    let from = Selection { from: globs("web01/deploy*"), ..Selection::default() };
    assert!(with(&graph, &nothing, from.clone()).is_err());
    let captured = ledger(
        &graph,
        &[
            ("host:local", TaskStatus::Applied),
            ("web01/validate", TaskStatus::Applied),
            ("web01/capture*", TaskStatus::Applied),
            ("web01/create", TaskStatus::Applied),
        ],
    );
    let preview = with(&graph, &captured, from).unwrap();
    assert!(preview.line(&Address::new("web01/create")).is_none());
    assert!(preview.line(&Address::new("db01/post-deploy")).is_some(), "db01 comes after web01");
}

#[test]
fn a_glob_that_names_nothing_is_a_mistake() {
    let graph = graph();
    let selection = Selection { exclude: globs("web1"), ..Selection::default() };
    let refused = with(&graph, &Ledger::default(), selection).unwrap_err();
    assert_eq!(refused.to_string(), "`--exclude web1` names no machine or task; did you mean `web01`?");
    let all = Selection { exclude: globs("*"), ..Selection::default() };
    assert_eq!(with(&graph, &Ledger::default(), all).unwrap_err(), SelectionError::Nothing);
}
