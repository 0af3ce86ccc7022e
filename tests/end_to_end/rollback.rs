//! A failure at every task, with `on_failure: rollback`: nothing that the run made is left.

use super::Migration;

const MACHINE: &str = "inventory: { memory: 512MiB, cpus: 1, firmware: bios }\n\
                       target: { host: local }\npost_deploy: { action: stop }\non_failure: rollback";

#[test]
fn a_failure_at_any_task_leaves_the_world_as_it_was() {
    let tasks = Migration::new(MACHINE).tasks();
    assert!(tasks.len() >= 9, "a plan with two disks: {tasks:?}");
    for task in &tasks {
        // A site of its own each time: finished images are kept, and would be found the next time.
        let migration = Migration::new(MACHINE);
        // Somebody else's VM in the same folder must survive everything.
        migration.site.write("vms/other/disk0.qcow2", "not ours");
        let (source, before) = (migration.source_digest(), migration.world());
        let output = migration.apply(&["--inject", &format!("fail@{task}")]).output().expect("replant starts");
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(4), "fail@{task}\n{printed}");
        assert_eq!(migration.world(), before, "fail@{task} left something behind, or took something away\n{printed}");
        assert_eq!(migration.source_digest(), source, "fail@{task} touched the source");
        assert_eq!(migration.site.read("vms/other/disk0.qcow2"), "not ours");
    }
}
