//! What templates see of a machine: a complete, typed set of values without any that may be absent.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::values::{
    AgentValues, CaptureValues, DeployValues, DiskValues, GuestValues, ItemValues, MachineValues, NicValues,
    PlanValues, PostValues, PowerValues, RunValues, ScriptValues, ServiceValues, SourceValues, SshValues, StoreValues,
    ToolValues, VmValues, WindowsValues,
};
use crate::guest::windows::{Device, ServiceRule, TargetTables};
use crate::inventory::{ResolvedMachine, ResolvedPlan};
use crate::plan::{
    AgentSource, Budget, CaptureRead, Convert, DeployBy, Encryption, GuestScript, Host, Machine, Nic, OnReadError,
    Power, ScriptTime, SecretRef, SnapshotUse,
};
use crate::provider::{ArtifactSpec, Provider, ServiceMode, ToolSpec, file_stem};

/// A host with what is the same for all of its machines.
pub struct HostSide<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its provider.
    pub provider: &'a Provider,
    /// Its settings with all defaults.
    pub settings: Map<String, Value>,
}

/// What the templates of a machine's artifacts see.
pub fn machine_values(plan: &ResolvedPlan, machine: &Machine, facts: &ResolvedMachine, side: &HostSide<'_>) -> Value {
    let manifest = &side.provider.manifest;
    let null = &Value::Null;
    let converted = machine.guest.convert == Convert::Auto;
    let disks: Vec<DiskValues<'_>> = facts.disks.iter().map(|disk| disk_values(machine, disk, side)).collect();
    let ids: Vec<&str> = disks.iter().map(|disk| disk.id.as_str()).collect();
    let values = MachineValues {
        plan: PlanValues { name: &plan.plan.name, root: plan.plan.root.as_str() },
        store: store_values(plan),
        machine: &machine.name.value.0,
        settings: &side.settings,
        target: side.provider.target_settings(&machine.target.settings),
        vm: VmValues {
            name: &machine.target.vm_name,
            memory: facts.memory.0,
            memory_mib: facts.memory.0.div_ceil(1 << 20),
            agent_memory_mib: manifest.constants.agent_memory.0.0.div_ceil(1 << 20),
            cpus: facts.cpus,
            firmware: facts.firmware,
            disk_format: machine.target.disk_format,
            allocation: machine.target.allocation,
            network: &machine.target.network.value,
        },
        network: side.provider.network(&side.settings, &machine.target.network.value).unwrap_or(null),
        nics: boot_nic_last(&facts.nics),
        inventory_nics: facts.nics.iter().enumerate().map(nic_values).collect(),
        agent: agent_values(machine),
        ssh: ssh_values(machine),
        capture: CaptureValues {
            compression: machine.capture.compression,
            whole: machine.capture.read == CaptureRead::Whole,
            zero_unreadable: machine.capture.on_read_error == OnReadError::ZeroAndReport,
            limited: machine.capture.limit.is_some(),
            limit: machine.capture.limit.map(|rate| format!("{}Bps", rate.0)).unwrap_or_default(),
            budgeted: machine.capture.budget.is_some(),
            budget: machine.capture.budget.as_ref().map(budget).unwrap_or_default(),
        },
        deploy: DeployValues {
            by_agent: machine.target.deploy == DeployBy::Agent,
            budgeted: machine.target.budget.is_some(),
            budget: machine.target.budget.as_ref().map(budget).unwrap_or_default(),
        },
        guest: GuestValues {
            converted,
            root: machine.guest.root.as_deref().unwrap_or_default(),
            initramfs: machine.guest.initramfs.word(),
            serial_console: machine.guest.serial_console,
            skip: &machine.guest.skip,
            addresses: machine.guest.addresses.iter().map(|(from, to)| format!("{from} {to}")).collect(),
            keys: machine.guest.keys.iter().map(|(uuid, key)| format!("{uuid}={}", reference(key))).collect(),
            run: run_values(&machine.guest.run),
            drivers: &manifest.guest.drivers,
            services: manifest.guest.services.iter().map(service_values).collect(),
            windows: windows_values(side.provider.windows()),
        },
        post: PostValues {
            action: machine.post_deploy.action,
            probes: &machine.post_deploy.probes,
            waits: machine.post_deploy.wait_for.is_some(),
            wait_for: machine.post_deploy.wait_for.as_deref().unwrap_or_default(),
            timeout: format!("{}s", machine.post_deploy.timeout.as_secs()),
        },
        tools: manifest.tools.iter().map(tool_values).collect(),
        files: files(&machine.name.value.0, &manifest.artifacts.machine),
        items: ItemValues {
            validate: join("tools", &ids, ""),
            capture: match (&machine.source.agent, &machine.source.ssh) {
                (Some(_), Some(_)) => join("precopy boot", &ids, "seal release"),
                (Some(_), None) => join("boot", &ids, "seal release"),
                (None, _) => join("", &ids, "seal"),
            },
            create_vm: join("folder", &ids, "description"),
            deploy_vm: match machine.target.deploy {
                DeployBy::Agent => join("disks", &[], if converted { "guest" } else { "" }),
                DeployBy::Host => join("", &ids, if converted { "guest" } else { "" }),
            },
            cleanup_vm: "stop vm captures".to_owned(),
        },
        disks,
    };
    serde_json::to_value(values).expect("the values have text keys only")
}

/// What the templates of a host's artifacts see.
pub fn host_values(plan: &ResolvedPlan, side: &HostSide<'_>) -> Value {
    serde_json::json!({
        "plan": { "name": &plan.plan.name, "root": plan.plan.root.as_str() },
        "host": side.host.name.value.0.as_ref(),
        "settings": &side.settings,
        // Machines of metal need every driver there is.
        "generic_agent": plan.plan.machines.iter().any(|machine| machine.source.agent.is_some()),
        "tools": side.provider.manifest.tools.iter().map(tool_values).collect::<Vec<_>>(),
    })
}

fn disk_values<'a>(machine: &'a Machine, disk: &'a crate::inventory::DiskFacts, side: &HostSide<'_>) -> DiskValues<'a> {
    let format = machine.target.disk_format;
    DiskValues {
        id: disk.index.to_string(),
        file: format!("{}.{format}", disk.index),
        format,
        size: disk.size.0,
        device: format!("{}{}", side.provider.manifest.constants.disk_device, letters(disk.index.0)),
        source: SourceValues {
            path: disk.path.as_str(),
            format: disk.format,
            identity: &disk.identity,
            serial: serial(machine, disk),
            device: device(machine, disk),
        },
    }
}

/// What the agent knows the disk by; empty if it reads none, or if the size has to do.
fn serial<'a>(machine: &'a Machine, disk: &crate::inventory::DiskFacts) -> &'a str {
    let declared = machine.source.disks.iter().find(|declared| declared.index == disk.index);
    declared.and_then(|declared| declared.in_agent.as_ref()?.serial.as_deref()).unwrap_or_default()
}

/// What the disk is called on the running machine; empty if it is not read there.
fn device<'a>(machine: &'a Machine, disk: &crate::inventory::DiskFacts) -> &'a str {
    let declared = machine.source.disks.iter().find(|declared| declared.index == disk.index);
    declared.and_then(|declared| Some(declared.live.as_ref()?.device.as_str())).unwrap_or_default()
}

fn ssh_values(machine: &Machine) -> SshValues<'_> {
    let Some(ssh) = &machine.source.ssh else { return SshValues::default() };
    SshValues {
        used: true,
        host: &ssh.host,
        user: &ssh.user,
        port: ssh.port,
        key: ssh.key.as_str(),
        known_hosts: ssh.known_hosts.as_str(),
        frozen: ssh.freeze.is_some(),
        freeze: ssh.freeze.map(|longest| format!("{}s", longest.as_secs())).unwrap_or_default(),
        snapshots: ssh.snapshot != SnapshotUse::Never,
        snapshot: ssh.snapshot.name(),
        sized: ssh.snapshot_size.is_some(),
        snapshot_size: ssh.snapshot_size.unwrap_or_default().0,
        accepted: ssh.accept_inconsistent,
    }
}

fn agent_values(machine: &Machine) -> AgentValues<'_> {
    let text = |value: fn(&AgentSource) -> &Option<String>| {
        machine.source.agent.as_ref().and_then(|agent| value(agent).as_deref()).unwrap_or_default()
    };
    AgentValues {
        used: machine.source.agent.is_some(),
        mac: text(|agent| &agent.mac),
        uuid: text(|agent| &agent.uuid),
        serial: text(|agent| &agent.serial),
        power: power_values(&machine.power),
    }
}

fn power_values(power: &Power) -> PowerValues<'_> {
    let nobody = PowerValues {
        redfish: "",
        certificate: "",
        ipmi: "",
        cipher: String::new(),
        user: "",
        password: String::new(),
    };
    match power {
        Power::Manual => nobody,
        Power::Redfish(access) => PowerValues {
            redfish: &access.url,
            certificate: &access.certificate,
            user: &access.user,
            password: reference(&access.password),
            ..nobody
        },
        Power::Ipmi(access) => PowerValues {
            ipmi: &access.host,
            cipher: access.cipher.map(|cipher| cipher.to_string()).unwrap_or_default(),
            user: &access.user,
            password: reference(&access.password),
            ..nobody
        },
    }
}

fn budget(budget: &Budget) -> String {
    format!("{}={}", budget.name, budget.rate)
}

/// How the kernel counts disks: a to z, aa to zz and on.
fn letters(index: u16) -> String {
    let mut rest = u32::from(index) + 1;
    let mut letters = Vec::new();
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).expect("below 26")));
        rest /= 26;
    }
    letters.iter().rev().collect()
}

fn store_values(plan: &ResolvedPlan) -> StoreValues<'_> {
    let (encrypted, key) = match &plan.plan.store.encryption {
        Encryption::None => (false, String::new()),
        Encryption::Aes256Gcm { key } => (true, reference(key)),
    };
    StoreValues { path: plan.plan.store.path.as_str(), encrypted, key }
}

/// A reference as `--key` takes it.
fn reference(secret: &SecretRef) -> String {
    match secret {
        SecretRef::Env(name) => format!("env:{name}"),
        SecretRef::File(path) => format!("file:{path}"),
        SecretRef::Command(command) => format!("command:{command}"),
    }
}

/// The first adapter is the one the machine boots from; a hypervisor is given it last.
fn boot_nic_last(nics: &[Nic]) -> Vec<NicValues<'_>> {
    let mut values: Vec<_> = nics.iter().enumerate().map(nic_values).collect();
    if !values.is_empty() {
        values.rotate_left(1);
    }
    values
}

fn nic_values((index, nic): (usize, &Nic)) -> NicValues<'_> {
    NicValues { id: format!("nic{index}"), mac: &nic.mac, name: nic.name.as_deref().unwrap_or_default() }
}

fn service_values(service: &ServiceMode) -> ServiceValues<'_> {
    ServiceValues { name: &service.name, mode: &service.mode }
}

fn run_values(scripts: &[GuestScript]) -> RunValues<'_> {
    let at = |when: ScriptTime| {
        let own = scripts.iter().filter(|script| script.when == when).enumerate();
        own.map(|(index, GuestScript { script, .. })| ScriptValues {
            number: index + 1,
            name: &script.name,
            timeout: format!("{}s", script.timeout.as_secs()),
            step_timeout: format!("{}s", script.timeout.as_secs().saturating_add(60)),
            lines: script.text.lines().collect(),
        })
        .collect()
    };
    RunValues { before: at(ScriptTime::Before), after: at(ScriptTime::After), first_boot: at(ScriptTime::FirstBoot) }
}

fn windows_values(tables: &TargetTables) -> WindowsValues<'_> {
    WindowsValues {
        devices: tables.hardware.devices.iter().map(Device::to_row).collect(),
        services: tables.modes.services.iter().map(ServiceRule::to_row).collect(),
        hal: &tables.hardware.hal.accepted,
        driver_source: &tables.hardware.driver_source,
    }
}

fn tool_values(tool: &ToolSpec) -> ToolValues<'_> {
    ToolValues { tool: &tool.tool, package: &tool.package }
}

/// The names of a machine's files: `create_vm` for a script, `deploy_vm_xml` for others.
fn files(machine: &str, specs: &[ArtifactSpec]) -> BTreeMap<String, String> {
    let named = |spec: &ArtifactSpec| {
        let id = spec.id.replace('-', "_");
        let key = if spec.extension() == "sh" { id } else { format!("{id}_{}", spec.extension()) };
        (key, format!("{}_{}.{}", file_stem(machine), spec.id, spec.extension()))
    };
    specs.iter().map(named).collect()
}

fn join(first: &str, ids: &[&str], last: &str) -> String {
    let words = std::iter::once(first).chain(ids.iter().copied()).chain(std::iter::once(last));
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_lettered_as_the_kernel_does() {
        assert_eq!([0, 25, 26, 701, 702].map(letters), ["a", "z", "aa", "zz", "aaa"]);
    }

    #[test]
    fn the_boot_adapter_comes_last() {
        let nic = |mac: &str| Nic { mac: mac.into(), name: None };
        let nics = [nic("1"), nic("2"), nic("3")];
        let order: Vec<_> = boot_nic_last(&nics).into_iter().map(|nic| (nic.id, nic.mac)).collect();
        assert_eq!(order, [("nic1".into(), "2"), ("nic2".into(), "3"), ("nic0".into(), "1")]);
    }
}
