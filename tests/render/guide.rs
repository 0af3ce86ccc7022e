//! The guide's provider, taken from the guide: added from a folder beside the plan, without any code.

use std::fs;

use crate::common::TestSite;

const GUIDE: &str = include_str!("../../docs/add-a-provider.md");

/// The files that the guide shows, each a block that begins with `# file: PATH`.
fn files() -> Vec<(&'static str, String)> {
    let blocks = GUIDE.split("```").skip(1).step_by(2).filter_map(|block| {
        let (_, body) = block.split_once('\n')?;
        let (path, text) = body.strip_prefix("# file: ")?.split_once('\n')?;
        Some((path, text.to_owned()))
    });
    blocks.collect()
}

const PLAN: &str = r#"replant: 1
name: paper
store: { path: store, encryption: none }
hosts: { desk: { provider: paper, memory: 2GiB } }
machines:
  - name: note
    source: { disks: [{ path: note.raw, format: raw }] }
    inventory: { memory: 64MiB, cpus: 1, firmware: bios }
    workload: { role: test }
    target: { host: desk, network: none, disks: { format: raw } }
    guest: { convert: none }
    post_deploy: { action: stop }
"#;

#[test]
fn a_provider_is_added_from_a_folder_beside_the_plan() {
    let site = TestSite::new();
    let files = files();
    assert_eq!(files.len(), 4, "{:?}", files.iter().map(|(path, _)| path).collect::<Vec<_>>());
    for (path, text) in &files {
        site.write(path, text);
    }
    fs::File::create(site.join("note.raw")).unwrap().set_len(1 << 20).unwrap();
    site.write("plan.yaml", PLAN);
    let plan = site.replant(&["plan", "plan.yaml"]).expect(0);
    assert!(plan.stdout.contains("make VM `note` on desk"), "{}{}", plan.stdout, plan.stderr);
    site.replant(&["render", "plan.yaml", "--out", "out"]).expect(0);
    let script = site.join("out/note/note_create-vm.sh");
    let run = |verb: &str| {
        let mut command = std::process::Command::new("sh");
        command.arg(&script).arg(verb).env("REPLANT_ROOT", site.path()).status().unwrap().code()
    };
    assert_eq!((run("check"), run("apply"), run("check")), (Some(10), Some(0), Some(0)));
    assert_eq!(fs::metadata(site.join("paper/note/disk0.raw")).unwrap().len(), 1 << 20);
    assert_eq!((run("undo"), run("check")), (Some(0), Some(10)));

    // Its limits and its own rule hold.
    site.write("plan.yaml", PLAN.replace("role: test", "role: production").replace("64MiB", "4GiB"));
    let refused = site.replant(&["plan", "plan.yaml"]).expect(3);
    for rule in ["rule.paper-production", "rule.memory-limit"] {
        assert!(refused.stderr.contains(rule), "{}", refused.stderr);
    }
    // And its rules may not take the id of another.
    site.write("providers/paper/rules.yaml", files[3].1.replace("paper-production", "memory-limit"));
    let refused = site.replant(&["plan", "plan.yaml"]).expect(1);
    assert!(refused.stderr.contains("stands in providers/common/rules.yaml, too"), "{}", refused.stderr);
}
