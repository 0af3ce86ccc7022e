//! Every artifact of a plan: rendered side by side, handed to a sink, digested, sorted. The texts are not kept.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::inventory::ResolvedPlan;
use crate::plan::{HostName, Machine};
use crate::provider::{ArtifactSpec, Catalog, artifact_path, file_stem, host_folder};

use super::context::{HostSide, host_values, machine_values};
use super::engine::{Engine, RenderError, Values};
use super::escape::Language;

/// A rendered artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    /// Path below `artifacts/`.
    pub path: String,
    /// `blake3:HEX` of its bytes.
    pub digest: String,
    /// Whether it is a script.
    pub executable: bool,
}

/// What was rendered, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactSet {
    records: Vec<ArtifactRecord>,
}

impl ArtifactSet {
    /// Every artifact, sorted by path.
    pub fn records(&self) -> &[ArtifactRecord] {
        &self.records
    }

    /// The digest of the artifact at that path.
    pub fn digest(&self, path: &str) -> Option<&str> {
        let found = self.records.binary_search_by(|record| record.path.as_str().cmp(path));
        found.ok().map(|index| self.records[index].digest.as_str())
    }

    /// The records, for the run folder.
    pub fn into_records(self) -> Vec<ArtifactRecord> {
        self.records
    }
}

/// Where rendered texts go; called from several threads.
pub trait Sink: Sync {
    /// Takes one artifact; `path` is below `artifacts/`.
    fn put(&self, path: &str, text: &str, executable: bool) -> std::io::Result<()>;
}

/// Keeps nothing: for a preview, digests are enough.
pub struct NoSink;

impl Sink for NoSink {
    fn put(&self, _: &str, _: &str, _: bool) -> std::io::Result<()> {
        Ok(())
    }
}

impl<F: Fn(&str, &str, bool) -> std::io::Result<()> + Sync> Sink for F {
    fn put(&self, path: &str, text: &str, executable: bool) -> std::io::Result<()> {
        self(path, text, executable)
    }
}

/// Renders the artifacts of every machine that `wanted` takes, and of the hosts they are deployed to.
pub fn render(
    plan: &ResolvedPlan,
    catalog: &Catalog,
    wanted: &(dyn Fn(&Machine) -> bool + Sync),
    sink: &dyn Sink,
) -> Result<ArtifactSet, RenderError> {
    let mut sides = BTreeMap::new();
    let mut engines = BTreeMap::new();
    let chosen: Vec<usize> = (0..plan.plan.machines.len()).filter(|i| wanted(&plan.plan.machines[*i])).collect();
    for index in &chosen {
        let name = &plan.plan.machines[*index].target.host.value;
        if sides.contains_key(name) {
            continue;
        }
        let side = host_side(plan, catalog, name)?;
        let provider = side.provider.manifest.name.as_str();
        if !engines.contains_key(provider) {
            engines.insert(provider, Engine::new(side.provider.templates())?);
        }
        sides.insert(name, side);
    }

    let mut records = Vec::new();
    for (name, side) in &sides {
        let engine = &engines[side.provider.manifest.name.as_str()];
        let values = Values::from(host_values(plan, side));
        let put = Put { engine, values: &values, folder: &host_folder(&name.0), subject: &name.0, sink };
        put.all(&side.provider.manifest.artifacts.host, &mut records)?;
    }
    let parts = thread::available_parallelism().map_or(1, NonZero::get).min(chosen.len().max(1));
    let of_part = |part: &[usize]| {
        let mut records = Vec::with_capacity(part.len() * 13);
        for index in part {
            let machine = &plan.plan.machines[*index];
            let side = &sides[&machine.target.host.value];
            let engine = &engines[side.provider.manifest.name.as_str()];
            let values = Values::from(machine_values(plan, machine, &plan.machines[*index], side));
            let name = &machine.name.value.0;
            let put = Put { engine, values: &values, folder: &file_stem(name), subject: name, sink };
            put.all(&side.provider.manifest.artifacts.machine, &mut records)?;
        }
        Ok(records)
    };
    let outcomes: Vec<Result<Vec<ArtifactRecord>, RenderError>> = thread::scope(|scope| {
        let chunks = chosen.chunks(chosen.len().div_ceil(parts).max(1));
        let threads: Vec<_> = chunks.map(|part| scope.spawn(|| of_part(part))).collect();
        threads.into_iter().map(|thread| thread.join().expect("rendering does not panic")).collect()
    });
    for outcome in outcomes {
        records.append(&mut outcome?);
    }
    records.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(ArtifactSet { records })
}

fn host_side<'a>(plan: &'a ResolvedPlan, catalog: &'a Catalog, name: &HostName) -> Result<HostSide<'a>, RenderError> {
    let host = &plan.plan.hosts[name];
    let provider = catalog.get(&host.provider.value).ok_or_else(|| RenderError::UnknownProvider {
        host: name.to_string(),
        provider: host.provider.value.clone(),
    })?;
    Ok(HostSide { host, provider, settings: provider.host_settings(&host.settings) })
}

/// The artifacts of one machine or host.
struct Put<'a> {
    engine: &'a Engine,
    values: &'a Values,
    folder: &'a str,
    subject: &'a str,
    sink: &'a dyn Sink,
}

impl Put<'_> {
    fn all(&self, specs: &[ArtifactSpec], records: &mut Vec<ArtifactRecord>) -> Result<(), RenderError> {
        for spec in specs {
            let text = self.engine.render(&spec.template, self.subject, self.values)?;
            let path = artifact_path(self.folder, &spec.id, spec.extension());
            let executable = Language::of(&spec.template).is_some_and(Language::is_executable);
            let put = self.sink.put(&path, &text, executable);
            put.map_err(|error| RenderError::Write { path: path.clone(), error })?;
            let digest = format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex());
            records.push(ArtifactRecord { path, digest, executable });
        }
        Ok(())
    }
}
