//! Crashes: SIGKILL of the process group at every task, then `apply` goes on.

use replant::execute::Outcome;
use replant::journal::TaskStatus;
use replant::plan::OnFailure;

use super::driver::Driver;
use super::world::*;

#[test]
fn after_a_crash_anywhere_the_world_is_the_same_and_nothing_done_is_done_again() {
    let tasks = two_disk_machine("m");
    for kind in ["crash-before", "crash-after", "crash-recorded"] {
        for at in addresses(&tasks) {
            let world = World::new();
            let plan = manifest(tasks.clone(), OnFailure::Keep);
            world.freeze(&plan);
            let (code, _) = Driver::start(&world, &[&format!("{kind}@{at}")]).finish();
            assert_eq!(code, None, "{kind}@{at} kills");
            let expected = match kind {
                "crash-recorded" => TaskStatus::Applied,
                _ => TaskStatus::Running,
            };
            assert_eq!(world.status(&at), expected, "{kind}@{at}");
            let report = world.apply(&plan, &[]).unwrap();
            assert_eq!(report.outcome, Outcome::Done, "{kind}@{at}: {report:?}");
            if expected == TaskStatus::Running {
                assert!(report.recovered.iter().any(|task| task.as_str() == at), "what was cut off is named");
            }
            assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
            // A neighbour that ran beside the crash may have been cut off too, and only such a one may run again.
            for task in addresses(&tasks) {
                let applied = world.count(&format!("apply {task}"));
                let cut_off = report.recovered.iter().any(|known| known.as_str() == task) && task != at;
                assert!(applied == 1 || (cut_off && applied == 2), "{kind}@{at}: {task} ran {applied} times");
            }
            world.assert_sound();
        }
    }
}

#[test]
fn a_rollback_that_was_cut_off_goes_on() {
    let world = World::new();
    let tasks = two_disk_machine("m");
    let plan = manifest(tasks.clone(), OnFailure::Rollback);
    world.freeze(&plan);
    // Killed by its own script in the middle of the rollback.
    world.hook("if [ \"$word $REPLANT_TASK\" = 'undo m/deploy/disk0' ]; then kill -9 $PPID; exit 1; fi");
    let (code, _) = Driver::start(&world, &["fail@m/deploy/guest"]).finish();
    assert_eq!(code, None);
    assert_eq!(world.status("m/deploy/disk0"), TaskStatus::Undoing);
    world.unhook();
    let report = world.rollback(false, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert!((&world.things() - &keeps(&tasks)).is_empty(), "{:?}", world.things());
    world.assert_sound();
}

#[test]
fn a_script_that_outlived_its_executor_is_ended_before_its_task_is_looked_at() {
    let world = World::new();
    let plan = manifest(vec![task("m/create", &[])], OnFailure::Keep);
    world.freeze(&plan);
    let (begun, never) = (world.pipe("begun"), world.pipe("never"));
    world.hook(&format!("if [ $word = apply ]; then echo $$ > {begun}; read -r line < {never}; make; fi"));
    let mut driver = Driver::start(&world, &[]);
    let script: u32 = read_pipe(&begun).trim().parse().unwrap();
    driver.kill();
    let is_alive = || replant::journal::ProcessStat::of(script).is_some_and(|stat| stat.state != 'Z');
    assert!(is_alive(), "the script has a group of its own and survives");
    world.unhook();
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    assert!(!is_alive());
    assert_eq!(report.recovered.len(), 1);
    world.assert_sound();
}
