//! Every artifact as people review it, and the linters' word on each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use replant::inventory::ResolvedPlan;
use replant::provider::Catalog;
use replant::render::{self, ArtifactSet};
use replant::sequence;

use super::site;

/// Renders into a folder as the run folder has it.
pub fn render_into(plan: &ResolvedPlan, folder: &Path) -> ArtifactSet {
    let catalog = Catalog::embedded().expect("the embedded providers are complete");
    let sink = |path: &str, text: &str, executable: bool| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("artifacts lie in folders"))?;
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
    };
    render::render(plan, &catalog, &|_| true, &sink).unwrap_or_else(|error| panic!("{error}"))
}

/// Runs a tool that the tests need; a missing one fails with the package that has it.
pub fn tool(name: &str, package: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(name).args(arguments).output();
    let output =
        output.unwrap_or_else(|error| panic!("`{name}` cannot be run ({error}): install the Debian package {package}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn every_artifact_reads_as_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let set = render_into(&site::resolved(site::TWO_MACHINES), folder.path());
    for record in set.records() {
        let text = fs::read_to_string(folder.path().join(&record.path)).unwrap();
        insta::assert_snapshot!(record.path.replace('/', "__"), text);
    }
    assert_eq!(set.records().len(), 13 * 2 + 1);
}

#[test]
fn scripts_are_clean_for_shellcheck_and_dash() {
    let folder = tempfile::tempdir().unwrap();
    let set = render_into(&site::resolved(site::TWO_MACHINES), folder.path());
    let mut scripts: Vec<String> = Vec::new();
    for record in set.records().iter().filter(|record| record.executable) {
        let path = folder.path().join(&record.path).display().to_string();
        let (clean, text) = tool("dash", "dash", &["-n", &path]);
        assert!(clean, "{}: {text}", record.path);
        scripts.push(path);
    }
    let mut arguments = vec!["--shell=sh"];
    arguments.extend(scripts.iter().map(String::as_str));
    let (clean, text) = tool("shellcheck", "shellcheck", &arguments);
    assert!(clean, "{text}");
}

#[test]
fn sequences_are_valid_against_the_schema_and_for_our_own_reader() {
    let folder = tempfile::tempdir().unwrap();
    let set = render_into(&site::resolved(site::TWO_MACHINES), folder.path());
    let schema = folder.path().join("sequence.xsd");
    fs::write(&schema, sequence::SCHEMA).unwrap();
    let mut count = 0;
    for record in set.records().iter().filter(|record| record.path.ends_with(".xml")) {
        let path = folder.path().join(&record.path);
        let arguments = ["--noout", "--nonet", "--schema", schema.to_str().unwrap(), path.to_str().unwrap()];
        let (valid, text) = tool("xmllint", "libxml2-utils", &arguments);
        assert!(valid, "{}: {text}", record.path);
        let parsed = sequence::parse(&fs::read_to_string(&path).unwrap());
        parsed.unwrap_or_else(|error| panic!("{}: {error}", record.path));
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let plan = site::resolved(site::TWO_MACHINES);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(render_into(&plan, one.path()), render_into(&plan, two.path()));
}
