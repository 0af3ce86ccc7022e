//! What is asked, after every check that needs no look at the world: closed enums, newtypes, spans where a later
//! stage may have to complain.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::boot::{Netboot, Power};
use super::capacity::{HostCapacity, HostSizing, MachinePlacement, Utilisation};
use crate::diagnostic::{SourceText, Span, Spanned};
use crate::guest::UserScript;
use crate::guest::linux::initramfs::InitramfsChoice;
pub use crate::hardware::{DiskFormat, Firmware};
use crate::provider::RuleSpec;
use crate::units::{ByteCount, ByteRate};

/// A machine's name, unique in a plan: `[A-Za-z0-9][A-Za-z0-9._-]*`, 63 characters at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MachineName(pub Arc<str>);

/// A host's name, unique in a plan; same form as a machine's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostName(pub Arc<str>);

/// A disk of a machine, in plan order: `disk0`, `disk1`, ...; unique in its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskIndex(pub u16);

impl Borrow<str> for MachineName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MachineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DiskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk{}", self.0)
    }
}

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

/// Where the disks are read.
#[derive(Clone, Debug)]
pub struct Source {
    /// In plan order; the first is the boot disk.
    pub disks: Vec<SourceDisk>,
    /// The machine that has them, if the agent reads them there.
    pub agent: Option<AgentSource>,
    /// The running machine, if they are read over ssh: alone, or before the agent reads them.
    pub ssh: Option<SshSource>,
}

/// A Linux that runs and is read over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSource {
    /// Name or address.
    pub host: String,
    /// Who logs in there.
    pub user: String,
    /// The port.
    pub port: u16,
    /// The private key's file, absolute path.
    pub key: Utf8PathBuf,
    /// The file with the host's own key, absolute path.
    pub known_hosts: Utf8PathBuf,
    /// How long its file systems may be frozen, if they are.
    pub freeze: Option<Duration>,
    /// Whether LVM volumes are read from snapshots.
    pub snapshot: SnapshotUse,
    /// Room that each snapshot gets.
    pub snapshot_size: Option<ByteCount>,
    /// Whether an image that is not consistent will do.
    pub accept_inconsistent: bool,
}

/// Whether LVM snapshots are taken on a running machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotUse {
    /// Where there is room.
    #[default]
    Auto,
    /// Of nothing.
    Never,
    /// Of every volume in use, or nothing is read.
    Required,
}

impl SnapshotUse {
    /// As plans and verbs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Required => "required",
        }
    }
}

/// A machine that boots into the agent: what finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSource {
    /// A network adapter of it.
    pub mac: Option<String>,
    /// Its firmware's UUID.
    pub uuid: Option<String>,
    /// Its firmware's serial number.
    pub serial: Option<String>,
}

/// A source disk: a disk file or a block device; opened read-only, always.
#[derive(Clone, Debug)]
pub struct SourceDisk {
    /// Which one.
    pub index: DiskIndex,
    /// Absolute path; of a disk that the agent reads, `agent:MACHINE/diskN`.
    pub path: Spanned<Utf8PathBuf>,
    /// Declared format; `None` lets the file's own signature decide.
    pub format: Option<DiskFormat>,
    /// What the agent knows it by, if the agent reads it.
    pub in_agent: Option<AgentDisk>,
    /// What it is called on the running machine, if it is read over ssh.
    pub live: Option<LiveDisk>,
}

/// A disk of a running machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDisk {
    /// Its device there, or a file.
    pub device: String,
    /// Its size.
    pub size: ByteCount,
}

/// A disk of a machine in the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDisk {
    /// Its serial number; without one it is the only disk of its size.
    pub serial: Option<String>,
    /// Its size.
    pub size: ByteCount,
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

/// The VM to be.
#[derive(Clone, Debug)]
pub struct Target {
    /// Which host runs it.
    pub host: Spanned<HostName>,
    /// Name of the VM; the machine's unless declared.
    pub vm_name: String,
    /// Memory; `None` takes the inventory's.
    pub memory: Option<Spanned<ByteCount>>,
    /// Virtual processors; `None` takes the inventory's.
    pub cpus: Option<Spanned<u32>>,
    /// Firmware; `None` takes the inventory's or what the boot disk shows.
    pub firmware: Option<Firmware>,
    /// File format of the VM's disks.
    pub disk_format: DiskFormat,
    /// Preallocated or growing.
    pub allocation: Allocation,
    /// Who writes the disks.
    pub deploy: DeployBy,
    /// What its deploys share with others.
    pub budget: Option<Budget>,
    /// The virtual network the NICs are connected to at the commit point; the provider gives it meaning.
    pub network: Spanned<String>,
    /// Extra settings for the provider's templates.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// Where the settings were written.
    pub settings_span: Span,
}

/// Preallocated or growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allocation {
    /// All space is taken at once.
    Fixed,
    /// Space is taken as it is written.
    Dynamic,
}

/// Who writes the VM's disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeployBy {
    /// We, for the disk files can be opened here.
    Host,
    /// The agent in the VM, which fetches the images through the controller.
    Agent,
}

/// What several captures and deploys may use together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Its name.
    pub name: String,
    /// How fast, in the form that [`crate::image::RateSchedule`] reads.
    pub rate: String,
}

/// How disks are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Whether chunks are compressed.
    pub compression: Compression,
    /// At most this fast, per disk.
    pub limit: Option<ByteRate>,
    /// What they share with others.
    pub budget: Option<Budget>,
    /// What is read.
    pub read: CaptureRead,
    /// What happens to bytes that the disk does not give.
    pub on_read_error: OnReadError,
}

/// What is read of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureRead {
    /// What file systems use, and whatever is not recognised.
    Used,
    /// Everything.
    Whole,
}

/// What happens to bytes that a disk does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReadError {
    /// The capture fails.
    Fail,
    /// They become zeros and are reported.
    ZeroAndReport,
}

/// Whether chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// zstd, where it pays.
    Zstd,
    /// Never.
    None,
}

/// How the operating system is converted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// Whether it is converted at all.
    pub convert: Convert,
    /// The root file system (`/dev/disk0p1`, `UUID=...`, `LABEL=...`) when there are several.
    pub root: Option<String>,
    /// How an initramfs gets the target's drivers.
    pub initramfs: InitramfsChoice,
    /// Kernel console wanted on the serial port.
    pub serial_console: bool,
    /// Edits that are left out, by id.
    pub skip: Vec<String>,
    /// Addresses that become others: `(old, new)`, each with or without `/PREFIX`.
    pub addresses: Vec<(String, String)>,
    /// Keys of LUKS containers, by the container's UUID.
    pub keys: Vec<(String, SecretRef)>,
    /// The user's own scripts, in order.
    pub run: Vec<GuestScript>,
}

/// A script of the user's own, and when it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestScript {
    /// When.
    pub when: ScriptTime,
    /// What.
    pub script: UserScript,
}

/// When a script of the user's own runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScriptTime {
    /// Offline in the restored system, before it is converted.
    Before,
    /// Offline in the restored system, after it was converted.
    After,
    /// When it starts for the first time on the target.
    FirstBoot,
}

/// Whether the operating system is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Convert {
    /// In the agent, before the first boot.
    Auto,
    /// The disks are left as captured.
    None,
}

/// The declared end state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostDeploy {
    /// What the VM does when the migration has ended.
    pub action: EndState,
    /// Wait until the console shows this text.
    pub wait_for: Option<String>,
    /// Signs of life that it must give over the network: `tcp:HOST:PORT`.
    pub probes: Vec<String>,
    /// How long to wait for it.
    pub timeout: Duration,
}

/// What the VM does when the migration has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndState {
    /// It runs.
    Start,
    /// It is off.
    Stop,
    /// It stays in the agent.
    Agent,
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
