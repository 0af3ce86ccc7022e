//! plan, plan --out, apply, status, plan again, rollback: one machine's life at the command line.

use std::fs;

use super::site::{edit, site, stable};

#[test]
fn the_preview_is_as_people_read_it() {
    let site = site();
    let preview = site.replant(&["plan", "plan.yaml"]).expect(0);
    insta::assert_snapshot!("preview", stable(&site, &preview));
    let explained = site.replant(&["plan", "plan.yaml", "--explain", "web01/create"]).expect(0);
    for word in ["web01/create", "memory", "256 MiB", "new"] {
        assert!(explained.stdout.contains(word), "{word}: {}", explained.stdout);
    }
    let wrong = site.replant(&["plan", "plan.yaml", "--explain", "web01/creat"]).expect(2);
    assert!(wrong.stderr.contains("did you mean `web01/create`?"), "{}", wrong.stderr);
    assert!(!site.join(".replant").exists() && !site.join("store").exists() && !site.join("vms").exists());
}

#[test]
fn detail_shows_each_artifact_then_only_what_changed_in_it() {
    let site = site();
    let all = site.replant(&["plan", "plan.yaml", "--detail"]).expect(0).stdout;
    for artifact in ["web01_create-vm.sh", "db01_capture.sh", "web01_post-deploy.sh"] {
        assert!(all.contains(artifact), "{artifact}");
    }
    site.replant(&["apply", "plan.yaml", "--yes", "--machine", "web01", "--inject", "fail@web01/create"]).expect(5);
    edit(&site, "memory: 256MiB", "memory: 640MiB");
    let changed = site.replant(&["plan", "plan.yaml", "--detail", "--machine", "web01"]).expect(0).stdout;
    let diff: Vec<&str> = changed.lines().filter(|line| line.starts_with(['+', '-'])).collect();
    assert!(diff.iter().any(|line| line.contains("640")), "the new memory is in the difference: {changed}");
    assert!(diff.len() * 10 < all.lines().count(), "only what changed: {diff:#?}");
}

#[test]
fn json_graph_and_render_say_the_same() {
    let site = site();
    let plan: serde_json::Value =
        serde_json::from_str(&site.replant(&["plan", "plan.yaml", "--json"]).expect(0).stdout).unwrap();
    let lines = plan["groups"].as_array().unwrap().iter().flat_map(|group| group["lines"].as_array().unwrap());
    let mut planned: Vec<String> = lines.map(|line| line["address"].as_str().unwrap().to_owned()).collect();
    let graph: serde_json::Value =
        serde_json::from_str(&site.replant(&["graph", "plan.yaml", "--format", "json"]).expect(0).stdout).unwrap();
    let tasks = graph["tasks"].as_array().unwrap();
    let mut drawn: Vec<String> = tasks.iter().map(|task| task["address"].as_str().unwrap().to_owned()).collect();
    drawn.retain(|address| !address.ends_with("/cleanup"));
    planned.sort();
    drawn.sort();
    assert_eq!(planned, drawn);
    site.replant(&["render", "plan.yaml", "--out", "rendered"]).expect(0);
    site.replant(&["plan", "plan.yaml", "--out", "reviewed"]).expect(0);
    for script in ["web01/web01_create-vm.sh", "db01/db01_deploy-vm.sh"] {
        let frozen = fs::read(site.join("reviewed/artifacts").join(script)).unwrap();
        assert_eq!(fs::read(site.join("rendered").join(script)).unwrap(), frozen, "{script}");
    }
}

#[test]
fn a_reviewed_folder_is_applied_and_applied_again_does_nothing() {
    let site = site();
    let plan = |words: &[&str]| site.replant(&[&["plan", "plan.yaml", "--detailed-exitcode"], words].concat());
    plan(&["--out", "reviewed"]).expect(2);
    let done = site.replant(&["apply", "reviewed", "--yes"]).expect(0);
    assert!(done.stdout.contains("done"), "{}", done.stdout);
    plan(&[]).expect(0);
    let status = site.replant(&["status"]).expect(0).stdout;
    assert!(status.contains("web01") && !status.contains("cleanup"), "{status}");
    site.replant(&["apply", "reviewed", "--yes"]).expect(0);
}

#[test]
fn a_reviewed_folder_is_stale_when_another_run_came_between() {
    let site = site();
    site.replant(&["plan", "plan.yaml", "--out", "reviewed"]).expect(0);
    site.replant(&["apply", "plan.yaml", "--yes", "--machine", "web01"]).expect(0);
    let stale = site.replant(&["apply", "reviewed", "--yes"]).expect(8);
    assert!(stale.stderr.contains("journal"), "it names what moved: {}", stale.stderr);
}

#[test]
fn what_is_selected_is_consistent_or_refused() {
    let site = site();
    let refused = site.replant(&["plan", "plan.yaml", "--machine", "db01"]).expect(3);
    assert!(refused.stderr.contains("`db01/validate` needs `web01/post-deploy`"), "{}", refused.stderr);
    let refused = site.replant(&["plan", "plan.yaml", "--from", "web01/deploy*"]).expect(3);
    assert!(refused.stderr.contains("which is left out and not done"), "{}", refused.stderr);
    site.replant(&["apply", "plan.yaml", "--yes", "--machine", "web01"]).expect(0);
    let rest = site.replant(&["plan", "plan.yaml", "--exclude", "web01"]).expect(0).stdout;
    assert!(rest.contains("db01") && !rest.contains("web01  "), "{rest}");
    let refused = site.replant(&["plan", "plan.yaml", "--redo", "web01/deploy/disk0"]).expect(3);
    assert!(refused.stderr.contains("past its point of no return"), "{}", refused.stderr);
}
