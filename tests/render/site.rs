//! A plan with made-up facts, so that rendering and planning can be looked at without any disk.

use std::sync::Arc;

use camino::Utf8PathBuf;
use replant::diagnostic::SourceText;
use replant::inventory::{DiskFacts, DiskKind, ResolvedMachine, ResolvedPlan};
use replant::plan::{self, DiskFormat, Firmware, Plan};
use replant::units::ByteCount;

/// Reads `yaml` as a plan and binds facts to it: every disk holds 1 GiB times its number, half of it allocated.
pub fn resolved(yaml: &str) -> ResolvedPlan {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, yaml).expect("the plan can be written");
    let path = Utf8PathBuf::from_path_buf(path).expect("temporary folders have text paths");
    let (plan, _) = plan::load(&path).unwrap_or_else(|found| panic!("{:#?}", found.as_slice()));
    bind(relocate(plan, folder.path().to_str().expect("text")))
}

/// The plan as if it lay in `/srv/site`, so that what is rendered does not depend on the temporary folder.
fn relocate(mut plan: Plan, from: &str) -> Plan {
    let moved = |path: &Utf8PathBuf| Utf8PathBuf::from(path.as_str().replacen(from, "/srv/site", 1));
    plan.root = Utf8PathBuf::from("/srv/site");
    plan.store.path = moved(&plan.store.path);
    if let plan::Encryption::Aes256Gcm { key: plan::SecretRef::File(path) } = &mut plan.store.encryption {
        *path = moved(path);
    }
    for file in &mut plan.files {
        let path = file.path.replacen(from, "/srv/site", 1);
        *file = Arc::new(SourceText { path, text: file.text.clone() });
    }
    for disk in plan.machines.iter_mut().flat_map(|machine| &mut machine.source.disks) {
        disk.path.value = moved(&disk.path.value);
    }
    plan
}

/// Binds made-up facts to a plan.
pub fn bind(plan: Plan) -> ResolvedPlan {
    let machines = plan.machines.iter().map(|machine| {
        let disks = machine.source.disks.iter().map(|disk| {
            let size = (u64::from(disk.index.0) + 1) << 30;
            DiskFacts {
                index: disk.index,
                path: disk.path.value.clone(),
                format: disk.format.unwrap_or(DiskFormat::Qcow2),
                kind: DiskKind::File,
                size: ByteCount(size),
                allocated: ByteCount(size / 2),
                identity: format!("file size={size} mtime=1700000000000000000 inode={}", 100 + disk.index.0),
                boots: Some(Firmware::Bios),
            }
        });
        ResolvedMachine {
            document: None,
            disks: disks.collect(),
            memory: machine
                .target
                .memory
                .as_ref()
                .map(|m| m.value)
                .or(machine.inventory.memory)
                .unwrap_or(ByteCount(1 << 29)),
            cpus: machine.target.cpus.as_ref().map(|c| c.value).or(machine.inventory.cpus).unwrap_or(1),
            firmware: machine.target.firmware.or(machine.inventory.firmware).unwrap_or(Firmware::Bios),
            nics: machine.inventory.nics.clone(),
        }
    });
    let machines = machines.collect();
    ResolvedPlan { plan, machines }
}

/// Two machines: one with two disks, conversion and everything declared; one as plain as can be.
pub const TWO_MACHINES: &str = r#"replant: 1
name: quickstart
store:
  path: store
  encryption: aes-256-gcm
  key: { file: .replant/store.key }
hosts:
  local:
    provider: qemu
    memory: 8GiB
    settings: { folder: vms, networks: { lan: { type: bridge, bridge: br0 } } }
machines:
  - name: web01
    source:
      disks:
        - path: source/web01-sda.qcow2
        - { path: source/web01-sdb.raw, format: raw }
    inventory:
      nics:
        - { mac: "52:54:00:12:34:56", name: eth0 }
        - { mac: "52:54:00:12:34:57" }
    target: { host: local, memory: 512MiB, cpus: 2, firmware: uefi, network: lan, disks: { format: qcow2, allocation: fixed } }
    capture: { limit: 200MBps }
    guest: { convert: auto, serial_console: true, root: "UUID=0000-1111", skip: [network] }
    post_deploy: { action: start, wait_for: "READY", timeout: 5m }
    on_failure: rollback
  - name: db01
    source: { disks: [{ path: source/db01.qcow2 }] }
    target: { host: local, memory: 1GiB, disks: { format: raw } }
    guest: { convert: none }
    post_deploy: { action: stop }
    after: [web01]
"#;
