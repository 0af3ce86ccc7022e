use crate::end_to_end::{Migration, Running, marker, run};

#[test]
fn a_vm_pulls_its_disks_in_the_agent_and_boots() {
    let migration = Migration::new(
        "inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: \"52:54:00:aa:bb:01\", name: ens3 }] }\n\
         target: { host: local, deploy: agent }\n\
         post_deploy: { action: start, wait_for: QUICKSTART-READY, timeout: 10m }",
    );
    let tasks = migration.tasks();
    assert!(tasks.iter().any(|task| task == "web01/deploy/disks"), "{tasks:?}");
    assert!(!tasks.iter().any(|task| task.starts_with("web01/deploy/disk0")), "{tasks:?}");
    let _running = Running(&migration);
    run(&mut migration.apply(&[]));
    let line = marker(&migration, "QUICKSTART-READY").expect("post-deploy waited for the marker");
    assert_eq!(line, migration.expected(), "the checksums of files on both disks");
    assert_eq!(migration.resume(), Vec::<String>::new(), "nothing runs a second time");
}
