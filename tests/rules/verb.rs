//! `replant validate` and `plan` with rules, as people run them.

use std::process::Command;

use serde_json::Value;
use serde_yaml::Mapping;

use super::case::write;
use crate::common::{TestSite, require_tool};

fn changes(text: &str) -> Mapping {
    serde_yaml::from_str(text).unwrap()
}

fn site(text: &str) -> TestSite {
    let site = TestSite::new();
    write(&site, &changes(text));
    site
}

const BAD: &str =
    "{ m.inventory.facts.disks.0.snapshots: 2, m.inventory.facts.system.tpm: true, m.target.memory: 16MiB }";

#[test]
fn a_plan_with_a_violated_rule_is_refused_with_all_of_them() {
    let site = site(BAD);
    let finished = site.replant(&["validate", "plan.yaml"]).expect(3);
    for text in ["disk0 has 2 snapshots", "a TPM holds keys", "16 MiB of memory", "rule.disk-snapshots", "merge them"] {
        assert!(finished.stderr.contains(text), "{text}\n{}", finished.stderr);
    }
    assert!(finished.stderr.contains("m0.raw"), "the disk's path is underlined\n{}", finished.stderr);
    let plan = site.replant(&["plan", "plan.yaml"]).expect(3);
    assert!(plan.stderr.contains("rule.memory-limit"), "{}", plan.stderr);
}

#[test]
fn silences_are_shown_with_their_reason_and_refuse_nothing() {
    let site = site(
        "{ m.inventory.facts.devices.0: { kind: dongle, name: HASP }, plan.rules: { silence: [{ id: device-dongle, \
         machines: ['m*'], reason: the licence server moved }, { id: tpm, reason: never }] } }",
    );
    let finished = site.replant(&["validate", "plan.yaml"]).expect(0);
    assert!(
        finished.stdout.contains("silenced: `device-dongle` for 1 (m): the licence server moved"),
        "{}",
        finished.stdout
    );
    assert!(finished.stderr.contains("nothing violates `tpm` where it is silenced"), "{}", finished.stderr);
    let json: Value =
        serde_json::from_str(&site.replant(&["validate", "--json", "plan.yaml"]).expect(0).stdout).unwrap();
    assert_eq!(json["plans"][0]["rules"]["silenced"][0]["reason"], "the licence server moved");
    let wrong = site_with_rules("silence: [{ id: device-dongel, reason: x }]").replant(&["validate", "plan.yaml"]);
    assert!(wrong.expect(3).stderr.contains("did you mean `device-dongle`?"));
}

fn site_with_rules(rules: &str) -> TestSite {
    site(&format!("{{ plan.rules: {{ {rules} }} }}"))
}

#[test]
fn a_plan_adds_rules_of_its_own() {
    let add = "add: [{ id: house-names, severity: warning, violated: \"!machine.name.startsWith('srv')\", \
               message: \"`{machine.name}` is no house name\", help: rename it }]";
    let finished = site_with_rules(add).replant(&["validate", "plan.yaml"]).expect(0);
    assert!(finished.stderr.contains("`m`: `m` is no house name"), "{}", finished.stderr);
    let broken = add.replace("machine.name.startsWith('srv')", "machine.name +");
    let finished = site_with_rules(&broken).replant(&["validate", "plan.yaml"]).expect(3);
    assert!(finished.stderr.contains("rule `house-names`: `violated`: it is not CEL"), "{}", finished.stderr);
    let other = add.replace("house-names", "tpm");
    let finished = site_with_rules(&other).replant(&["validate", "plan.yaml"]).expect(3);
    assert!(finished.stderr.contains("there is a rule `tpm` already"), "{}", finished.stderr);
    let never = add.replace("machine.name.startsWith('srv')", "machine.name.size()");
    let finished = site_with_rules(&never).replant(&["validate", "plan.yaml"]).expect(3);
    assert!(finished.stderr.contains("rule `house-names` cannot be evaluated"), "{}", finished.stderr);
}

#[test]
fn the_report_has_its_sections_and_ends_in_the_verdict() {
    let site = site(BAD);
    let finished = site.replant(&["validate", "--report", "--machine", "m", "plan.yaml"]).expect(3);
    let report = finished.stdout;
    let titles = [
        "Machine m",
        "System\n",
        "Network\n",
        "Storage controllers\n",
        "Disks\n",
        "Other devices\n",
        "Services, drivers and programs\n",
        "System files and updates\n",
        "Target\n",
        "Migration\n",
    ];
    let places: Vec<usize> = titles.iter().map(|t| report.find(t).unwrap_or_else(|| panic!("{t}\n{report}"))).collect();
    assert!(places.is_sorted(), "{report}");
    assert!(report.contains("able to capture: yes") && report.contains("x [disk-snapshots]"), "{report}");
    assert!(report.contains("boots_agent yes"), "which MAC boots the agent\n{report}");
    let last = report.lines().last().unwrap();
    assert!(last.starts_with("verdict: NOT READY (2 errors, 1 warnings"), "{last}");
    let fine = self::site("{}").replant(&["validate", "--report", "plan.yaml"]).expect(0);
    assert!(fine.stdout.lines().last().unwrap().starts_with("verdict: READY AS FAR AS IS KNOWN"), "{}", fine.stdout);
    assert!(fine.stdout.contains("? [os-convertible] unknown: not checked (machine.os.family)"), "{}", fine.stdout);
}

#[test]
fn sarif_and_junit_hold_every_finding() {
    let site = site(BAD);
    let sarif: Value =
        serde_json::from_str(&site.replant(&["validate", "--format", "sarif", "plan.yaml"]).expect(3).stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let of = |id: &str| results.iter().find(|one| one["ruleId"] == id).unwrap_or_else(|| panic!("{id}: {sarif:#}"));
    let snapshot = of("rule.disk-snapshots");
    assert_eq!(snapshot["level"], "error");
    let place = &snapshot["locations"][0]["physicalLocation"];
    assert!(place["artifactLocation"]["uri"].as_str().unwrap().ends_with("plan.yaml"));
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1);
    assert!(results.iter().any(|one| one["kind"] == "open" && one["level"] == "none"), "what is unknown is open");
    let known = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(known.len() >= 80);

    let junit = site.replant(&["validate", "--format", "junit", "plan.yaml"]).expect(3).stdout;
    require_tool("xmllint", "libxml2-utils");
    let path = site.write("junit.xml", &junit);
    assert!(Command::new("xmllint").args(["--noout"]).arg(path).status().unwrap().success());
    let document = roxmltree::Document::parse(&junit).unwrap();
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    assert_eq!(suite.attribute("failures"), Some("2"), "{junit}");
    let skipped = document.descendants().filter(|node| node.has_tag_name("skipped")).count();
    assert_eq!(suite.attribute("skipped"), Some(skipped.to_string().as_str()));
}

#[test]
fn a_reviewer_without_the_disks_is_told_what_was_not_looked_at() {
    let site = site("{}");
    std::fs::remove_file(site.join("m0.raw")).unwrap();
    let finished = site.replant(&["validate", "plan.yaml"]).expect(0);
    assert!(finished.stdout.contains("the disks were not looked at"), "{}", finished.stdout);
    let json: Value =
        serde_json::from_str(&site.replant(&["validate", "--json", "plan.yaml"]).expect(0).stdout).unwrap();
    let unknown = json["plans"][0]["rules"]["unknown"].as_array().unwrap();
    assert!(unknown.iter().any(|one| one["rule"] == "host-space-used" && one["fact"] == "host.disk_used"), "{json:#}");
}

#[test]
fn a_preview_says_how_much_could_not_be_checked() {
    let site = site("{ plan.store: { path: store, encryption: none } }");
    let finished = site.replant(&["plan", "plan.yaml"]);
    assert!(finished.stdout.contains("unknown: not checked"), "{}{}", finished.stdout, finished.stderr);
}

/// What an agent's build keeps of its drivers, for two of the three devices of a machine.
const DRIVERS: &str = r#"{ "kernel": "6.1.0", "carried": ["e1000", "ahci"], "aliases": [
    ["pci:v00008086d0000100Esv*sd*bc*sc*i*", "e1000"], ["pci:v*d*sv*sd*bc01sc06i01*", "ahci"],
    ["pci:v00001000d0000005Bsv*sd*bc*sc*i*", "megaraid_sas"]] }"#;

/// A document with an adapter, an AHCI controller that only its class tells, and a RAID controller.
const DOCUMENT: &str = r#"<machine xmlns="https://replant.invalid/schema/inventory-1" version="1" name="m" from="o1">
  <observation id="o1" how="ssh" by="me"/>
  <storage><controller><name>AHCI</name><bus>sata</bus><pci_id>8086:2922</pci_id></controller>
    <controller><name>PERC</name><bus>raid</bus><pci_id>1000:005b</pci_id></controller>
    <volume><name>sda1</name><file_system>ext4</file_system><mounted_at>/</mounted_at><hosts_os>true</hosts_os><capture>used-blocks</capture></volume></storage>
  <network><nic><name>eth0</name><mac>52:54:00:00:00:01</mac><kind>ethernet</kind><pci_id>8086:100e</pci_id></nic></network>
  <hardware><pci><slot>0000:00:1f.2</slot><id>8086:2922</id><class>0106</class></pci></hardware>
  <software><service><name>backup</name><start>automatic</start></service></software>
</machine>"#;

#[test]
fn the_agents_drivers_are_checked_where_the_agent_boots_on_the_source() {
    let site = site(
        "{ h.provider: toy, m.inventory.document: m.xml, m.inventory.facts.controllers: null, \
         m.inventory.facts.nics.0: { mac: '52:54:00:00:00:01', dhcp: true, boots_agent: true } }",
    );
    site.write("m.xml", DOCUMENT);
    let before = site.replant(&["validate", "--report", "--machine", "m", "plan.yaml"]);
    assert!(
        before.stdout.contains("? [controller-driver] unknown: not checked"),
        "no agent was built: {}",
        before.stdout
    );
    site.write(".replant/agent/drivers.json", DRIVERS);
    let report = site.replant(&["validate", "--report", "--machine", "m", "plan.yaml"]).expect(3).stdout;
    for part in [
        "x [controller-driver] the agent has no driver for the storage controller `PERC` (1000:005b)",
        "name AHCI, kind sata, pci 8086:2922, agent has a driver: yes",
        "pci 8086:100e, agent has a driver: yes",
        "PERC, kind raid, pci 1000:005b, agent has a driver: NO",
        "sda1: ext4, mounted at /, hosts the operating system; able to capture: yes, its used blocks",
        "start modes of services: backup (automatic)",
    ] {
        assert!(report.contains(part), "no `{part}` in {report}");
    }
    assert!(!report.contains("[nic-driver]"), "{report}");
    let plan = site.replant(&["plan", "plan.yaml"]).expect(3).stderr;
    assert!(plan.contains("rule.controller-driver"), "{plan}");
    site.write("other/drivers.json", DRIVERS.replace("\"ahci\"", "\"ahci\", \"megaraid_sas\""));
    let other = site.replant(&["validate", "--agent", "other", "plan.yaml"]);
    assert!(!other.stderr.contains("controller-driver"), "{}", other.stderr);
    let missing = site.replant(&["validate", "--agent", "nowhere", "plan.yaml"]).expect(1).stderr;
    assert!(missing.contains("nowhere/drivers.json") && missing.contains("replant agent build"), "{missing}");
}
