//! A failure at every task, with `on_failure: rollback`: nothing that the run made is left.

use super::Migration;

#[test]
fn a_failure_at_any_task_leaves_the_world_as_it_was() {
    let migration = Migration::new(
        "inventory: { memory: 512MiB, cpus: 1, firmware: bios }\ntarget: { host: local }\npost_deploy: { action: stop }\non_failure: rollback",
    );
    // Somebody else's VM in the same folder must survive everything.
    migration.site.write("vms/other/disk0.qcow2", "not ours");
    let tasks = migration.tasks();
    let source = migration.source_digest();
    let before = migration.world();
    assert!(tasks.len() >= 9, "a plan with two disks: {tasks:?}");
    for task in &tasks {
        let output = migration.apply(&["--inject", &format!("fail@{task}")]).output().expect("replant starts");
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Work that machines share belongs to none of them: it has nothing to roll back.
        let shared = task.starts_with("host:");
        let expected = if shared { [4, 5] } else { [4, 4] };
        let code = output.status.code().unwrap_or(-1);
        assert!(expected.contains(&code), "fail@{task}: exit code {code}\n{printed}");
        assert_eq!(migration.world(), before, "fail@{task} left something behind, or took something away\n{printed}");
        assert_eq!(migration.source_digest(), source, "fail@{task} touched the source");
    }
    assert_eq!(migration.site.read("vms/other/disk0.qcow2"), "not ours");
}
