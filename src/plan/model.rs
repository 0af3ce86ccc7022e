//! What is asked, after every check that needs no look at the world: closed enums, newtypes, spans where a later
//! stage may have to complain.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use super::boot::Netboot;
use super::boot::Power;
use super::capacity::HostCapacity;
use super::capacity::HostSizing;
use super::capacity::MachinePlacement;
use super::capacity::Utilisation;
use super::name::HostName;
use super::name::MachineName;
use super::source::Capture;
use super::source::Source;
use super::target::Guest;
use super::target::PostDeploy;
use super::target::Target;
use crate::diagnostic::SourceText;
use crate::diagnostic::Span;
use crate::diagnostic::Spanned;
pub use crate::hardware::{DiskFormat, Firmware};
use crate::provider::RuleSpec;
use crate::units::ByteCount;

/// A whole plan: every file of it read, every reference resolved, defaults applied.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `name:`
    pub name: String,
    /// The folder of the plan's first file: relative paths start here, `.replant/` lies here.
    pub root: Utf8PathBuf,
    /// Every file that was read, in reading order.
    pub files: Vec<Arc<SourceText>>,
    /// `store:`
    pub store: Store,
    /// `hosts:`
    pub hosts: BTreeMap<HostName, Host>,
    /// `machines:` in plan order.
    pub machines: Vec<Machine>,
    /// `waves:` in plan order; each wave's machines begin when the wave before has ended.
    pub waves: Vec<Wave>,
    /// `rules:`
    pub rules: PlanRules,
    /// `netboot:`
    pub netboot: Option<Netboot>,
}

/// What a plan says about rules.
#[derive(Clone, Debug, Default)]
pub struct PlanRules {
    /// Rules whose violations are accepted.
    pub silence: Vec<Silence>,
    /// Rules of this plan.
    pub add: Vec<AddedRule>,
}

/// A rule whose violations are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// The rule.
    pub id: Spanned<String>,
    /// Globs over machines and hosts; empty for all.
    pub machines: Vec<Spanned<String>>,
    /// Why.
    pub reason: String,
}

/// A rule of a plan.
#[derive(Clone, Debug)]
pub struct AddedRule {
    /// The rule.
    pub spec: RuleSpec,
    /// Where its id is written.
    pub id_span: Span,
    /// Where it begins.
    pub span: Span,
}

/// The image store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its folder, absolute.
    pub path: Utf8PathBuf,
    /// How images are sealed.
    pub encryption: Encryption,
    /// Captures and deploys that may use the store at once.
    pub parallel: u32,
    /// Where it was written, or the plan's name if it was left to the default.
    pub span: Span,
}

/// How images are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// AES-256-GCM with a key from the reference.
    Aes256Gcm {
        /// Where the 32-byte key comes from.
        key: SecretRef,
    },
    /// Images lie in the clear: asked for explicitly.
    None,
}

/// A secret by reference: its value is read when it is needed, and never written anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretRef {
    /// The environment variable of that name.
    Env(String),
    /// The file's content, absolute path.
    File(Utf8PathBuf),
    /// What the command prints (run by `sh -c`, a trailing newline is dropped).
    Command(String),
}

/// A host that runs VMs.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Its name.
    pub name: Spanned<HostName>,
    /// Which provider folder describes it.
    pub provider: Spanned<String>,
    /// `settings:` as the provider's schema declares them.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Where the settings were written, for a schema violation.
    pub settings_span: Span,
    /// Tasks that may work on the host at once.
    pub parallel: u32,
    /// Memory that VMs may use, if declared.
    pub memory: Option<ByteCount>,
    /// What it has, as far as declared.
    pub capacity: HostCapacity,
    /// How VMs are sized on it, as far as declared.
    pub sizing: HostSizing,
    /// Declared facts: sizes in bytes, durations in seconds.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// One machine's migration.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its name.
    pub name: Spanned<MachineName>,
    /// Where its disks are read.
    pub source: Source,
    /// What is declared about it.
    pub inventory: Inventory,
    /// What it is used for.
    pub workload: Workload,
    /// The VM to be.
    pub target: Target,
    /// How its disks are captured.
    pub capture: Capture,
    /// How its operating system is converted.
    pub guest: Guest,
    /// What happens at the end.
    pub post_deploy: PostDeploy,
    /// What happens when a task fails.
    pub on_failure: OnFailure,
    /// Machines that must be done before this one begins.
    pub after: Vec<Spanned<MachineName>>,
    /// Which machines it shares a host with.
    pub placement: MachinePlacement,
    /// How its power is switched.
    pub power: Power,
}

/// Declared facts, for what a disk cannot tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Memory of the source.
    pub memory: Option<ByteCount>,
    /// Processors of the source.
    pub cpus: Option<u32>,
    /// Firmware of the source.
    pub firmware: Option<Firmware>,
    /// Network adapters of the source, in order.
    pub nics: Vec<Nic>,
    /// What the source uses, as measured.
    pub utilisation: Utilisation,
    /// Further declared facts: sizes in bytes, durations in seconds.
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// The document that says what is not declared here, absolute path.
    pub document: Option<Spanned<Utf8PathBuf>>,
}

/// A network adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// `aa:bb:cc:dd:ee:ff`, lower case.
    pub mac: String,
    /// The interface's name in the source, such as `eth0`.
    pub name: Option<String>,
}

/// What the machine is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Production, or test and training.
    pub role: Role,
    /// Free text for reports.
    pub description: Option<String>,
}

/// Production, or test and training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Serves people.
    Production,
    /// A test machine.
    Test,
    /// A training machine.
    Training,
}

/// What several captures and deploys may use together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// How fast, in the form that [`crate::image::RateSchedule`] reads.
    pub rate: String,
}

/// What happens when a task fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// What the machine's tasks made is undone.
    Rollback,
    /// It is kept, and `apply` resumes.
    Keep,
}

/// Machines that migrate together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wave {
    /// Its name.
    pub name: Spanned<String>,
    /// Its machines, globs resolved, in plan order.
    pub machines: Vec<MachineName>,
    /// This many machines may fail before nothing new starts.
    pub max_failures: Option<u32>,
}
