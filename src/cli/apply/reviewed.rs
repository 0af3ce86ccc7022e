//! Applying a run folder: byte for byte what was reviewed, or a refusal that names what moved.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::device;
use crate::freeze::{self, EditedArtifact, Frozen, Moved, RunManifest};
use crate::journal::JournalReader;

use super::super::terminal::confirmed;
use super::super::{Exit, Failure, Global};
use super::{ApplyArgs, execute, run_folder};

/// Runs the verb for a run folder.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<Exit, Failure> {
    let frozen = freeze::open(&args.target)?;
    refuse_moved(&frozen)?;
    let edits = accept_edits(args, &frozen.edited)?;
    let root = frozen.manifest.root.clone();
    if !args.yes {
        let machines = frozen.manifest.machines.len();
        let question =
            format!("Apply {} tasks of {machines} machines from {}?", frozen.manifest.tasks.len(), args.target);
        if !confirmed(&question)? {
            return Err(Failure::with(Exit::Error, "nothing was done"));
        }
    }
    let (from, runs) = (args.target.clone(), root.clone());
    let on_start = Box::new(move |run: &crate::journal::RunId| {
        let to = run_folder(&runs, run.as_str());
        copy(&from, &to)?;
        Ok(to)
    });
    execute(args, global, &root, frozen.manifest, on_start, edits)
}

/// Refuses a folder whose plan files, sources or journal are not what it was made with.
fn refuse_moved(frozen: &Frozen) -> Result<(), Failure> {
    let manifest = &frozen.manifest;
    let mut now = BTreeMap::new();
    for (disk, source) in &manifest.sources {
        // A disk that only the agent or ssh sees is proven when it is captured.
        if ["agent:", "ssh:"].iter().any(|there| source.path.as_str().starts_with(there)) {
            continue;
        }
        let identity = device::identity(source.path.as_std_path());
        now.insert(disk.clone(), identity.unwrap_or_else(|error| format!("cannot be read: {error}")));
    }
    let head = journal_head(manifest, &frozen.folder)?;
    let moved: Vec<Moved> = frozen.moved(&now, head);
    if moved.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = moved.iter().map(|moved| format!("  {moved}")).collect();
    let text = format!("the run folder is stale:\n{}\nmake it again with `replant plan --out`", lines.join("\n"));
    Err(Failure::with(Exit::Stale, text))
}

/// The journal's head, where events of earlier applies of this very folder do not count: those are what is resumed.
fn journal_head(manifest: &RunManifest, folder: &Utf8Path) -> Result<u64, Failure> {
    let Some(reader) = JournalReader::open(&manifest.root)? else { return Ok(0) };
    let head = reader.ledger()?.head;
    if head <= manifest.journal_head {
        return Ok(head);
    }
    let reviewed = fs::read(folder.join("plan.json"))?;
    let ours: Vec<_> = reader
        .runs()?
        .into_iter()
        .filter(|run| fs::read(run.about.folder.join("plan.json")).is_ok_and(|bytes| bytes == reviewed))
        .map(|run| run.run)
        .collect();
    let foreign = reader.records(manifest.journal_head + 1)?.into_iter().filter(|record| !ours.contains(&record.run));
    Ok(foreign.map(|record| record.seq).max().unwrap_or(manifest.journal_head))
}

/// Shows every edit and refuses, unless they are accepted; returns path and digest of each for the journal.
fn accept_edits(args: &ApplyArgs, edited: &[EditedArtifact]) -> Result<BTreeMap<String, String>, Failure> {
    if edited.is_empty() {
        return Ok(BTreeMap::new());
    }
    if !args.accept_edits {
        let diffs: Vec<&str> = edited.iter().map(|edit| edit.diff.as_str()).collect();
        let text = format!(
            "{} artifacts were edited after they were rendered:\n{}\nif that is meant: `--accept-edits`",
            edited.len(),
            diffs.join("\n")
        );
        return Err(Failure::with(Exit::Stale, text));
    }
    if let Some(gone) = edited.iter().find(|edit| edit.now.is_none()) {
        let text = format!("{} is gone; put it back or make the folder again with `replant plan --out`", gone.path);
        return Err(Failure::with(Exit::Stale, text));
    }
    Ok(edited.iter().filter_map(|edit| Some((edit.path.clone(), edit.now.clone()?))).collect())
}

/// Copies a run folder; what is there already belongs to the same run.
fn copy(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.map_err(io::Error::other)?;
        let path = Utf8PathBuf::from_path_buf(entry.path().to_owned())
            .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))?;
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        match entry.file_type().is_dir() {
            true => fs::create_dir_all(&target)?,
            false => fs::copy(&path, &target).map(drop)?,
        }
    }
    fs::File::open(to).and_then(|folder| rustix::fs::syncfs(&folder).map_err(io::Error::from))
}
