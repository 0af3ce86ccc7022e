//! The content of a `provider.yaml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::hardware::{DiskFormat, Firmware};
use crate::units::ByteCount;

/// What a provider is, can do and needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub provider: u32,
    /// Its name; also the folder's.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// JSON Schemas of what a plan may set.
    pub settings: SettingsSchemas,
    /// What a VM may have.
    pub limits: Limits,
    /// Numbers of the hypervisor.
    pub constants: Constants,
    /// Networks that a VM can be connected to.
    pub networks: Networks,
    /// What a guest needs to boot here.
    pub guest: GuestSpec,
    /// Tools of the host that the scripts call.
    pub tools: Vec<ToolSpec>,
    /// What is rendered.
    pub artifacts: Artifacts,
    /// Names that rules compare a machine with, such as the operating systems it supports.
    #[serde(default)]
    pub lists: BTreeMap<String, Vec<String>>,
    /// Whether the source is booted into the agent to be captured.
    #[serde(default)]
    pub boots_source: bool,
    /// Why its artifacts are rendered but cannot be executed here; `None` if they can.
    #[serde(default)]
    pub render_only: Option<String>,
}

/// JSON Schemas (2020-12) of what a plan may set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsSchemas {
    /// Of `hosts.*.settings`.
    pub host: Value,
    /// Of `machines.*.target.settings`.
    pub target: Value,
}

/// What a VM may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory of a VM.
    pub memory: Range<Size>,
    /// Processors of a VM.
    pub cpus: Range<u32>,
    /// Disks of a VM.
    pub disks: DiskLimits,
    /// Network adapters of a VM.
    pub nics: usize,
    /// Disk formats it can attach.
    pub formats: Vec<DiskFormat>,
    /// Firmware it can start.
    pub firmware: Vec<Firmware>,
    /// Largest disk, where there is a limit.
    #[serde(default)]
    pub disk_size: Option<Size>,
    /// Names it can give.
    pub vm_name: VmNameLimits,
}

/// Both ends are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range<T> {
    /// Least.
    pub min: T,
    /// Most.
    pub max: T,
}

/// A size as people write it: `96MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub ByteCount);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        ByteCount::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

/// Disks on the bus that VMs are given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskLimits {
    /// The bus.
    pub bus: String,
    /// Most disks on it.
    pub max: usize,
}

/// Names a VM may have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmNameLimits {
    /// Most characters.
    pub max_length: usize,
    /// None of these characters.
    pub forbidden: String,
    /// Whether `Web` and `web` are one name.
    #[serde(default)]
    pub ignores_case: bool,
}

/// Numbers of the hypervisor.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constants {
    /// Memory of the host that a running VM takes beyond its own.
    pub memory_overhead: Size,
    /// Memory that the agent needs.
    pub agent_memory: Size,
    /// How the guest names its disks, without the letter: `/dev/vd`.
    pub disk_device: String,
}

/// Networks that a VM can be connected to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Networks {
    /// The host setting that declares more of them, by name.
    pub setting: String,
    /// Those that every host has.
    pub builtin: BTreeMap<String, Value>,
}

/// What a guest needs to boot here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestSpec {
    /// Kernel modules.
    pub drivers: Vec<String>,
    /// Start modes of services after the migration.
    pub services: Vec<ServiceMode>,
}

/// The start mode of a service after the migration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceMode {
    /// The service.
    pub name: String,
    /// Its mode, such as `disabled`.
    pub mode: String,
}

/// A tool of the host that scripts call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSpec {
    /// Its name on PATH.
    pub tool: String,
    /// The Debian package that has it.
    pub package: String,
}

/// What is rendered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifacts {
    /// For each host that a machine of the plan is deployed to.
    pub host: Vec<ArtifactSpec>,
    /// For each machine.
    pub machine: Vec<ArtifactSpec>,
}

/// An artifact: the file `NAME_ID.EXTENSION`, where the extension is the template's.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactSpec {
    /// What it is, such as `create-vm`.
    pub id: String,
    /// The template, without `.hbs`: `scripts/create-vm.sh`.
    pub template: String,
}

impl Artifacts {
    /// The extension of a machine's script: that of the artifact of that id which is a script, `sh` if there is none.
    pub fn script_extension(specs: &[ArtifactSpec], id: &str) -> String {
        let mut scripts = specs.iter().filter(|spec| spec.id == id && spec.is_script());
        scripts.next().map_or("sh", ArtifactSpec::extension).to_owned()
    }
}

impl ArtifactSpec {
    /// Whether it is a script, in whatever language.
    pub fn is_script(&self) -> bool {
        matches!(self.extension(), "sh" | "cmd" | "ps1")
    }

    /// The template's extension, which also says how values are escaped.
    pub fn extension(&self) -> &str {
        self.template.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}
