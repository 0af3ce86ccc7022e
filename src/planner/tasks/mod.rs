//! The tasks of one machine: what each does, what its key holds, and what it needs.

mod source;
mod target;

use std::time::Duration;

use crate::address::Address;
use crate::inventory::{ResolvedMachine, ResolvedPlan};
use crate::plan::{Allocation, Compression, Encryption, Machine, SecretRef};
use crate::provider::{ArtifactSpec, Artifacts, Provider, artifact_path, file_stem};

use super::task::{Key, Phase, Reversal, ScriptCall, Task, TaskLimits};

/// Makes the tasks of one machine.
pub(super) struct Make<'a> {
    pub(super) plan: &'a ResolvedPlan,
    pub(super) machine: &'a Machine,
    pub(super) facts: &'a ResolvedMachine,
    pub(super) provider: Option<&'a Provider>,
}

impl Make<'_> {
    fn name(&self) -> &str {
        &self.machine.name.value.0
    }

    fn path(&self, id: &str, extension: &str) -> String {
        artifact_path(&file_stem(self.name()), id, extension)
    }

    fn specs(&self) -> &[ArtifactSpec] {
        self.provider.map(|provider| provider.manifest.artifacts.machine.as_slice()).unwrap_or_default()
    }

    /// The path of a script, in the provider's language.
    fn script(&self, id: &str) -> String {
        self.path(id, &Artifacts::script_extension(self.specs(), id))
    }

    /// A task without inputs or dependencies.
    fn task(&self, address: &str, phase: Phase, what: String, script: &str, item: Option<String>) -> Task {
        Task {
            address: Address::within(self.name(), address),
            phase,
            what,
            command: ScriptCall { script: self.script(script), item },
            key: Key::new(),
            reversal: Reversal::Nothing,
            bytes: None,
            throughput: None,
            limits: TaskLimits::default(),
            budgets: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    fn template(&self, id: &str) -> String {
        let spec = self.specs().iter().find(|spec| spec.id == id && spec.is_script());
        let digest = spec.zip(self.provider).and_then(|(spec, provider)| provider.template_digest(&spec.template));
        short(digest.unwrap_or_default())
    }

    fn host_budget(&self) -> String {
        format!("host:{}", self.machine.target.host.value)
    }

    fn common(&self) -> (&'static str, String) {
        ("settings", self.script("common-init"))
    }
}

/// Minutes of timeout (0: none) and of stall, and retries.
pub(super) fn limits(timeout: u64, stall: Option<u64>, retries: u32) -> TaskLimits {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let timeout = (timeout > 0).then(|| minutes(timeout));
    TaskLimits { timeout, stall: stall.map(minutes), retries, ..TaskLimits::default() }
}

pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn allocation(allocation: Allocation) -> &'static str {
    match allocation {
        Allocation::Fixed => "fixed",
        Allocation::Dynamic => "growing",
    }
}

pub(super) fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::Zstd => "zstd",
        Compression::None => "none",
    }
}

/// The cipher and where the key comes from; never the key.
pub(super) fn encryption(encryption: &Encryption) -> String {
    match encryption {
        Encryption::None => "none".into(),
        Encryption::Aes256Gcm { key: SecretRef::Env(name) } => format!("aes-256-gcm, key from env {name}"),
        Encryption::Aes256Gcm { key: SecretRef::File(path) } => format!("aes-256-gcm, key from file {path}"),
        Encryption::Aes256Gcm { key: SecretRef::Command(_) } => "aes-256-gcm, key from a command".into(),
    }
}

/// Enough of a digest to tell inputs apart, and short enough to read.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take("blake3:".len() + 32).collect()
}
