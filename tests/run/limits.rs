//! Budgets, failure budgets of waves, time limits. Scripts meet each other at pipes; nobody sleeps.

use std::collections::BTreeMap;
use std::time::Duration;

use replant::execute::{Outcome, apply};
use replant::journal::TaskStatus;
use replant::plan::OnFailure;
use replant::planner::Task;
use replant::progress::Display;

use super::world::*;

fn with_budget(tasks: Vec<Task>, names: &[&str]) -> Vec<Task> {
    let budgets: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    tasks.into_iter().map(|task| Task { budgets: budgets.clone(), ..task }).collect()
}

#[test]
fn a_budget_is_never_exceeded() {
    for limit in [1, 3] {
        let world = World::new();
        // Lines are appended whole, so the file tells how many ran at any moment.
        world.hook("if [ $word = apply ]; then echo + >> $REPLANT_ROOT/busy; make; echo - >> $REPLANT_ROOT/busy; fi");
        let tasks = (0..20).map(|n| task(&format!("m{n}/create"), &[])).collect();
        let mut plan = manifest(with_budget(tasks, &["store"]), OnFailure::Keep);
        plan.budgets = BTreeMap::from([("store".into(), limit)]);
        let mut options = world.apply_options(&plan);
        options.jobs = Some(20);
        assert_eq!(apply(options).unwrap().outcome, Outcome::Done);
        let (mut busy, mut most) = (0, 0);
        for line in std::fs::read_to_string(world.root.join("busy")).unwrap().lines() {
            busy += if line == "+" { 1 } else { -1 };
            most = most.max(busy);
        }
        assert_eq!(busy, 0);
        assert!(most <= limit as i32, "{most} at once with a budget of {limit}");
    }
}

#[test]
fn tasks_that_budgets_allow_run_side_by_side() {
    let world = World::new();
    let (left, right) = (world.pipe("left"), world.pipe("right"));
    // Each waits for the other: one after the other they would wait for ever.
    world.hook(&format!(
        "case \"$word $REPLANT_TASK\" in
        'apply a/create') echo > {left}; read -r line < {right} ;;
        'apply b/create') read -r line < {left}; echo > {right} ;;
        esac"
    ));
    let tasks = with_budget(vec![task("a/create", &[]), task("b/create", &[])], &["host:h", "store"]);
    let mut plan = manifest(tasks, OnFailure::Keep);
    plan.budgets = BTreeMap::from([("store".into(), 2), ("host:h".into(), 2)]);
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
}

#[test]
fn who_waits_for_a_budget_is_told_its_place() {
    let world = World::new();
    let tasks = (0..3).map(|n| task(&format!("m{n}/create"), &[])).collect();
    let mut plan = manifest(with_budget(tasks, &["store"]), OnFailure::Keep);
    plan.budgets = BTreeMap::from([("store".into(), 1)]);
    let shown = world.root.join("shown");
    let mut options = world.apply_options(&plan);
    options.display = Display::Lines(Box::new(std::fs::File::create(&shown).unwrap()));
    apply(options).unwrap();
    let shown = std::fs::read_to_string(shown).unwrap();
    assert!(shown.contains("m1/create: waiting for store, position 1\n"), "{shown}");
    assert!(shown.contains("m2/create: waiting for store, position 2\n"), "{shown}");
}

#[test]
fn a_wave_with_too_many_failures_starts_nothing_more() {
    for (max_failures, begun) in [(Some(0), 1), (Some(1), 2), (None, 5)] {
        let world = World::new();
        let tasks: Vec<Task> = (0..5).map(|n| task(&format!("m{n}/create"), &[])).collect();
        let mut plan = manifest(tasks, OnFailure::Keep);
        plan.waves = vec![wave("first", &["m0", "m1", "m2", "m3", "m4"], max_failures)];
        let mut options = world.apply_options(&plan);
        options.jobs = Some(1);
        options.injections = vec!["fail@*/create".parse().unwrap()];
        let report = apply(options).unwrap();
        assert_eq!(report.outcome, Outcome::Kept);
        assert_eq!(report.failed.len(), begun, "with {max_failures:?}");
        assert_eq!(report.blocked, 5 - begun as u64);
        assert_eq!(world.calls().iter().filter(|call| call.starts_with("apply")).count(), begun);
    }
}

#[test]
fn a_failure_in_a_wave_blocks_only_what_depends_on_it() {
    let world = World::new();
    let tasks = vec![
        task("a/create", &[]),
        task("b/create", &[]),
        task("c/create", &["a/create"]),
        task("d/create", &["b/create"]),
    ];
    let mut plan = manifest(tasks, OnFailure::Keep);
    plan.waves = vec![wave("first", &["a", "b"], Some(1)), wave("second", &["c", "d"], None)];
    let report = world.apply(&plan, &["fail@a/create"]).unwrap();
    assert_eq!(report.outcome, Outcome::Kept);
    assert_eq!(world.status("c/create"), TaskStatus::Pending);
    assert_eq!(world.status("d/create"), TaskStatus::Applied);
}

#[test]
fn a_wave_begins_when_the_wave_before_has_ended() {
    let order = |injections: &[&str], max_failures| {
        let world = World::new();
        // The second wave's tasks stand first, and nothing but the waves holds them back.
        let tasks: Vec<Task> =
            ["c/create", "d/create", "a/create", "b/create", "e/create"].map(|a| task(a, &[])).into();
        let mut plan = manifest(tasks, OnFailure::Keep);
        plan.waves = vec![wave("first", &["a", "b"], max_failures), wave("second", &["c", "d"], None)];
        let mut options = world.apply_options(&plan);
        options.jobs = Some(1);
        options.injections = injections.iter().map(|text| text.parse().unwrap()).collect();
        apply(options).unwrap();
        let calls = world.calls().into_iter().filter_map(|call| Some(call.strip_prefix("apply ")?.to_owned()));
        calls.collect::<Vec<_>>()
    };
    let all = order(&[], None);
    let at = |task: &str| all.iter().position(|called| called == task).unwrap();
    assert_eq!(all.len(), 5);
    assert!(at("a/create").max(at("b/create")) < at("c/create").min(at("d/create")), "{all:?}");
    let tolerated = order(&["fail@a/create"], Some(1));
    assert_eq!(tolerated.iter().filter(|task| *task == "c/create" || *task == "d/create").count(), 2);
    let frozen = order(&["fail@a/create"], Some(0));
    assert!(!frozen.iter().any(|task| task == "c/create" || task == "d/create"), "{frozen:?}");
    assert!(frozen.iter().any(|task| task == "e/create"), "a machine of no wave goes on");
}

#[test]
fn an_attempt_that_takes_too_long_or_is_silent_is_ended() {
    for (timeout, stall, expected) in
        [(Some(100), None, "not done after 100ms"), (None, Some(100), "no progress for 100ms")]
    {
        let world = World::new();
        let never = world.pipe("never");
        world.hook(&format!("if [ $word = apply ]; then read -r line < {never}; fi"));
        let mut slow = task("m/create", &[]);
        slow.limits.timeout = timeout.map(Duration::from_millis);
        slow.limits.stall = stall.map(Duration::from_millis);
        let report = world.apply(&manifest(vec![slow], OnFailure::Keep), &[]).unwrap();
        assert_eq!(report.outcome, Outcome::Kept);
        assert_eq!(report.failed[0].message, expected);
    }
}

#[test]
fn rollback_heeds_budgets_too() {
    let world = World::new();
    let tasks = (0..10).map(|n| task(&format!("m{n}/create"), &[])).collect();
    let mut plan = manifest(with_budget(tasks, &["store"]), OnFailure::Keep);
    plan.budgets = BTreeMap::from([("store".into(), 2)]);
    world.apply(&plan, &[]).unwrap();
    world.hook("if [ $word = undo ]; then echo + >> $REPLANT_ROOT/busy; rm $file; echo - >> $REPLANT_ROOT/busy; fi");
    assert_eq!(world.rollback(false, &[]).unwrap().undone, 10);
    let (mut busy, mut most) = (0, 0);
    for line in std::fs::read_to_string(world.root.join("busy")).unwrap().lines() {
        busy += if line == "+" { 1 } else { -1 };
        most = most.max(busy);
    }
    assert!(most <= 2, "{most} undos at once");
}
