//! The plans that come with the project are valid, without any disk existing.

use replant::plan::load;

use super::files::{plans_in, rendered};

#[test]
fn every_ready_made_plan_is_valid_without_a_warning() {
    let plans = plans_in("plans");
    assert!(plans.len() >= 6, "{plans:?}");
    for path in plans {
        match load(&path) {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{path}:\n{}", rendered(&warnings)),
            Err(found) => panic!("{path}:\n{}", rendered(&found)),
        }
    }
}

#[test]
fn the_fleet_is_put_together_from_its_files() {
    let (plan, _) = load("plans/fleet.yaml".into()).unwrap();
    assert_eq!(plan.files.len(), 4);
    assert_eq!(plan.machines.len(), 5);
    assert_eq!(plan.hosts.len(), 2);
    assert_eq!(plan.root, camino::Utf8Path::new("plans").canonicalize_utf8().unwrap());
    // The first file says nothing of the role: an included one's defaults hold for every machine.
    assert!(plan.machines.iter().all(|machine| machine.workload.role == replant::plan::Role::Training));
    let training = plan.waves.iter().find(|wave| wave.name.value == "training").unwrap();
    assert_eq!(training.max_failures, Some(1), "50% of two machines");
}
