//! SIGKILL at moments that nobody chose. The long form is `cargo bench --bench executor -- kills`.

use std::collections::BTreeSet;

use replant::execute::Outcome;
use replant::journal::TaskStatus;
use replant::plan::OnFailure;

use super::driver::Driver;
use super::world::*;

#[test]
fn killed_again_and_again_it_gets_to_the_end_and_does_nothing_twice() {
    let world = World::new();
    let tasks: Vec<_> = (0..60)
        .flat_map(|n| {
            let (create, deploy) = (format!("m{n}/create"), format!("m{n}/deploy"));
            [task(&create, &[]), task(&deploy, &[&create])]
        })
        .collect();
    let plan = manifest(tasks.clone(), OnFailure::Keep);
    world.freeze(&plan);
    // Each life ends when so many calls of scripts were made: wherever the executor is then.
    for life in 1..=12 {
        let mut driver = Driver::start(&world, &[]);
        let enough = life * 15;
        while world.calls_raw() < enough && !driver.has_ended() {
            std::thread::yield_now();
        }
        driver.kill();
        world.reader().verify().unwrap();
    }
    let cut_off: BTreeSet<String> = world
        .ledger()
        .entries
        .into_iter()
        .filter(|(_, entry)| entry.status == TaskStatus::Running)
        .map(|(task, _)| task.to_string())
        .collect();
    let report = world.apply(&plan, &[]).unwrap();
    assert_eq!(report.outcome, Outcome::Done, "{report:?}");
    let named: BTreeSet<String> = report.recovered.iter().map(ToString::to_string).collect();
    assert_eq!(named, cut_off, "what was cut off is named");
    assert_eq!(world.things(), addresses(&tasks).into_iter().collect());
    world.assert_sound();
}
