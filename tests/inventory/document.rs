//! The document: XML, JSON, its schema, merging, comparing, and a plan bound to it.

use std::process::{Command, Stdio};

use replant::hardware::Firmware;
use replant::inventory::document::{diff, from_json, from_xml, plain_facts, to_json, to_xml, xml_schema};
use replant::inventory::model::{
    Addressing, Bus, Disk, Document, Fact, Facts, Method, Nic, Observation, OsFamily, Service, StartMode, text,
};
use replant::units::{ByteCount, ByteRate, Frequency, Percent};

use crate::common::{TestSite, require_tool};

pub fn observation(how: Method) -> Observation {
    Observation {
        by: "a test & its <friends>".into(),
        how,
        source: Some("file \"x\"".into()),
        when: Some("2026-11-22T20:10:55Z".parse().expect("a time")),
    }
}

fn sample() -> Document {
    let mut facts = Facts::default();
    facts.os.family = Some(Fact::of(OsFamily::Linux));
    facts.os.name = text("Debian <12> & \"friends\"\nsecond line");
    facts.os.roles = vec![Fact::of("cluster-node".into()), Fact::of("dns".into())];
    facts.system.firmware = Some(Fact::of(Firmware::Uefi));
    facts.system.memory = Some(Fact::of(ByteCount(8 << 30)));
    facts.system.processor.count = Some(Fact::of(4));
    facts.system.processor.frequency = Some(Fact::of(Frequency::megahertz(2400)));
    facts.storage.disks.push(Disk {
        name: text("sda"),
        bus: Some(Fact::of(Bus::Scsi)),
        size: Some(Fact::of(ByteCount(100 << 30))),
        boot: Some(Fact::of(true)),
        ..Disk::default()
    });
    facts.network.nics.push(Nic {
        name: text("eth0"),
        mac: text("52:54:00:12:34:56"),
        speed: Some(Fact::of(ByteRate(125_000_000))),
        addressing: Some(Fact::of(Addressing::Static)),
        addresses: vec![Fact::of("192.0.2.17/24".into()), Fact::of("2001:db8::17/64".into())],
        ..Nic::default()
    });
    facts.software.services.push(Service {
        name: text("ssh"),
        start: Some(Fact::of(StartMode::Automatic)),
        ..Service::default()
    });
    facts.utilisation.cpu = Some(Fact::of(Percent(1234)));
    facts.utilisation.memory = Some(Fact::of(ByteCount(3 << 30)));
    Document::new("web01", observation(Method::Ssh), facts)
}

/// Checks XML with `xmllint` against the schema.
#[track_caller]
pub fn assert_valid(xml: &str) {
    require_tool("xmllint", "libxml2-utils");
    let folder = tempfile::tempdir().expect("a folder");
    let (schema, file) = (folder.path().join("inventory-1.xsd"), folder.path().join("machine.xml"));
    std::fs::write(&schema, xml_schema()).expect("written");
    std::fs::write(&file, xml).expect("written");
    let output = Command::new("xmllint")
        .args(["--noout", "--schema"])
        .args([&schema, &file])
        .stdin(Stdio::null())
        .output()
        .expect("xmllint runs");
    assert!(output.status.success(), "{}\n{xml}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_document_survives_xml_and_json() {
    let document = sample();
    let xml = to_xml(&document);
    assert_valid(&xml);
    assert_eq!(from_xml(&xml).expect("read back"), document);
    let json = serde_json::to_string(&to_json(&document)).expect("JSON");
    assert_eq!(from_json(&json).expect("read back"), document);
    insta::assert_snapshot!(xml);
}

#[test]
fn the_shipped_schema_is_the_models() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/inventory-1.xsd"));
    let same = shipped.is_ok_and(|shipped| shipped == xml_schema());
    assert!(same, "run `replant schema inventory > schemas/inventory-1.xsd`");
}

#[test]
fn rules_see_plain_values_and_lists_that_are_always_there() {
    let plain = plain_facts(&sample().facts);
    assert_eq!(plain["system"]["memory"], 8_u64 << 30);
    assert_eq!(plain["network"]["nics"][0]["speed"], 1_000_000_000_u64);
    assert_eq!(plain["storage"]["disks"][0]["boot"], true);
    assert_eq!(plain["utilisation"]["cpu"], 12.34);
    assert_eq!(plain["hardware"]["pci"], serde_json::json!([]));
    assert!(plain["os"].get("kernel").is_none(), "what is not known is absent");
}

#[test]
fn a_newer_observation_wins_and_each_fact_keeps_its_own() {
    let mut document = sample();
    let mut newer = Facts::default();
    newer.system.memory = Some(Fact::of(ByteCount(16 << 30)));
    newer.storage.disks.push(Disk { name: text("sda"), used: Some(Fact::of(ByteCount(1 << 30))), ..Disk::default() });
    newer.storage.disks.push(Disk { name: text("sdb"), ..Disk::default() });
    document.merge(Document::new("web01", observation(Method::Rvtools), newer));
    assert_eq!(document.facts.system.memory, Some(Fact { value: ByteCount(16 << 30), from: 1 }));
    assert_eq!(document.facts.storage.disks.len(), 2);
    let sda = &document.facts.storage.disks[0];
    assert_eq!((sda.size.as_ref().map(|f| f.from), sda.used.as_ref().map(|f| f.from)), (Some(0), Some(1)));
    let xml = to_xml(&document);
    assert_valid(&xml);
    assert_eq!(from_xml(&xml).expect("read back"), document);
    for _ in 0..5 {
        document.merge(sample());
    }
    assert_eq!(document.observations.len(), 2, "an observation that no fact comes from any more is dropped");
}

#[test]
fn what_changed_is_named_fact_by_fact() {
    let old = sample();
    let mut new = sample();
    new.facts.system.memory = Some(Fact::of(ByteCount(4 << 30)));
    new.facts.storage.disks[0].size = None;
    new.facts.network.nics[0].addresses.reverse();
    new.facts.software.services.push(Service {
        name: text("cron"),
        running: Some(Fact::of(true)),
        ..Service::default()
    });
    let changes: Vec<String> = diff(&old, &new)
        .iter()
        .map(|one| format!("{} {:?} {:?}", one.fact, one.old.as_deref(), one.new.as_deref()))
        .collect();
    assert_eq!(
        changes,
        [
            r#"software.service[cron].name None Some("cron")"#,
            r#"software.service[cron].running None Some("true")"#,
            r#"storage.disk[sda].size Some("107374182400") None"#,
            r#"system.memory Some("8589934592") Some("4294967296")"#,
        ]
    );
}

const PLAN: &str = "replant: 1
name: bound
hosts: { local: { provider: qemu, capacity: { frequency: 3000MHz, cores: 4 } } }
machines:
  - { name: web01, source: { disks: [{ path: a.raw }] }, inventory: facts/web01.xml, target: { host: local } }
";

#[test]
fn a_plan_takes_what_it_leaves_open_from_the_document() {
    let site = TestSite::new();
    site.write("facts/web01.xml", to_xml(&sample()));
    site.write("plan.yaml", PLAN);
    let report = site.replant(&["assess", "plan.yaml", "--explain", "web01"]).expect(0).stdout;
    assert!(report.contains("cpu-demand = 1184.64 MHz"), "4 x 2400 MHz x 12.34 %: {report}");
    assert!(report.contains("facts/web01.xml:"), "{report}");
    let own = PLAN.replace("facts/web01.xml", "{ document: facts/web01.xml, cpus: 2 }");
    site.write("plan.yaml", own);
    let report = site.replant(&["assess", "plan.yaml", "--explain", "web01"]).expect(0).stdout;
    assert!(report.contains("cpu-demand = 592.32 MHz"), "what the plan declares itself holds: {report}");
}

#[test]
fn flaws_of_a_document_are_all_reported_with_their_lines() {
    let site = TestSite::new();
    let xml = to_xml(&sample())
        .replace("<memory>8589934592<", "<memory>8 GB<")
        .replace("<firmware>uefi<", "<firmwear>uefi<")
        .replace("</firmware>", "</firmwear>")
        .replace("<bus>scsi<", "<bus from=\"o7\">scuzzy<");
    site.write("facts/web01.xml", xml);
    site.write("plan.yaml", PLAN);
    let stderr = site.replant(&["validate", "plan.yaml"]).expect(3).stderr;
    for part in [
        "`memory` cannot be `8 GB`",
        "write a whole number of bytes",
        "did you mean `firmware`?",
        "`bus` cannot be `scuzzy`",
        "no observation has the id `o7`",
        "facts/web01.xml:",
        "plan.yaml:5",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    site.write("plan.yaml", PLAN.replace("web01.xml", "nothing.xml"));
    let stderr = site.replant(&["validate", "plan.yaml"]).expect(3).stderr;
    assert!(stderr.contains("nothing.xml") && stderr.contains("named here"), "{stderr}");
}
