//! The journal's own disk is full.

use std::fs;

use replant::execute::Outcome;
use replant::plan::OnFailure;

use super::driver::{Driver, ERROR};
use super::world::*;
use crate::common::SmallDisk;

/// Without room for a record nothing more starts; with room again the run goes on, and what was done stays done.
#[test]
fn a_full_journal_disk_stops_the_run_and_loses_nothing() {
    let world = World::new();
    let disk = SmallDisk::mount(world.root.join(".replant"), 4 << 20);
    // The second task's script leaves no byte free; what it has done itself cannot be recorded then.
    let fill = "if [ \"$word $REPLANT_TASK\" = 'apply m/b' ]; then \
                cat /dev/zero > \"$REPLANT_ROOT/.replant/filler\" 2>/dev/null || :; fi\n";
    world.hook(fill);
    let mut tasks = vec![task("m/a", &[]), task("m/b", &["m/a"])];
    let names: Vec<String> = (0..40).map(|number| format!("m/later{number}")).collect();
    let before: Vec<&str> = std::iter::once("m/b").chain(names.iter().map(String::as_str)).collect();
    tasks.extend(names.iter().zip(&before).map(|(name, before)| task(name, &[before])));
    let plan = manifest(tasks, OnFailure::Keep);
    world.freeze(&plan);
    let (code, output) = Driver::start(&world, &[]).finish();
    assert_ne!(code, Some(0), "no record can be written: {output}");
    let text = fs::read_to_string(world.root.join(ERROR)).unwrap();
    assert!(text.contains("full") || text.contains("No space left"), "{text}");
    assert!(text.contains(".replant"), "it names what is full: {text}");
    let stopped = world.calls();
    assert!(!stopped.contains(&"apply m/later39".to_owned()), "nothing starts without a durable intent");

    fs::remove_file(world.root.join(".replant/filler")).unwrap();
    world.unhook();
    assert_eq!(world.apply(&plan, &[]).unwrap().outcome, Outcome::Done);
    let calls = world.calls();
    assert_eq!(calls.iter().filter(|call| *call == "apply m/a").count(), 1, "it was recorded before: {calls:#?}");
    assert_eq!(world.things().len(), 42);
    drop(disk);
}
