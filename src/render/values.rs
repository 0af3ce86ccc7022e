//! The shape of what templates see, in their names: each field is a name that a template may use.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::plan::{Allocation, Compression, DiskFormat, EndState, Firmware};

#[derive(Serialize)]
pub(super) struct MachineValues<'a> {
    pub(super) plan: PlanValues<'a>,
    pub(super) store: StoreValues<'a>,
    pub(super) machine: &'a str,
    pub(super) settings: &'a Map<String, Value>,
    pub(super) target: Map<String, Value>,
    pub(super) vm: VmValues<'a>,
    pub(super) network: &'a Value,
    pub(super) nics: Vec<NicValues<'a>>,
    pub(super) inventory_nics: Vec<NicValues<'a>>,
    pub(super) disks: Vec<DiskValues<'a>>,
    pub(super) agent: AgentValues<'a>,
    pub(super) ssh: SshValues<'a>,
    pub(super) capture: CaptureValues,
    pub(super) deploy: DeployValues,
    pub(super) guest: GuestValues<'a>,
    pub(super) post: PostValues<'a>,
    pub(super) tools: Vec<ToolValues<'a>>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) items: ItemValues,
}

#[derive(Serialize)]
pub(super) struct PlanValues<'a> {
    pub(super) name: &'a str,
    pub(super) root: &'a str,
}

#[derive(Serialize)]
pub(super) struct StoreValues<'a> {
    pub(super) path: &'a str,
    pub(super) encrypted: bool,
    pub(super) key: String,
}

#[derive(Serialize)]
pub(super) struct VmValues<'a> {
    pub(super) name: &'a str,
    pub(super) memory: u64,
    pub(super) memory_mib: u64,
    pub(super) agent_memory_mib: u64,
    pub(super) cpus: u32,
    pub(super) firmware: Firmware,
    pub(super) disk_format: DiskFormat,
    pub(super) allocation: Allocation,
    pub(super) network: &'a str,
}

#[derive(Serialize)]
pub(super) struct NicValues<'a> {
    pub(super) id: String,
    pub(super) mac: &'a str,
    pub(super) name: &'a str,
}

#[derive(Serialize)]
pub(super) struct DiskValues<'a> {
    pub(super) id: String,
    pub(super) file: String,
    pub(super) format: DiskFormat,
    pub(super) size: u64,
    pub(super) device: String,
    pub(super) source: SourceValues<'a>,
}

#[derive(Serialize)]
pub(super) struct SourceValues<'a> {
    pub(super) path: &'a str,
    pub(super) format: DiskFormat,
    pub(super) identity: &'a str,
    pub(super) serial: &'a str,
    pub(super) device: &'a str,
}

/// The running machine that is read over ssh; nothing is used of it otherwise.
#[derive(Default, Serialize)]
pub(super) struct SshValues<'a> {
    pub(super) used: bool,
    pub(super) host: &'a str,
    pub(super) user: &'a str,
    pub(super) port: u16,
    pub(super) key: &'a str,
    pub(super) known_hosts: &'a str,
    pub(super) frozen: bool,
    pub(super) freeze: String,
    pub(super) snapshots: bool,
    pub(super) snapshot: &'a str,
    pub(super) sized: bool,
    pub(super) snapshot_size: u64,
    pub(super) accepted: bool,
}

/// The machine that boots into the agent; nothing is used of it otherwise.
#[derive(Serialize)]
pub(super) struct AgentValues<'a> {
    pub(super) used: bool,
    pub(super) mac: &'a str,
    pub(super) uuid: &'a str,
    pub(super) serial: &'a str,
    pub(super) power: PowerValues<'a>,
}

/// How the machine's power is switched; a person does it if both addresses are empty.
#[derive(Serialize)]
pub(super) struct PowerValues<'a> {
    pub(super) redfish: &'a str,
    pub(super) certificate: &'a str,
    pub(super) ipmi: &'a str,
    pub(super) cipher: String,
    pub(super) user: &'a str,
    pub(super) password: String,
}

#[derive(Serialize)]
pub(super) struct CaptureValues {
    pub(super) compression: Compression,
    pub(super) whole: bool,
    pub(super) zero_unreadable: bool,
    pub(super) limited: bool,
    pub(super) limit: String,
    pub(super) budgeted: bool,
    pub(super) budget: String,
}

#[derive(Serialize)]
pub(super) struct DeployValues {
    pub(super) by_agent: bool,
    pub(super) budgeted: bool,
    pub(super) budget: String,
}

#[derive(Serialize)]
pub(super) struct GuestValues<'a> {
    pub(super) converted: bool,
    pub(super) root: &'a str,
    pub(super) initramfs: &'static str,
    pub(super) serial_console: bool,
    pub(super) skip: &'a [String],
    pub(super) addresses: Vec<String>,
    pub(super) keys: Vec<String>,
    pub(super) run: RunValues<'a>,
    pub(super) drivers: &'a [String],
    pub(super) services: Vec<ServiceValues<'a>>,
    pub(super) windows: WindowsValues<'a>,
}

/// The user's own scripts, by when they run.
#[derive(Serialize)]
pub(super) struct RunValues<'a> {
    pub(super) before: Vec<ScriptValues<'a>>,
    pub(super) after: Vec<ScriptValues<'a>>,
    pub(super) first_boot: Vec<ScriptValues<'a>>,
}

#[derive(Serialize)]
pub(super) struct ScriptValues<'a> {
    pub(super) number: usize,
    pub(super) name: &'a str,
    pub(super) timeout: String,
    /// The step may take a little longer than the script, which is ended first.
    pub(super) step_timeout: String,
    pub(super) lines: Vec<&'a str>,
}

/// The provider's tables for Windows, a line for each entry.
#[derive(Serialize)]
pub(super) struct WindowsValues<'a> {
    pub(super) devices: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) hal: &'a [String],
    pub(super) driver_source: &'a str,
}

#[derive(Serialize)]
pub(super) struct ServiceValues<'a> {
    pub(super) name: &'a str,
    pub(super) mode: &'a str,
}

#[derive(Serialize)]
pub(super) struct PostValues<'a> {
    pub(super) action: EndState,
    pub(super) probes: &'a [String],
    pub(super) waits: bool,
    pub(super) wait_for: &'a str,
    pub(super) timeout: String,
}

#[derive(Serialize)]
pub(super) struct ToolValues<'a> {
    pub(super) tool: &'a str,
    pub(super) package: &'a str,
}

/// The items of each script, in order, as its last line names them.
#[derive(Serialize)]
pub(super) struct ItemValues {
    pub(super) validate: String,
    pub(super) capture: String,
    pub(super) create_vm: String,
    pub(super) deploy_vm: String,
    pub(super) cleanup_vm: String,
}
