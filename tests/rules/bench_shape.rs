//! Many machines: findings are grouped, and of a rule that all violate a few are spelled out.

use replant::assess::assess_unseen;
use replant::assess::rules::NotAsked;
use replant::provider::Catalog;

use crate::common::TestSite;

#[test]
fn violations_of_a_fleet_are_counted_not_repeated() {
    let site = TestSite::new();
    let mut plan = String::from("replant: 1\nname: fleet\nhosts: { h: { provider: qemu } }\nmachines:\n");
    for at in 0..200 {
        plan.push_str(&format!(
            "  - {{ name: m{at:03}, source: {{ disks: [{{ path: m{at}.raw }}] }}, target: {{ host: h, memory: 8TiB, cpus: 1 }} }}\n"
        ));
    }
    site.write("plan.yaml", plan);
    let path = camino::Utf8PathBuf::from_path_buf(site.join("plan.yaml")).unwrap();
    let (plan, _) = replant::inventory::load(&path).unwrap();
    let found = assess_unseen(&plan, &Catalog::embedded().unwrap(), &NotAsked);
    let groups = found.findings.by_rule();
    assert_eq!((groups[0].0.spec.id.as_str(), groups[0].1.len()), ("memory-limit", 200));
    let all = found.all();
    let of_rule: Vec<&str> =
        all.iter().filter(|one| one.code == "rule.memory-limit").map(|one| one.message.as_str()).collect();
    assert_eq!(of_rule.len(), 6, "{of_rule:?}");
    assert!(of_rule.iter().any(|text| text.contains("195 more like these, 200 in all: m005")), "{of_rule:?}");
    let names: Vec<&str> = groups[0].1.iter().map(|violation| violation.subject.name()).collect();
    assert!(names.is_sorted(), "in plan order, whichever thread found them");
}
