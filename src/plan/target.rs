//! What a machine becomes: its VM, what is done to its system, and its end state.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::model::Budget;
use super::model::SecretRef;
use super::name::HostName;
use crate::diagnostic::Span;
use crate::diagnostic::Spanned;
use crate::guest::UserScript;
use crate::guest::linux::initramfs::InitramfsChoice;
use crate::hardware::DiskFormat;
use crate::hardware::Firmware;
use crate::units::ByteCount;

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
