//! `replant init`, `validate` and `schema`, by their command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use camino::Utf8Path;

use super::files::{Scratch, plan_of};

fn replant(folder: &Utf8Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replant")).args(args).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Everything below a folder: path, mode and content.
fn snapshot(folder: &Utf8Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut all: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let content = if entry.file_type().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
            (entry.path().display().to_string(), mode, content)
        })
        .collect();
    all.sort();
    all
}

#[test]
fn init_makes_a_valid_plan_and_keys_nobody_else_can_read() {
    let scratch = Scratch::new("");
    let folder = scratch.path();
    let made = replant(&folder, &["init", "work"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let work = folder.join("work");
    for key in [".replant/ca.key", ".replant/store.key"] {
        assert_eq!(work.join(key).metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{key}");
    }
    assert_eq!(work.join(".replant").metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    let key = fs::read_to_string(work.join(".replant/store.key")).unwrap();
    assert!(key.trim_end().len() == 64 && key.trim_end().bytes().all(|b| b.is_ascii_hexdigit()), "a key of 256 bits");
    assert!(fs::read_to_string(work.join(".replant/ca.pem")).unwrap().contains("BEGIN CERTIFICATE"));
    assert!(fs::read_to_string(work.join(".gitignore")).unwrap().contains("/.replant/"));

    let before = snapshot(&folder);
    let valid = replant(&work, &["validate", "plan.yaml"]);
    assert_eq!(valid.status.code(), Some(0), "{}", text(&valid.stderr));
    assert_eq!(snapshot(&folder), before, "validate touches nothing");

    let again = replant(&folder, &["init", "work"]);
    assert!(again.status.success());
    assert_eq!(snapshot(&folder), before, "init overwrites nothing");
    for name in ["plan.yaml", "plan.schema.json", ".gitignore", "store.key", "ca.key", "ca.pem"] {
        assert!(text(&again.stdout).contains(name), "{name} is named as kept");
    }
}

#[test]
fn init_keeps_what_is_there_and_makes_the_rest() {
    let scratch = Scratch::new("mine");
    let folder = scratch.path();
    let made = replant(&folder, &["init", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(report["kept"], serde_json::json!(["plan.yaml"]));
    assert_eq!(report["created"].as_array().unwrap().len(), 5);
    assert_eq!(fs::read_to_string(folder.join("plan.yaml")).unwrap(), "mine");

    fs::remove_file(folder.join(".replant/ca.key")).unwrap();
    let half = replant(&folder, &["init"]);
    assert_eq!(half.status.code(), Some(1));
    assert!(text(&half.stderr).contains("ca.pem") && text(&half.stderr).contains("ca.key"), "{}", text(&half.stderr));
}

#[test]
fn validate_says_what_is_there_and_refuses_with_3() {
    let good = Scratch::new(&plan_of(&["{ name: a, source: { disks: [{ path: a.raw }, { path: b.raw }] } }"]));
    let out = replant(&good.path(), &["validate", "plan.yaml"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stdout).starts_with("plan.yaml: valid (1 machine, 2 disks, 1 host)"), "{}", text(&out.stdout));

    let bad = Scratch::new(&plan_of(&["{ name: a, sourc: {} }"]));
    let out = replant(&bad.path(), &["validate", "plan.yaml"]);
    assert_eq!(out.status.code(), Some(3));
    let shown = text(&out.stderr);
    assert!(shown.contains("--> plan.yaml:6:16") && shown.contains("did you mean `source`?"), "{shown}");
    assert!(shown.ends_with("the plan is refused: 2 errors\n"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no colours into a pipe");

    let out = replant(&bad.path(), &["validate", "--json", "plan.yaml"]);
    assert_eq!(out.status.code(), Some(3));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let first = &report["diagnostics"][0];
    assert_eq!(report["valid"], false);
    assert_eq!((&first["file"], &first["line"]), (&"plan.yaml".into(), &6.into()));
    assert!(first["source_line"].as_str().unwrap().contains("sourc"), "{first}");
}

#[test]
fn schema_prints_the_schema() {
    let out = replant(Utf8Path::new("."), &["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(schema, replant::plan::json_schema());
}
