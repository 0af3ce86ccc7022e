//! `replant assess --write`: hosts and sizes in the plan's own files.

use crate::common::TestSite;

const PLAN: &str = r#"# The fleet of the branch office.
replant: 1
name: fleet          # a comment
hosts:
  a: { provider: qemu, capacity: { memory: 8GiB } }
  b: { provider: qemu, capacity: { memory: 64GiB } }
defaults: { target: { host: a } }
machines:
  # the shop
  - name: web01      # keep me
    source: { disks: [{ path: a.raw }] }
    inventory: { memory: 10GiB, cpus: 2 }
  - name: web02
    source: { disks: [{ path: b.raw }] }
    target:
      # where it was
      host: a        # until now
      memory: 12GiB
    inventory: { memory: 10GiB, cpus: 4 }
  - { name: web03, source: { disks: [{ path: c.raw }] }, inventory: { memory: 9GiB, cpus: 1 }, target: { host: "a" } }
  - { name: web04, source: { disks: [{ path: d.raw }] }, inventory: { memory: 9GiB, cpus: 1 } }
"#;

#[test]
fn hosts_and_sizes_are_written_and_all_else_stays() {
    let site = TestSite::new();
    site.write("plan.yaml", PLAN);
    let finished = site.replant(&["assess", "plan.yaml", "--write"]);
    assert!(finished.stderr.contains("written: plan.yaml"), "{}", finished.stderr);
    let written = site.read("plan.yaml");
    for part in [
        "  - name: web01      # keep me\n    target: { host: b, memory: 10GiB, cpus: 2 }\n    source:",
        "      # where it was\n      cpus: 4\n      host: b        # until now\n      memory: 12GiB\n",
        "target: { memory: 9GiB, cpus: 1, host: b } }",
        "- { name: web04, target: { host: b, memory: 9GiB, cpus: 1 }, source:",
    ] {
        assert!(written.contains(part), "no `{part}` in {written}");
    }
    let comments = |text: &str| text.lines().filter(|line| line.contains('#')).count();
    assert_eq!(comments(&written), comments(PLAN));
    site.replant(&["assess", "plan.yaml"]).expect(0);
    let again = site.replant(&["assess", "plan.yaml", "--write"]).expect(0);
    assert!(again.stderr.contains("nothing to write"), "{}", again.stderr);
    assert_eq!(site.read("plan.yaml"), written, "a second time changes nothing");
}

#[test]
fn files_that_are_included_are_edited_too() {
    let site = TestSite::new();
    let (head, machines) = PLAN.split_once("machines:\n").expect("a plan");
    site.write("plan.yaml", format!("{head}include: [more/machines.yaml]\n"));
    site.write("more/machines.yaml", format!("replant: 1\nmachines:\n{machines}"));
    let finished = site.replant(&["assess", "plan.yaml", "--write"]);
    assert!(finished.stderr.contains("written: more/machines.yaml"), "{}", finished.stderr);
    assert!(site.read("more/machines.yaml").contains("target: { host: b, memory: 10GiB, cpus: 2 }"));
    assert_eq!(site.read("plan.yaml"), format!("{head}include: [more/machines.yaml]\n"));
}

#[test]
fn a_shared_target_and_a_machine_without_a_place_are_refused_and_nothing_is_written() {
    let site = TestSite::new();
    let shared = PLAN
        .replace("target: { host: \"a\" }", "target: &t { host: a }")
        .replace("inventory: { memory: 9GiB, cpus: 1 } }", "inventory: { memory: 9GiB, cpus: 1 }, target: *t }");
    site.write("plan.yaml", &shared);
    let finished = site.replant(&["assess", "plan.yaml", "--write"]).expect(3);
    assert!(finished.stderr.contains("cannot be changed alone"), "{}", finished.stderr);
    assert_eq!(site.read("plan.yaml"), shared);
    let crowded = PLAN.replace("64GiB", "16GiB");
    site.write("plan.yaml", &crowded);
    let finished = site.replant(&["assess", "plan.yaml", "--write"]).expect(3);
    assert!(finished.stderr.contains("not every machine has a place"), "{}", finished.stderr);
    assert_eq!(site.read("plan.yaml"), crowded);
}
