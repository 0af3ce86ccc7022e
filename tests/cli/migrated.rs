//! A machine that is migrated is left alone by whatever comes later.

use std::fs;

use super::site::{edit, site};

#[test]
fn a_migrated_machine_is_left_alone_when_its_settings_change() {
    let site = site();
    site.replant(&["apply", "plan.yaml", "--yes", "--machine", "web01"]).expect(0);
    let disk = fs::read(site.join("vms/web01/disk0.qcow2")).unwrap();
    edit(&site, "memory: 256MiB", "memory: 512MiB");
    let plan = site.replant(&["plan", "plan.yaml"]).expect(0).stdout;
    assert!(plan.contains("web01 is past its point of no return and stays as it is"), "{plan}");
    site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    assert_eq!(fs::read(site.join("vms/web01/disk0.qcow2")).unwrap(), disk);
    assert!(site.read("vms/web01/vm.json").contains("268435456"), "{}", site.read("vms/web01/vm.json"));
    assert!(site.read("vms/db01/vm.json").contains("536870912"), "{}", site.read("vms/db01/vm.json"));
}

#[test]
fn the_others_go_on_when_a_migrated_source_is_gone() {
    let site = site();
    let gone = || fs::rename(site.join("source/web01-b.raw"), site.join("away.raw")).unwrap();
    gone();
    let refused = site.replant(&["plan", "plan.yaml"]).expect(3);
    assert!(refused.stderr.contains("source/web01-b.raw"), "{}", refused.stderr);
    fs::rename(site.join("away.raw"), site.join("source/web01-b.raw")).unwrap();
    site.replant(&["apply", "plan.yaml", "--yes", "--machine", "web01"]).expect(0);
    gone();
    let plan = site.replant(&["plan", "plan.yaml"]).expect(0);
    assert!(plan.stderr.contains("`web01` is migrated and its source is gone"), "{}", plan.stderr);
    assert!(plan.stdout.contains("db01"), "{}", plan.stdout);
    site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    site.replant(&["plan", "plan.yaml", "--detailed-exitcode"]).expect(0);
}

#[test]
fn status_shows_no_cleanup_of_an_earlier_failure() {
    let site = site();
    edit(&site, "defaults:\n", "defaults:\n  on_failure: rollback\n");
    site.replant(&["apply", "plan.yaml", "--yes", "--inject", "fail@web01/deploy/disk1"]).expect(4);
    let status = site.replant(&["status"]).expect(0).stdout;
    assert!(status.contains("cleanup"), "{status}");
    site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    let status = site.replant(&["status"]).expect(0).stdout;
    assert!(!status.contains("cleanup"), "{status}");
}
