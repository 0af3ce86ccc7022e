//! The shape and the order of graphs.

use std::collections::HashMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use replant::address::Address;
use replant::diagnostic::Diagnostics;
use replant::inventory::ResolvedPlan;
use replant::planner::{self, Drawing, Phase, TaskGraph};
use replant::provider::Catalog;
use replant::render::{NoSink, render};

use crate::render::site;

pub fn graph_of(plan: &ResolvedPlan) -> Result<TaskGraph, Diagnostics> {
    let catalog = Catalog::embedded().expect("the embedded providers are complete");
    let draft = planner::draft(plan, &catalog)?;
    let artifacts = render(plan, &catalog, &|_| true, &NoSink).unwrap_or_else(|error| panic!("{error}"));
    Ok(draft.bind(|path| artifacts.digest(path)).unwrap_or_else(|error| panic!("{error}")))
}

/// A plan of plain machines; `after` and waves as text.
fn plan_of(machines: &[(String, String)], waves: &str) -> ResolvedPlan {
    let mut yaml = String::from(
        "replant: 1\nname: many\nstore: { path: store, encryption: none }\nhosts: { local: { provider: qemu } }\n\
         defaults: { target: { host: local }, guest: { convert: none }, post_deploy: { action: stop } }\nmachines:\n",
    );
    for (name, after) in machines {
        let _ =
            writeln!(yaml, "  - {{ name: {name}, source: {{ disks: [{{ path: {name}.raw, format: raw }}] }}{after} }}");
    }
    site::resolved(&(yaml + waves))
}

fn positions(graph: &TaskGraph) -> HashMap<Address, usize> {
    graph.tasks().iter().zip(0..).map(|(task, at)| (task.address.clone(), at)).collect()
}

#[test]
fn the_graph_of_two_machines_is_as_reviewed() {
    let plan = site::resolved(site::TWO_MACHINES);
    let graph = graph_of(&plan).unwrap();
    let drawing = Drawing::new(&graph, &plan.plan.waves);
    insta::assert_snapshot!("text", drawing.text());
    insta::assert_snapshot!("dot", drawing.dot());
    insta::assert_snapshot!("mermaid", drawing.mermaid());
}

#[test]
fn keys_name_every_input_and_change_only_where_it_matters() {
    let before = graph_of(&site::resolved(site::TWO_MACHINES)).unwrap();
    let more_memory = site::TWO_MACHINES.replace("memory: 512MiB", "memory: 768MiB");
    let after = graph_of(&site::resolved(&more_memory)).unwrap();
    let changed: Vec<&str> = before
        .tasks()
        .iter()
        .filter(|task| after.get(&task.address).map(|other| &other.key) != Some(&task.key))
        .map(|task| task.address.as_str())
        .collect();
    assert_eq!(changed, ["web01/create"], "more memory restores no disk again");

    let other_disk = site::TWO_MACHINES.replace("web01-sdb.raw", "web01-other.raw");
    let after = graph_of(&site::resolved(&other_disk)).unwrap();
    let key = |graph: &TaskGraph, address: &str| graph.get(&Address::new(address)).unwrap().key.clone();
    assert_eq!(key(&before, "web01/capture/disk0"), key(&after, "web01/capture/disk0"));
    assert_eq!(key(&before, "web01/deploy/disk0"), key(&after, "web01/deploy/disk0"));
    for address in
        ["web01/capture/disk1", "web01/capture", "web01/deploy/disk1", "web01/deploy/guest", "web01/post-deploy"]
    {
        assert_ne!(key(&before, address), key(&after, address), "{address}");
    }
}

#[test]
fn a_circle_of_waves_and_after_is_named() {
    let machines = ["a", "b"].map(|name| (name.to_owned(), String::new()));
    let waves = "waves:\n  - { name: first, machines: [a] }\n  - { name: second, machines: [b] }\n";
    let mut plan = plan_of(&machines, waves);
    // Reading a plan refuses this already; the graph does not rely on it.
    let later = plan.plan.machines[1].name.clone();
    plan.plan.machines[0].after.push(later);
    let found = graph_of(&plan).unwrap_err();
    let messages: Vec<&str> = found.iter().map(|one| one.message.as_str()).collect();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].starts_with("machines and waves wait for each other: "), "{messages:?}");
    assert!(messages[0].contains("`a`") && messages[0].contains("`b`") && messages[0].contains("wave `second`"));
}

#[test]
fn waves_order_machines_and_one_host_serves_all() {
    let machines: Vec<_> = ["c", "a", "b"].map(|name| (name.to_owned(), String::new())).into();
    let waves = "waves:\n  - { name: first, machines: [b] }\n  - { name: second, machines: [a, c] }\n";
    let at = positions(&graph_of(&plan_of(&machines, waves)).unwrap());
    assert!(at[&Address::new("b/post-deploy")] < at[&Address::new("a/validate")]);
    assert!(at[&Address::new("b/post-deploy")] < at[&Address::new("c/validate")]);
    let two = graph_of(&site::resolved(site::TWO_MACHINES)).unwrap();
    assert_eq!(two.tasks().iter().filter(|task| task.phase == Phase::Host).count(), 1);
}

/// A chain as long as the plan, in reverse order of the plan: nothing may recurse.
#[test]
fn a_chain_of_machines_does_not_recurse() {
    let machines: Vec<_> = (0..8_000)
        .map(|n| (format!("m{n}"), if n < 7_999 { format!(", after: [m{}]", n + 1) } else { String::new() }))
        .collect();
    let plan = plan_of(&machines, "");
    let catalog = Catalog::embedded().expect("complete");
    let graph = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || {
            planner::draft(&plan, &catalog).map_err(|found| found.len()).map(|draft| draft.bind(|_| Some("blake3:0")))
        })
        .unwrap()
        .join()
        .unwrap();
    let graph = graph.unwrap().unwrap();
    assert_eq!(graph.tasks().first().unwrap().address.as_str(), "m7999/validate");
    assert_eq!(graph.tasks().last().unwrap().address.as_str(), "m0/cleanup");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_plans_give_sound_graphs(after in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..3), 1..12)) {
        let machines: Vec<_> = after.iter().enumerate().map(|(at, earlier)| {
            let mut names: Vec<String> =
                if at == 0 { Vec::new() } else { earlier.iter().map(|i| format!("m{}", i.index(at))).collect() };
            names.sort();
            names.dedup();
            (format!("m{at}"), if names.is_empty() { String::new() } else { format!(", after: [{}]", names.join(", ")) })
        }).collect();
        let plan = plan_of(&machines, "");
        let graph = graph_of(&plan).unwrap();
        let at = positions(&graph);
        for task in graph.tasks() {
            for before in &task.depends_on {
                prop_assert!(at[before] < at[&task.address], "{} before {}", before, task.address);
            }
        }
        for (name, _) in &machines {
            let position = |rest: &str| at[&Address::within(name, rest)];
            prop_assert!(position("capture") < position("deploy/disk0"));
            prop_assert!(position("create") < position("deploy/disk0"));
            prop_assert!(position("deploy/disk0") < position("post-deploy"));
        }
    }
}
