//! What `replant inspect --json` found on disks: file systems, volumes, the Linux on them.

use super::error::{ImportError, Place};
use crate::guest::linux::facts::LinuxFacts;
use crate::guest::linux::network::{Interface, LinkKind};
use crate::guest::{
    FileSystem, FsKind, FsState, InspectedDisk, InspectedSystem, MachineInspection, SystemFacts, VolumeKind as Made,
};
use crate::inventory::model::{
    Addressing, CaptureMethod, Disk, Fact, Facts, Nic, NicKind, OsFamily, Partition, PartitionTable, Service,
    StartMode, Volume, VolumeKind, text,
};
use crate::inventory::probe::add_windows;
use crate::units::ByteCount;

/// Reads the output; the machine is called as its only system calls itself.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<(String, Facts)>, Vec<ImportError>> {
    let found: MachineInspection = serde_json::from_str(text).map_err(|error| {
        let help = "it is the output of `replant inspect --json DISK...`, kept whole";
        let message = format!("it is no inspection: {error}");
        vec![ImportError::new(file, Place::Line(error.line().max(1)), message, help)]
    })?;
    let (name, facts) = inspected(&found);
    let Some(name) = name else {
        let systems = found.systems.len();
        let message = format!("{systems} systems were found, and no single name of a machine");
        let help = "`replant inventory disk --name NAME` names it";
        return Err(vec![ImportError::new(file, Place::Path("systems".to_owned()), message, help)]);
    };
    Ok(vec![(name, facts)])
}

/// An inspection as facts, with the name of the only system that has one.
pub fn inspected(found: &MachineInspection) -> (Option<String>, Facts) {
    let mut facts = Facts::default();
    for disk in &found.disks {
        self::disk(disk, &mut facts);
    }
    for volume in &found.volumes {
        let kind = match volume.kind {
            Made::Lvm => VolumeKind::Lvm,
            Made::Raid => VolumeKind::Md,
            Made::Luks => VolumeKind::Crypt,
        };
        let device = volume.device.display().to_string();
        let parts = volume.below.iter().filter_map(text).collect();
        let mut one = self::volume(&device, kind, volume.size, volume.content.as_ref());
        one.parts = parts;
        one.encrypted = Some(Fact::of(volume.kind == Made::Luks));
        facts.storage.volumes.push(one);
    }
    let [system] = found.systems.as_slice() else { return (None, facts) };
    for volume in &mut facts.storage.volumes {
        if volume.name.as_ref().is_some_and(|name| name.value == system.device.trim_start_matches("/dev/")) {
            volume.hosts_os = Some(Fact::of(true));
        }
    }
    let name = match &system.facts {
        SystemFacts::Linux(linux) => {
            self::linux(system, linux, &mut facts);
            linux.hostname.as_deref()
        }
        SystemFacts::Windows(windows) => {
            add_windows(windows, &mut facts);
            windows.host_name.as_deref()
        }
    };
    let name = name.map(|name| name.split('.').next().unwrap_or(name).to_ascii_lowercase());
    (name.filter(|name| !name.is_empty()), facts)
}

fn disk(disk: &InspectedDisk, facts: &mut Facts) {
    let table = match disk.scheme.as_deref() {
        Some("gpt") => PartitionTable::Gpt,
        Some(_) => PartitionTable::Mbr,
        None => PartitionTable::None,
    };
    facts.storage.disks.push(Disk {
        name: text(&disk.name),
        size: Some(Fact::of(ByteCount(disk.size))),
        partition_table: Some(Fact::of(table)),
        ..Disk::default()
    });
    for content in &disk.contents {
        let name = content.name.trim_start_matches("/dev/");
        let number = name.strip_prefix(&disk.name).and_then(|rest| rest.strip_prefix('p')?.parse().ok());
        if let Some(number) = number {
            facts.storage.partitions.push(Partition {
                name: text(name),
                disk: text(&disk.name),
                number: Some(Fact::of(number)),
                size: Some(Fact::of(ByteCount(content.size))),
                ..Partition::default()
            });
        }
        let kind = if number.is_some() { VolumeKind::Partition } else { VolumeKind::Disk };
        let mut volume = self::volume(name, kind, content.size, content.content.as_ref());
        volume.parts = text(&disk.name).into_iter().collect();
        facts.storage.volumes.push(volume);
    }
}

fn volume(name: &str, kind: VolumeKind, size: u64, content: Option<&FileSystem>) -> Volume {
    let capture = |kind: FsKind| match kind {
        FsKind::Ext4 | FsKind::Xfs | FsKind::Btrfs | FsKind::Vfat | FsKind::Ntfs | FsKind::Swap | FsKind::Lvm => {
            CaptureMethod::UsedBlocks
        }
        FsKind::Luks | FsKind::Raid | FsKind::Zfs | FsKind::BitLocker => CaptureMethod::Whole,
    };
    let state = content.and_then(|content| match content.state {
        FsState::Usable => None,
        FsState::Damaged => text("marked as damaged: check it first"),
        FsState::Hibernated => text("it holds a hibernated machine"),
    });
    Volume {
        name: text(name.trim_start_matches("/dev/")),
        kind: Some(Fact::of(kind)),
        file_system: content.and_then(|content| match content.kind.mountable() {
            Some(name) => text(name),
            None => text(content.kind.name().to_lowercase().replace(' ', "-")),
        }),
        label: content.and_then(|content| content.label.as_ref()).and_then(text),
        uuid: content.and_then(|content| content.uuid.as_ref()).and_then(text),
        size: Some(Fact::of(ByteCount(size))),
        encrypted: content.map(|content| Fact::of(matches!(content.kind, FsKind::Luks | FsKind::BitLocker))),
        capture: Some(Fact::of(content.map_or(CaptureMethod::Whole, |content| capture(content.kind)))),
        capture_reason: state,
        ..Volume::default()
    }
}

fn linux(system: &InspectedSystem, linux: &LinuxFacts, facts: &mut Facts) {
    let os = &mut facts.os;
    os.family = Some(Fact::of(OsFamily::Linux));
    os.name = text(&system.name);
    os.id = linux.distribution.as_ref().and_then(text);
    os.version = linux.version.as_ref().and_then(text);
    os.architecture = linux.architecture.as_ref().and_then(text);
    os.kernel = linux.kernels.last().and_then(|kernel| text(&kernel.release));
    os.host_name = linux.hostname.as_ref().and_then(text);
    os.selinux = linux.selinux.as_ref().map(|mode| Fact::of(mode != "disabled"));
    let hibernated = facts
        .storage
        .volumes
        .iter()
        .any(|volume| volume.capture_reason.as_ref().is_some_and(|reason| reason.value.contains("hibernated")));
    os.hibernated = Some(Fact::of(hibernated));
    let service = |name: &String| Service {
        name: text(name.trim_end_matches(".service")),
        start: Some(Fact::of(StartMode::Automatic)),
        ..Service::default()
    };
    facts.software.services = linux.services.iter().map(service).collect();
    for mount in &linux.mounts {
        let point = text(&mount.point);
        let device = mount.device.trim_start_matches("/dev/");
        let same = |volume: &&mut Volume| {
            let is = |fact: &Option<Fact<String>>, prefix: &str| {
                let given = mount.device.strip_prefix(prefix);
                given.is_some() && fact.as_ref().map(|fact| fact.value.as_str()) == given
            };
            is(&volume.uuid, "UUID=")
                || is(&volume.label, "LABEL=")
                || volume.name.as_ref().is_some_and(|name| name.value == device)
        };
        if let Some(volume) = facts.storage.volumes.iter_mut().find(same).filter(|_| mount.point.starts_with('/')) {
            volume.mounted_at = point;
        }
    }
    facts.network.nics = linux.interfaces.iter().map(nic).collect();
}

fn nic(interface: &Interface) -> Nic {
    Nic {
        name: text(&interface.name),
        mac: interface.mac.as_ref().and_then(|mac| super::hardware::mac(mac)),
        kind: Some(Fact::of(match interface.kind {
            LinkKind::Ethernet => NicKind::Ethernet,
            LinkKind::Bond => NicKind::Bond,
            LinkKind::Vlan => NicKind::Vlan,
            LinkKind::Bridge => NicKind::Bridge,
            LinkKind::Other => NicKind::Other,
        })),
        addressing: Some(Fact::of(if interface.dhcp { Addressing::Dhcp } else { Addressing::Static })),
        addresses: interface.addresses.iter().filter_map(text).collect(),
        gateways: interface.gateways.iter().filter_map(text).collect(),
        name_servers: interface.dns.iter().filter_map(text).collect(),
        parts: interface.below.iter().filter_map(text).collect(),
        ..Nic::default()
    }
}
