//! A crash before and after every task, then `apply`: the same VM as without the crash, and nothing done twice.

use std::sync::OnceLock;

use super::Migration;

const MACHINE: &str = "inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: \"52:54:00:aa:bb:01\", name: ens3 }] }\ntarget: { host: local }\npost_deploy: { action: stop }";

/// What an uninterrupted run makes of the source, and the tasks it runs.
fn uninterrupted() -> &'static ((String, String), Vec<String>) {
    static RESULT: OnceLock<((String, String), Vec<String>)> = OnceLock::new();
    RESULT.get_or_init(|| {
        let migration = Migration::new(MACHINE);
        let tasks = migration.tasks();
        super::fixture::run(&mut migration.apply(&[]));
        (migration.vm_digest(), tasks)
    })
}

/// Crashes at `when@TASK` for every task, resumes, compares.
fn crash_everywhere(when: &str) {
    let (expected, tasks) = uninterrupted();
    for task in tasks {
        let migration = Migration::new(MACHINE);
        let source = migration.source_digest();
        let crashed = migration.apply(&["--inject", &format!("{when}@{task}")]).output().expect("replant starts");
        assert_eq!(crashed.status.code(), None, "{when}@{task} is a SIGKILL: {crashed:?}");
        let finished = migration.finished();
        let begun = migration.resume();
        for address in &finished {
            assert!(!begun.contains(address), "{when}@{task}: {address} was done before the crash and ran again");
        }
        assert_eq!(migration.finished().len(), tasks.len(), "{when}@{task}: everything is done in the end");
        assert_eq!(&migration.vm_digest(), expected, "{when}@{task}: the VM differs from an uninterrupted run's");
        assert_eq!(migration.source_digest(), source, "{when}@{task}: the source was touched");
    }
}

#[test]
fn a_crash_before_any_task_resumes_to_the_same_vm() {
    crash_everywhere("crash-before");
}

#[test]
fn a_crash_after_any_task_resumes_to_the_same_vm() {
    crash_everywhere("crash-after");
}
