//! The migrated machine boots and says so; a plain copy of its disks does not.

use super::Migration;
use super::fixture::run;

const NIC: &str =
    "inventory: { memory: 512MiB, cpus: 1, firmware: bios, nics: [{ mac: \"52:54:00:aa:bb:01\", name: ens3 }] }";

/// Stops the VM when the test ends, however it ends.
pub struct Running<'a>(pub &'a Migration);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let stopped = self.0.site.replant(&["vm", "stop", "--folder", "vms/web01", "--force"]);
        if stopped.code != 0 && !std::thread::panicking() {
            panic!("the VM could not be stopped: {}", stopped.stderr);
        }
    }
}

/// The last line of the VM's console that begins with `marker`.
pub fn marker(migration: &Migration, marker: &str) -> Option<String> {
    let console = std::fs::read(migration.site.join("vms/web01/console.log")).expect("the console is logged");
    let text = String::from_utf8_lossy(&console).into_owned();
    text.lines().rev().find_map(|line| line.find(marker).map(|at| line[at..].trim().to_owned()))
}

#[test]
fn the_migrated_machine_boots_with_every_file_as_it_was() {
    let migration = Migration::new(&format!(
        "{NIC}\ntarget: {{ host: local }}\npost_deploy: {{ action: start, wait_for: QUICKSTART-READY, timeout: 10m }}"
    ));
    run(&mut migration.apply(&[]));
    let _running = Running(&migration);
    let line = marker(&migration, "QUICKSTART-READY").expect("post-deploy waited for the marker");
    assert_eq!(line, migration.expected(), "the checksums of files on both disks");
    assert_eq!(migration.resume(), Vec::<String>::new(), "nothing runs a second time");
}

#[test]
fn a_plain_copy_of_the_same_disks_does_not_boot() {
    let migration = Migration::new(&format!(
        "{NIC}\ntarget: {{ host: local }}\nguest: {{ convert: none }}\n\
         post_deploy: {{ action: start, wait_for: \"ALERT!\", timeout: 10m }}"
    ));
    run(&mut migration.apply(&[]));
    let _running = Running(&migration);
    let line = marker(&migration, "ALERT!").expect("post-deploy waited for the failure");
    assert!(line.contains("/dev/sda1 does not exist"), "{line}");
    assert_eq!(
        marker(&migration, "QUICKSTART-READY"),
        None,
        "the copy needs no conversion, so the proof is worth nothing"
    );
}
