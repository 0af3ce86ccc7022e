//! Two processes at one plan.

use replant::execute::{ExecuteError, Outcome};
use replant::journal::{Event, JournalError};
use replant::plan::OnFailure;

use super::driver::Driver;
use super::world::*;

#[test]
fn the_second_of_two_applies_is_told_who_is_at_it() {
    let world = World::new();
    let plan = manifest(vec![task("m/create", &[])], OnFailure::Keep);
    world.freeze(&plan);
    let (begun, go) = (world.pipe("begun"), world.pipe("go"));
    world.hook(&format!("if [ $word = apply ]; then echo > {begun}; read -r line < {go}; fi"));
    let driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    let error = world.apply(&plan, &[]).unwrap_err();
    let ExecuteError::Journal(JournalError::Locked { scopes, holder }) = &error else { panic!("{error}") };
    assert_eq!((scopes.as_slice(), holder.process.pid), (&["m".to_owned()][..], driver.pid()));
    let text = format!("{}", std::error::Error::source(&error).unwrap_or(&error));
    assert!(text.contains("`the driver`"), "{text}");
    // Reading needs no lock; other machines can be worked on.
    assert_eq!(world.reader().holders().unwrap().len(), 1);
    let other = manifest(vec![task("n/create", &[])], OnFailure::Keep);
    world.unhook();
    assert_eq!(world.apply(&other, &[]).unwrap().outcome, Outcome::Done);
    write_pipe(&go, "go\n");
    assert_eq!(driver.finish().0, Some(0));
    assert!(world.reader().holders().unwrap().is_empty());
    world.assert_sound();
}

#[test]
fn the_lease_of_a_dead_process_is_taken_over() {
    let world = World::new();
    let plan = manifest(vec![task("m/create", &[]), task("m/deploy", &["m/create"])], OnFailure::Keep);
    world.freeze(&plan);
    assert_eq!(Driver::start(&world, &["crash-after@m/create"]).finish().0, None);
    let holders = world.reader().holders().unwrap();
    assert_eq!(holders.len(), 1);
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done);
    let taken = world.reader().records(1).unwrap().into_iter().find_map(|record| match record.event {
        Event::LeaseTakenOver { scopes, from_epoch, .. } => Some((scopes, from_epoch, record.epoch)),
        _ => None,
    });
    let (scopes, before, after) = taken.expect("it is recorded");
    assert_eq!((scopes, before), (vec!["m".to_owned()], holders[0].0.epoch));
    assert!(after > before, "the epoch rises");
    assert!(world.reader().holders().unwrap().is_empty());
}

#[test]
fn an_executor_that_lost_its_lease_starts_nothing_more() {
    let world = World::new();
    let plan = manifest(vec![task("m/create", &[]), task("m/deploy", &["m/create"])], OnFailure::Rollback);
    world.freeze(&plan);
    let (begun, go) = (world.pipe("begun"), world.pipe("go"));
    world.hook(&format!("if [ $word = apply ]; then echo > {begun}; read -r line < {go}; fi"));
    let mut driver = Driver::start(&world, &[]);
    read_pipe(&begun);
    // Somebody who takes it for dead (on another system, say) takes over.
    let connection = rusqlite::Connection::open(replant::journal::journal_path(&world.root)).unwrap();
    connection.execute("UPDATE holder SET fenced = 1", []).unwrap();
    write_pipe(&go, "go\n");
    let line = driver.wait_for("stopping");
    assert!(line.contains("was taken over"), "{line}");
    assert_ne!(driver.finish().0, Some(0));
    assert_eq!(world.count("check m/deploy"), 0);
    assert_eq!(world.ledger().entries.len(), 1, "what it did then is for the new holder to look at");
}
