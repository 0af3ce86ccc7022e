//! Failures at every task, and what is left afterwards.

use std::collections::BTreeSet;
use std::time::Duration;

use replant::execute::{ExecuteError, Outcome};
use replant::journal::TaskStatus;
use replant::plan::OnFailure;
use replant::planner::{Reversal, TaskLimits};

use super::world::*;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_plan_is_done_once_and_then_nothing_is_left_to_do() {
    let world = World::new();
    let plan = manifest(two_disk_machine("m"), OnFailure::Keep);
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!((report.outcome, report.applied, report.skipped), (Outcome::Done, 10, 0), "{report:?}");
    assert_eq!(world.things(), addresses(&plan.tasks).into_iter().collect());
    let head = world.ledger().head;
    world.forget_calls();
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!((report.outcome, report.applied, report.skipped, report.run), (Outcome::Done, 0, 10, None));
    assert_eq!((world.calls().len(), world.ledger().head), (0, head), "nothing ran and nothing was recorded");
    world.assert_sound();
}

#[test]
fn after_a_failure_anywhere_nothing_that_was_made_is_left() {
    let tasks = two_disk_machine("m");
    for failing in addresses(&tasks) {
        let world = World::new();
        let plan = manifest(tasks.clone(), OnFailure::Rollback);
        let report = world.apply(&plan, &[&format!("fail@{failing}")]).unwrap();
        assert_eq!(report.outcome, Outcome::RolledBack, "{failing}: {report:?}");
        assert_eq!(report.failed[0].task.as_str(), failing);
        // A task that only looks has nothing to take back; the fake one may be stopped while it writes its note.
        let only_looks = |thing: &String| {
            let mut looking = tasks.iter().filter(|task| task.reversal == Reversal::Nothing);
            looking.any(|task| thing.strip_suffix(".part") == Some(task.address.as_str()))
        };
        let (things, kept) = (world.things(), keeps(&tasks));
        let left: Vec<&String> = things.difference(&kept).filter(|thing| !only_looks(thing)).collect();
        assert!(left.is_empty(), "after a failure of {failing} there is {left:?}");
        // The failing task's own partial work is undone too, in the right order: after what was built on it.
        let undone: Vec<String> =
            world.calls().iter().filter_map(|call| call.strip_prefix("undo ").map(str::to_owned)).collect();
        for (at, earlier) in undone.iter().enumerate() {
            let built_on_it = |later: &String| {
                tasks.iter().any(|task| {
                    task.address.as_str() == later && task.depends_on.iter().any(|before| before.as_str() == earlier)
                })
            };
            assert!(!undone[at..].iter().any(built_on_it), "{failing}: {undone:?}");
        }
        if world.status("m/create") == TaskStatus::Undone {
            let calls = world.calls();
            let stop = calls.iter().position(|call| call == "stop m/cleanup").expect("what works is stopped");
            let first = calls.iter().position(|call| call.starts_with("undo m/")).unwrap();
            assert!(stop < first, "{failing}: {calls:?}");
        }
        // And then it can be done all the same.
        let report = world.apply(&plan, &[]).unwrap();
        assert_eq!(report.outcome, Outcome::Done, "{failing}: {report:?}");
        assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
        world.assert_sound();
    }
}

#[test]
fn what_was_there_before_us_stays() {
    let tasks = two_disk_machine("m");
    for failing in ["m/deploy/disk1", "m/deploy/guest", "m/post-deploy"] {
        let world = World::new();
        world.put("m/create");
        world.put("m/deploy/disk0");
        let plan = manifest(tasks.clone(), OnFailure::Rollback);
        // Its check would be asked before its dependencies are done otherwise.
        let report = world.apply(&plan, &[&format!("fail@{failing}")]).unwrap();
        assert_eq!((report.outcome, report.already_true), (Outcome::RolledBack, 2), "{report:?}");
        assert!(world.is_untouched("m/create") && world.is_untouched("m/deploy/disk0"), "{failing}");
        assert_eq!(world.count("apply m/create") + world.count("undo m/create"), 0);
        let left = &world.things() - &keeps(&tasks);
        assert_eq!(left, set(&["m/create", "m/deploy/disk0"]));
    }
}

#[test]
fn with_keep_a_failure_keeps_what_was_made_and_apply_resumes() {
    let tasks = two_disk_machine("m");
    for failing in addresses(&tasks) {
        let world = World::new();
        let plan = manifest(tasks.clone(), OnFailure::Keep);
        let report = world.apply(&plan, &[&format!("fail@{failing}")]).unwrap();
        assert_eq!(report.outcome, Outcome::Kept, "{failing}: {report:?}");
        assert!(!world.calls().iter().any(|call| call.starts_with("undo") || call.starts_with("stop")));
        assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
        assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
        for task in addresses(&tasks).iter().filter(|task| **task != failing) {
            assert_eq!(world.count(&format!("apply {task}")), 1, "{task} with a failure of {failing}");
        }
        world.assert_sound();
    }
}

#[test]
fn doing_and_undoing_everything_twice_changes_nothing() {
    let world = World::new();
    let tasks = two_disk_machine("m");
    let plan = manifest(tasks.clone(), OnFailure::Keep);
    assert_eq!(world.apply(&plan, &["repeat@*/*"]).unwrap().outcome, Outcome::Done);
    assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
    assert!(addresses(&tasks).iter().all(|task| world.count(&format!("apply {task}")) == 2));
    let report = world.rollback(true, &["repeat@*/*"]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(world.things(), keeps(&tasks));
    assert_eq!(world.count("undo m/create"), 2);
    assert_eq!(report.kept.len(), 4, "agent, two disks and the seal stay: {:?}", report.kept);
}

#[test]
fn the_point_of_no_return_is_passed_backwards_only_when_asked() {
    let world = World::new();
    let plan = manifest(two_disk_machine("m"), OnFailure::Keep);
    world.apply(&plan, &[]).unwrap();
    world.forget_calls();
    let error = world.rollback(false, &[]).unwrap_err();
    assert!(matches!(&error, ExecuteError::PastCommit { machine, .. } if machine == "m"), "{error}");
    assert!(error.to_string().contains("--past-commit"), "{error}");
    assert!(world.calls().is_empty());
    assert_eq!(world.rollback(true, &[]).unwrap().outcome, Outcome::Done);
    assert!(!world.things().contains("m/create"));
    // What is gone is gone: a second rollback has nothing to do.
    assert_eq!(world.rollback(true, &[]).unwrap().run, None);
}

#[test]
fn a_machine_that_failed_beyond_its_point_of_no_return_is_not_rolled_back() {
    let world = World::new();
    world.hook("if [ \"$word $REPLANT_TASK\" = 'apply m/post-deploy' ]; then make; echo too late; exit 1; fi");
    let plan = manifest(two_disk_machine("m"), OnFailure::Rollback);
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Kept, "{report:?}");
    assert_eq!(report.past_commit, [("m".to_owned(), "the VM is on the network".to_owned())]);
    assert_eq!(world.things().len(), 10);
    assert!(!world.calls().iter().any(|call| call.starts_with("undo")));
}

#[test]
fn an_undo_that_fails_is_stuck_until_rollback_is_tried_again() {
    let world = World::new();
    let tasks = two_disk_machine("m");
    let plan = manifest(tasks.clone(), OnFailure::Rollback);
    let report = world.apply(&plan, &["fail@m/deploy/guest", "fail-undo@m/deploy/disk1"]).unwrap();
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert_eq!(report.outcome.code(), 6);
    let stuck: Vec<&str> = report.stuck.iter().map(|trouble| trouble.task.as_str()).collect();
    assert!(stuck.contains(&"m/deploy/disk1") && stuck.contains(&"m/create"), "what is left is named: {stuck:?}");
    assert_eq!(world.status("m/deploy/disk1"), TaskStatus::Stuck);
    assert_eq!(world.status("m/deploy/disk0"), TaskStatus::Undone, "what can be undone is");
    assert_eq!(world.status("m/create"), TaskStatus::Applied, "not under something that is still there");
    let report = world.rollback(false, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(&world.things() - &keeps(&tasks), BTreeSet::new());
    world.assert_sound();
}

#[test]
fn apply_after_a_stuck_undo_ends_the_undo_first() {
    let world = World::new();
    let tasks = two_disk_machine("m");
    let plan = manifest(tasks.clone(), OnFailure::Rollback);
    world.apply(&plan, &["fail@m/deploy/guest", "fail-undo@m/deploy/disk1"]).unwrap();
    world.forget_calls();
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
    let calls = world.calls();
    let place =
        |call: &str| calls.iter().position(|known| known == call).unwrap_or_else(|| panic!("{call}: {calls:?}"));
    assert!(place("stop m/cleanup") < place("undo m/deploy/disk1"));
    assert!(place("undo m/deploy/disk1") < place("apply m/deploy/disk1"));
    world.assert_sound();
}

#[test]
fn a_cleanup_that_cannot_stop_what_works_leaves_everything_and_calls_for_a_person() {
    let world = World::new();
    world.hook("if [ \"$word:$item\" = apply:stop ]; then echo it does not stop; exit 1; fi");
    let plan = manifest(two_disk_machine("m"), OnFailure::Rollback);
    let report = world.apply(&plan, &["fail@m/deploy/guest"]).unwrap();
    assert_eq!(report.outcome, Outcome::Incomplete);
    assert!(report.stuck[0].message.contains("it does not stop"), "{:?}", report.stuck);
    assert!(!world.calls().iter().any(|call| call.starts_with("undo m/")));
    world.unhook();
    assert_eq!(world.rollback(false, &[]).unwrap().outcome, Outcome::Done);
    assert!(!world.things().contains("m/create"));
}

#[test]
fn one_machine_never_stops_another() {
    let world = World::new();
    let mut tasks = two_disk_machine("a");
    tasks.extend(two_disk_machine("b").into_iter().skip(1));
    tasks.extend([task("c/validate", &["a/post-deploy"]), task("c/create", &["c/validate"])]);
    let plan = manifest(tasks, OnFailure::Rollback);
    let report = world.apply(&plan, &["fail@a/create"]).unwrap();
    assert_eq!(report.outcome, Outcome::RolledBack);
    assert_eq!(world.status("b/post-deploy"), TaskStatus::Applied);
    assert_eq!(world.status("c/validate"), TaskStatus::Pending, "it comes after a");
    assert!(world.things().contains("b/create") && !world.things().contains("a/create"));
}

#[test]
fn a_task_is_tried_again_with_what_the_exit_code_allows() {
    for (code, attempts) in [(1, 3), (75, 3), (2, 1), (64, 1), (77, 1), (78, 1), (127, 1)] {
        let world = World::new();
        world.hook(&format!("if [ $word = apply ]; then echo no $REPLANT_ATTEMPT; exit {code}; fi"));
        let limits = TaskLimits { retries: 2, backoff: Duration::from_millis(1), ..TaskLimits::default() };
        let mut only = task("m/create", &[]);
        only.limits = limits;
        let plan = manifest(vec![only], OnFailure::Keep);
        let report = world.apply(&plan, &[]).unwrap();
        assert_eq!(report.failed[0].message, format!("exit code {code}: no {attempts}"));
        assert_eq!(world.count("apply m/create"), attempts, "exit code {code}");
        let log = std::fs::read_to_string(report.failed[0].log.as_ref().unwrap()).unwrap();
        assert_eq!(log, format!("no {attempts}\n[replant] exit code {code}\n"));
    }
}

#[test]
fn a_second_attempt_may_succeed() {
    let world = World::new();
    let mut only = task("m/create", &[]);
    only.limits.retries = 1;
    let plan = manifest(vec![only], OnFailure::Rollback);
    let report = world.apply(&plan, &["fail-once@m/create"]).unwrap();
    assert_eq!((report.outcome, report.applied), (Outcome::Done, 1), "{report:?}");
    assert_eq!(world.ledger().entries.values().next().unwrap().attempt, 2);
}

#[test]
fn what_cannot_be_told_is_not_guessed() {
    let world = World::new();
    world.put("m/create");
    world.hook("if [ $word = check ]; then echo the host does not answer; exit 3; fi");
    let plan = manifest(vec![task("m/create", &[]), cleanup("m")], OnFailure::Rollback);
    let report = world.apply(&plan, &[]).unwrap();
    assert!(report.failed[0].message.contains("the host does not answer"), "{report:?}");
    assert!(world.is_untouched("m/create"));
    assert_eq!(world.calls(), ["check m/create"], "neither done nor undone");
    let entry = world.ledger().entries.values().next().unwrap().clone();
    assert_eq!(entry.status, TaskStatus::Pending);
    assert!(entry.message.unwrap().contains("the host does not answer"), "`status` can say why");
}

#[test]
fn changed_inputs_and_redo_do_a_task_again_without_looking() {
    let world = World::new();
    let mut plan = manifest(vec![task("m/create", &[]), task("m/deploy", &["m/create"])], OnFailure::Keep);
    world.apply(&plan, &[]).unwrap();
    world.forget_calls();
    plan.tasks[0].key.insert("version".into(), "2".into());
    world.apply(&plan, &[]).unwrap();
    assert_eq!(world.calls(), ["apply m/create"]);
    world.forget_calls();
    plan.selection.redo = vec!["m/deploy".into()];
    plan.journal_head = world.ledger().head;
    world.hook("if [ $word = apply ]; then echo ${REPLANT_REDO:-no} > $REPLANT_ROOT/redo; fi");
    world.apply(&plan, &[]).unwrap();
    assert_eq!(world.calls(), ["apply m/deploy"]);
    assert_eq!(std::fs::read_to_string(world.root.join("redo")).unwrap(), "1\n");
    // Resuming the same plan does not do it a third time.
    assert_eq!(world.apply(&plan, &[]).unwrap().run, None);
}

#[test]
fn a_missing_script_is_a_failure_that_names_it() {
    let world = World::new();
    let mut only = task("m/create", &[]);
    only.command.script = "m/gone.sh".into();
    let report = world.apply(&manifest(vec![only], OnFailure::Keep), &[]).unwrap();
    assert!(report.failed[0].message.contains("m/gone.sh"), "{report:?}");
    assert_eq!(report.outcome, Outcome::Kept);
}
