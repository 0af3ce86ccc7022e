//! The run folder: written as one, read back, and what moved since.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use replant::freeze::{self, Moved, Staging, WriteError};
use replant::journal::Ledger;
use replant::planner::{Selection, select};
use replant::provider::Catalog;
use replant::render::render;

use super::graph::graph_of;
use crate::render::site;

fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    (folder, path)
}

fn write(target: &Utf8Path) -> Result<Utf8PathBuf, WriteError> {
    let plan = site::resolved(site::TWO_MACHINES);
    let catalog = Catalog::embedded().unwrap();
    let staging = Staging::begin(target)?;
    let artifacts = render(&plan, &catalog, &|_| true, &staging).unwrap();
    let selected = select(&graph_of(&plan).unwrap(), &Selection::default(), &Ledger::default()).unwrap();
    staging.finish(&freeze::manifest(&plan, &catalog, artifacts, selected, 41))
}

#[test]
fn what_is_written_reads_back_unmoved() {
    let (_folder, base) = folder();
    let target = base.join("run");
    write(&target).unwrap();
    let frozen = freeze::open(&target).unwrap();
    assert!(frozen.edited.is_empty());
    assert_eq!(frozen.manifest.artifacts.len(), 27);
    assert_eq!(frozen.manifest.tasks.last().unwrap().address.as_str(), "db01/cleanup");
    let first = fs::read(target.join("plan.json")).unwrap();
    write(&target).unwrap();
    assert_eq!(
        first,
        fs::read(target.join("plan.json")).unwrap(),
        "an earlier run folder is replaced, by the same bytes"
    );
    let left: Vec<_> = fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["run"], "nothing of the making is left");
}

#[test]
fn a_folder_of_somebody_else_is_not_touched() {
    let (_folder, base) = folder();
    fs::write(base.join("precious"), "x").unwrap();
    assert!(matches!(write(&base), Err(WriteError::Foreign { .. })));
    assert_eq!(fs::read_to_string(base.join("precious")).unwrap(), "x");
}

#[test]
fn edits_are_shown_against_what_was_reviewed() {
    let (_folder, base) = folder();
    let target = write(&base.join("run")).unwrap();
    let script = target.join("artifacts/web01/web01_validate.sh");
    let text = fs::read_to_string(&script).unwrap();
    fs::write(&script, text.replace("need qemu-img qemu-utils", "need qemu-img mine")).unwrap();
    fs::remove_file(target.join("artifacts/db01/db01_vm.json")).unwrap();
    let frozen = freeze::open(&target).unwrap();
    let paths: Vec<&str> = frozen.edited.iter().map(|edit| edit.path.as_str()).collect();
    assert_eq!(paths, ["db01/db01_vm.json", "web01/web01_validate.sh"]);
    assert_eq!(frozen.edited[0].now, None);
    assert!(
        frozen.edited[1].diff.contains("-      need qemu-img qemu-utils\n+      need qemu-img mine\n"),
        "{}",
        frozen.edited[1].diff
    );
}

#[test]
fn moved_inputs_are_named_with_both_values() {
    let (_folder, base) = folder();
    let target = write(&base.join("run")).unwrap();
    let frozen = freeze::open(&target).unwrap();
    let mut now: BTreeMap<String, String> =
        frozen.manifest.sources.iter().map(|(disk, source)| (disk.clone(), source.identity.clone())).collect();
    let unmoved = frozen.moved(&now, 41);
    // The plan's own file lay in a temporary folder that is gone by now.
    assert!(unmoved.iter().all(|moved| matches!(moved, Moved::FileGone { .. })), "{unmoved:?}");
    now.insert("web01/disk1".into(), "file size=1 mtime=2 inode=3".into());
    let moved: Vec<String> = frozen.moved(&now, 44).iter().map(ToString::to_string).collect();
    assert!(
        moved
            .iter()
            .any(|text| text.starts_with("source web01/disk1 is not what was planned with:\n  planned: file size="))
    );
    assert!(moved.iter().any(|text| text.contains("the journal was at event 41, it is at 44")), "{moved:?}");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (_folder, base) = folder();
    fs::write(base.join("plan.json"), r#"{"format": 2, "tool": "9.1.0", "surprise": []}"#).unwrap();
    let error = freeze::open(&base).unwrap_err().to_string();
    assert!(error.contains("format 2") && error.contains("replant 9.1.0 or newer"), "{error}");
}
