//! `replant status` and `replant rollback` as people call them.

use std::process::{Command, Output, Stdio};

use replant::execute::{ApplyOptions, Outcome, apply};
use replant::journal::TaskStatus;
use replant::plan::OnFailure;

use super::driver::Driver;
use super::world::*;

fn replant(world: &World, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replant"));
    command.args(words).current_dir(&world.root).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (status.code(), text)
}

#[test]
fn status_of_nothing_says_so() {
    let world = World::new();
    let (code, text) = replant(&world, &["status"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("nothing was ever applied here"), "{text}");
}

#[test]
fn status_names_the_last_error_and_what_waits_for_it() {
    let world = World::new();
    world.hook("if [ \"$word $REPLANT_TASK\" = 'apply m/create' ]; then echo no space left; exit 1; fi");
    let tasks = vec![task("m/validate", &[]), task("m/create", &["m/validate"]), task("m/deploy", &["m/create"])];
    let report = world.apply(&manifest(tasks, OnFailure::Keep), &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Kept);
    let (code, text) = replant(&world, &["status"]);
    assert_eq!(code, Some(0));
    let expected = "m\n  validate                 done\n  create                   FAILED\n      \
                    exit code 1: no space left\n  deploy                   pending   after m/create\n\
                    3 tasks: 1 FAILED, 1 done, 1 pending; journal at 6\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(text.contains("1 failed"), "{text}");

    let (_, text) = replant(&world, &["status", "--json", "--verify"]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["runs"][0]["outcome"], "kept");
    assert_eq!(json["tasks"][1]["message"], "exit code 1: no space left");
    assert_eq!(json["leases"], serde_json::json!([]));
}

#[test]
fn status_shows_who_is_at_work_who_waits_and_who_died() {
    let world = World::new();
    let (begun, never) = (world.pipe("begun"), world.pipe("never"));
    world.hook(&format!("if [ $word = apply ]; then echo > {begun}; read -r line < {never}; fi"));
    let tasks = ["a/create", "b/create", "c/create"].map(|address| {
        let mut task = task(address, &[]);
        task.budgets = vec!["store".into()];
        task
    });
    let mut plan = manifest(tasks.to_vec(), OnFailure::Keep);
    plan.budgets.insert("store".into(), 1);
    world.freeze(&plan);
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    let (_, text) = replant(&world, &["status"]);
    assert!(text.contains(": running\n"), "{text}");
    assert!(text.contains("a\n  create                   running\n"), "{text}");
    assert!(text.contains("c\n  create                   pending   waiting for store, position 2\n"), "{text}");
    assert!(text.contains("lease on a, b, c: held by `the driver` (process "), "{text}");
    driver.kill();
    let (_, text) = replant(&world, &["status"]);
    assert!(text.contains("its process died"), "{text}");
    assert!(text.contains("lease on a, b, c: left behind by (dead"), "{text}");
    // The next run ends the script that was left behind.
    world.unhook();
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
}

#[test]
fn rollback_previews_asks_and_undoes() {
    let world = World::new();
    world.put("m/deploy/disk0");
    let mut tasks = two_disk_machine("m");
    tasks.retain(|task| !task.address.as_str().ends_with("post-deploy"));
    world.apply(&manifest(tasks, OnFailure::Keep), &[]).unwrap();
    world.forget_calls();

    let (code, text) = replant(&world, &["rollback", "--plan"]);
    assert_eq!(code, Some(0), "{text}");
    let place = |line: &str| text.find(line).unwrap_or_else(|| panic!("`{line}` in {text}"));
    assert!(place("undo m/deploy/guest") < place("undo m/deploy/disk1"));
    assert!(place("undo m/deploy/disk1") < place("undo m/create"));
    assert!(text.contains("leave m/deploy/disk0: it was there before us"), "{text}");
    assert!(text.contains("what was completed stays: it is of value"), "{text}");

    let (code, text) = replant(&world, &["rollback"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("confirm with `--yes`"), "{text}");
    assert!(world.calls().is_empty(), "nothing was run so far");

    let (code, text) = replant(&world, &["rollback", "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("m/create: undone\n") && text.contains("kept m/capture/disk0"), "{text}");
    assert!(world.is_untouched("m/deploy/disk0"));
    assert!(!world.things().contains("m/create"));
    let (code, text) = replant(&world, &["rollback", "--yes"]);
    assert_eq!((code, text.as_str()), (Some(0), "nothing to undo\n"));
}

#[test]
fn rollback_of_one_machine_leaves_the_others_and_what_they_share() {
    let world = World::new();
    let mut tasks = two_disk_machine("a");
    tasks.extend(two_disk_machine("b").into_iter().skip(1));
    world.apply(&manifest(tasks, OnFailure::Keep), &[]).unwrap();
    let (code, text) = replant(&world, &["rollback", "--yes", "--machine", "a"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("a is past its point of no return (the VM is on the network)"), "{text}");
    let (code, text) = replant(&world, &["rollback", "--yes", "--machine", "a", "--past-commit"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!world.things().contains("a/create") && world.things().contains("b/create"));
    assert_eq!(world.count("undo host:h/agent"), 0);
    let (code, text) = replant(&world, &["rollback", "--yes", "--machine", "nobody"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("no machine matches `nobody`"), "{text}");
}

#[test]
fn an_incomplete_rollback_ends_with_6_and_says_what_is_left() {
    let world = World::new();
    world.apply(&manifest(vec![task("m/create", &[])], OnFailure::Keep), &[]).unwrap();
    let (code, text) = replant(&world, &["rollback", "--yes", "--inject", "fail-undo@m/create"]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("STUCK m/create: a planned fault"), "{text}");
    let (_, text) = replant(&world, &["status"]);
    assert!(text.contains("create                   STUCK"), "{text}");
    assert_eq!(replant(&world, &["rollback", "--yes"]).0, Some(0));
}

#[test]
fn every_task_is_undone_by_the_run_folder_in_which_it_was_begun() {
    let world = World::new();
    world.apply(&manifest(vec![task("m/create", &[]), cleanup("m")], OnFailure::Keep), &[]).unwrap();
    // A later run from another folder does only the rest.
    let second = world.root.join("run2");
    std::fs::create_dir_all(second.join("artifacts")).unwrap();
    let script = std::fs::read_to_string(world.root.join("run/artifacts/task.sh")).unwrap();
    std::fs::write(second.join("artifacts/task.sh"), format!("{script}echo second >> $REPLANT_ROOT/by\n")).unwrap();
    let later = manifest(vec![task("m/deploy", &["m/create"])], OnFailure::Keep);
    std::fs::write(second.join("plan.json"), serde_json::to_vec(&later).unwrap()).unwrap();
    let mut options = ApplyOptions::new(world.root.clone(), second.clone(), later);
    options.signals = false;
    assert_eq!(apply(options).unwrap().outcome, Outcome::Done);
    let report = world.rollback(false, &[]).unwrap();
    assert_eq!((report.outcome, report.undone), (Outcome::Done, 2), "{report:?}");
    assert!(world.things().is_empty());
    assert_eq!(std::fs::read_to_string(world.root.join("by")).unwrap(), "second\n".repeat(2), "apply and undo");
    assert_eq!(world.status("m/create"), TaskStatus::Undone);

    // Without the folder it cannot be undone, and says which one is missing.
    world.apply(&manifest(vec![task("m/create", &[])], OnFailure::Keep), &[]).unwrap();
    std::fs::remove_file(world.root.join("run/plan.json")).unwrap();
    let text = world.rollback(false, &[]).unwrap_err().to_string();
    assert!(text.contains("/run of run ") && text.contains("undo m/create"), "{text}");
}
