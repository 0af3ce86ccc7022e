//! Ctrl-C in three stages, with real signals to a real process.

use replant::execute::Outcome;
use replant::journal::{Event, TaskStatus};
use replant::plan::OnFailure;
use rustix::process::Signal;

use super::driver::Driver;
use super::world::*;

/// A world whose first task says that it has begun, and then does `then`.
fn world(then: &str) -> (World, replant::freeze::RunManifest, camino::Utf8PathBuf) {
    let world = World::new();
    let plan = manifest(vec![task("m/create", &[]), task("m/deploy", &["m/create"])], OnFailure::Rollback);
    world.freeze(&plan);
    let begun = world.pipe("begun");
    world.hook(&format!("if [ \"$word $REPLANT_TASK\" = 'apply m/create' ]; then {then} fi"));
    (world, plan, begun)
}

fn stages(world: &World) -> Vec<u8> {
    let records = world.reader().records(1).unwrap();
    let stage = |event| if let Event::Interrupted { stage, .. } = event { Some(stage) } else { None };
    records.into_iter().filter_map(|record| stage(record.event)).collect()
}

#[test]
fn once_waits_for_what_runs_and_starts_nothing_new() {
    let (world, plan, begun) = world("echo > $REPLANT_ROOT/begun; read -r line < $REPLANT_ROOT/go;");
    let go = world.pipe("go");
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    driver.signal(Signal::INT);
    let line = driver.wait_for("stopping");
    assert!(line.contains("nothing new starts; awaiting m/create"), "{line}");
    write_pipe(&go, "go\n");
    let (code, rest) = driver.finish();
    assert_eq!(code, Some(130), "{rest}");
    assert!(rest.contains("`apply` again resumes"), "{rest}");
    assert_eq!(world.status("m/create"), TaskStatus::Applied, "what ran was awaited and recorded");
    assert_eq!(world.status("m/deploy"), TaskStatus::Pending);
    assert_eq!(stages(&world), [1]);
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
    assert_eq!(world.count("apply m/create"), 1);
}

#[test]
fn twice_sends_sigterm_to_what_runs() {
    let (world, plan, begun) = world(
        "trap 'echo reached a checkpoint; exit 1' TERM; echo > $REPLANT_ROOT/begun;
         while :; do read -r line < $REPLANT_ROOT/never; done;",
    );
    world.pipe("never");
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    driver.signal(Signal::INT);
    driver.wait_for("stopping");
    driver.signal(Signal::INT);
    let line = driver.wait_for("stopping");
    assert!(line.contains("SIGTERM was sent"), "{line}");
    let (code, rest) = driver.finish();
    assert_eq!(code, Some(130), "{rest}");
    let entry = world.ledger().entries.into_values().next().unwrap();
    assert_eq!(entry.status, TaskStatus::Failed);
    assert_eq!(entry.message.unwrap(), "ended by SIGTERM, as asked: reached a checkpoint");
    assert_eq!(stages(&world), [1, 2]);
    world.unhook();
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done, "it was interrupted, not rolled back");
}

#[test]
fn three_times_sends_sigkill() {
    let (world, plan, begun) =
        world("trap '' TERM; echo > $REPLANT_ROOT/begun; while :; do read -r line < $REPLANT_ROOT/never; done;");
    world.pipe("never");
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    for stage in ["nothing new", "SIGTERM", "SIGKILL"] {
        driver.signal(Signal::INT);
        let line = driver.wait_for("stopping");
        assert!(line.contains(stage), "{line}");
    }
    let (code, rest) = driver.finish();
    assert_eq!(code, Some(130), "{rest}");
    assert_eq!(stages(&world), [1, 2, 3]);
    assert_eq!(world.status("m/create"), TaskStatus::Failed);
    world.unhook();
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
    world.assert_sound();
}

#[test]
fn sigterm_to_the_executor_counts_like_ctrl_c() {
    let (world, _, begun) = world("echo > $REPLANT_ROOT/begun; read -r line < $REPLANT_ROOT/go;");
    let go = world.pipe("go");
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    driver.signal(Signal::TERM);
    let line = driver.wait_for("stopping");
    assert!(line.contains("stopping (SIGTERM): nothing new starts"), "{line}");
    write_pipe(&go, "go\n");
    assert_eq!(driver.finish().0, Some(130));
}
