//! Writes a run folder: everything into a folder beside it first, then one rename.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};

use crate::inventory::ResolvedPlan;
use crate::planner::Selected;
use crate::provider::{Catalog, file_stem, host_folder};
use crate::render::{ArtifactSet, Sink};

use super::manifest::{FileRecord, FrozenMachine, FrozenSource, FrozenWave, RunManifest};
use super::originals;

/// Why a run folder could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder is there and holds something else.
    #[error("{path} exists and is no run folder; name one that does not exist")]
    Foreign {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// A file or folder could not be written.
    #[error("cannot write {path}")]
    Io {
        /// Which.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// A run folder in the making; removed again unless it is finished.
#[derive(Debug)]
pub struct Staging {
    target: Utf8PathBuf,
    folder: tempfile::TempDir,
    path: Utf8PathBuf,
    made: Mutex<HashSet<String>>,
}

impl Staging {
    /// Begins a run folder that will be `target`: it must not exist, be empty, or be an earlier run folder, which is
    /// replaced.
    pub fn begin(target: &Utf8Path) -> Result<Self, WriteError> {
        let io = |path: &Utf8Path| {
            let path = path.to_owned();
            move |error| WriteError::Io { path, error }
        };
        let parent = match target.parent() {
            Some(parent) if !parent.as_str().is_empty() => parent.to_owned(),
            _ => Utf8PathBuf::from("."),
        };
        if target.exists() && !target.join("plan.json").is_file() {
            let empty = target.is_dir() && fs::read_dir(target).map_err(io(target))?.next().is_none();
            if !empty {
                return Err(WriteError::Foreign { path: target.to_owned() });
            }
        }
        fs::create_dir_all(&parent).map_err(io(&parent))?;
        let folder = tempfile::Builder::new().prefix(".run-").tempdir_in(&parent).map_err(io(&parent))?;
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned())
            .map_err(|path| WriteError::Foreign { path: path.to_string_lossy().into_owned().into() })?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io(&path))?;
        fs::create_dir(path.join("artifacts")).map_err(io(&path))?;
        Ok(Self { target: target.to_owned(), folder, path, made: Mutex::default() })
    }

    /// Completes the folder with its manifest and puts it in its place, durably.
    pub fn finish(self, manifest: &RunManifest) -> Result<Utf8PathBuf, WriteError> {
        let io = |path: &Utf8Path| {
            let path = path.to_owned();
            move |error| WriteError::Io { path, error }
        };
        let artifacts = self.path.join("artifacts");
        let packed = self.path.join(originals::FILE);
        let paths = manifest.artifacts.iter().map(|artifact| artifact.path.as_str());
        File::create(&packed).and_then(|file| originals::pack(&artifacts, paths, file)).map_err(io(&packed))?;
        let json = self.path.join("plan.json");
        write_json(&json, manifest).map_err(io(&json))?;
        // One call for every file of the folder, however many there are.
        let handle = File::open(&self.path).map_err(io(&self.path))?;
        rustix::fs::syncfs(&handle).map_err(io::Error::from).map_err(io(&self.path))?;
        let old = self.path.with_extension("old");
        if self.target.exists() {
            fs::rename(&self.target, &old).map_err(io(&self.target))?;
        }
        fs::rename(&self.path, &self.target).map_err(io(&self.target))?;
        let parent = self.path.parent().unwrap_or(Utf8Path::new(".")).to_owned();
        File::open(&parent).and_then(|folder| folder.sync_all()).map_err(io(&parent))?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        // It is in its place: nothing is left to be removed.
        let _ = self.folder.keep();
        Ok(self.target)
    }
}

impl Sink for Staging {
    fn put(&self, path: &str, text: &str, executable: bool) -> io::Result<()> {
        let (folder, _) = path.split_once('/').unwrap_or((".", path));
        let artifacts = self.path.join("artifacts");
        let mut made = self.made.lock().expect("no thread panics while it holds the lock");
        if !made.contains(folder) {
            fs::create_dir_all(artifacts.join(folder))?;
            made.insert(folder.to_owned());
        }
        drop(made);
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(artifacts.join(path))?;
        file.write_all(text.as_bytes())
    }
}

fn write_json(path: &Utf8Path, manifest: &RunManifest) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 20, File::create(path)?);
    serde_json::to_writer_pretty(&mut writer, manifest)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

/// The content of `plan.json` for what was selected of a plan; `artifacts` may hold more than the selection needs.
pub fn manifest(
    plan: &ResolvedPlan,
    catalog: &Catalog,
    artifacts: ArtifactSet,
    selected: Selected,
    journal_head: u64,
) -> RunManifest {
    let machines: HashSet<&str> =
        selected.tasks.iter().map(|task| task.address.scope()).filter(|scope| !scope.contains(':')).collect();
    let chosen =
        plan.plan.machines.iter().zip(&plan.machines).filter(|(m, _)| machines.contains(m.name.value.0.as_ref()));
    let folders = folders(&selected);
    let mut sources = BTreeMap::new();
    let mut frozen = BTreeMap::new();
    let mut boots = false;
    for (machine, facts) in chosen {
        boots |= machine.source.agent.is_some();
        let name = &machine.name.value.0;
        for disk in &facts.disks {
            let source = FrozenSource { path: disk.path.clone(), identity: disk.identity.clone() };
            sources.insert(format!("{name}/{}", disk.index), source);
        }
        frozen.insert(name.to_string(), FrozenMachine { on_failure: machine.on_failure });
    }
    let mut budgets = BTreeMap::from([("store".to_owned(), plan.plan.store.parallel)]);
    budgets.extend(plan.plan.hosts.values().map(|host| (format!("host:{}", host.name.value), host.parallel)));
    let waves = plan.plan.waves.iter().map(|wave| FrozenWave {
        name: wave.name.value.clone(),
        machines: wave.machines.iter().map(|m| m.to_string()).filter(|m| machines.contains(m.as_str())).collect(),
        max_failures: wave.max_failures,
    });
    let waves = waves.collect();
    let plan_files = plan.plan.files.iter().map(|file| FileRecord {
        path: absolute(&file.path),
        digest: format!("blake3:{}", blake3::hash(file.text.as_bytes()).to_hex()),
    });
    let provider_files = catalog
        .files()
        .iter()
        .map(|(path, digest)| FileRecord { path: absolute(path.as_str()), digest: digest.clone() });
    let mut records = artifacts.into_records();
    records.retain(|record| folders.contains(record.path.split('/').next().unwrap_or_default()));
    RunManifest {
        format: 1,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        name: plan.plan.name.clone(),
        root: plan.plan.root.clone(),
        files: plan_files.chain(provider_files).collect(),
        sources,
        journal_head,
        selection: selected.selection,
        budgets,
        machines: frozen,
        waves,
        boot: plan.plan.netboot.clone().filter(|_| boots),
        artifacts: records,
        tasks: selected.tasks,
    }
}

/// The folders below `artifacts/` that selected tasks use.
pub fn folders(selected: &Selected) -> HashSet<String> {
    let scopes: HashSet<&str> = selected.tasks.iter().map(|task| task.address.scope()).collect();
    let folder = |scope: &str| match scope.split_once(':') {
        Some(("host", host)) => host_folder(host),
        _ => file_stem(scope).into_owned(),
    };
    scopes.into_iter().map(folder).collect()
}

/// Absolute, so that it can be looked at again from anywhere.
fn absolute(path: &str) -> Utf8PathBuf {
    let absolute = std::path::absolute(path).ok().and_then(|path| Utf8PathBuf::from_path_buf(path).ok());
    absolute.unwrap_or_else(|| path.into())
}
