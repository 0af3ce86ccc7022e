//! What was found on disks without starting the machine, as facts of an inventory document.

use crate::guest::linux::facts::LinuxFacts;
use crate::guest::linux::fstab::Mount;
use crate::guest::linux::network::{Interface, LinkKind};
use crate::guest::windows::{AdapterFact, BootMode, Hazard, StartMode as WindowsStart, WindowsFacts};
use crate::guest::{FileSystem, FsKind, FsState, InspectedSystem, MachineInspection, SystemFacts, Volume as Assembled};
use crate::hardware::Firmware;
use crate::units::ByteCount;

use super::import::program;
use super::model::{
    Addressing, Application, AutoRun, CaptureMethod, Disk, Driver, Fact, Facts, Nic, NicKind, OsFamily, Partition,
    PartitionTable, Service, StartMode, Volume, VolumeKind, text,
};

/// The facts of an inspection. Of several systems the first one is the machine's.
pub fn inspected_facts(found: &MachineInspection) -> Facts {
    let mut facts = Facts::default();
    storage(found, &mut facts);
    let system = found.systems.first();
    match system.map(|system| &system.facts) {
        Some(SystemFacts::Linux(linux)) => linux_system(system.map_or("", |system| &system.name), linux, &mut facts),
        Some(SystemFacts::Windows(windows)) => add_windows(windows, &mut facts),
        None => {}
    }
    facts.os.root = system.and_then(|system| text(&system.root));
    let others = found.systems.iter().skip(1);
    facts.os.other_systems = others.filter_map(|other| text(format!("{} on {}", other.name, other.root))).collect();
    let sleeps = |content: &FileSystem| content.state == FsState::Hibernated;
    if contents(found).any(|(_, _, content)| content.is_some_and(sleeps)) {
        facts.os.hibernated = Some(Fact::of(true));
    }
    facts
}

/// Every partition and volume: its short name, its size, what it holds.
fn contents(found: &MachineInspection) -> impl Iterator<Item = (String, u64, Option<&FileSystem>)> {
    let parts = found.disks.iter().flat_map(|disk| &disk.contents);
    parts.map(|part| (short(&part.name), part.size, part.content.as_ref()))
}

fn short(name: &str) -> String {
    name.trim_start_matches("/dev/").to_owned()
}

fn storage(found: &MachineInspection, facts: &mut Facts) {
    let hazards: Vec<&Hazard> = found.systems.iter().filter_map(windows).flat_map(|facts| &facts.hazards).collect();
    for (index, disk) in found.disks.iter().enumerate() {
        let table = match disk.scheme.as_deref() {
            Some("gpt") => PartitionTable::Gpt,
            Some(_) => PartitionTable::Mbr,
            None => PartitionTable::None,
        };
        let named = format!("/dev/{}", disk.name);
        let ldm = |hazard: &&&Hazard| matches!(hazard, Hazard::DynamicDisk { disk } if *disk == named);
        facts.storage.disks.push(Disk {
            name: text(&disk.name),
            size: Some(Fact::of(ByteCount(disk.size))),
            partition_table: Some(Fact::of(table)),
            boot: Some(Fact::of(index == 0)),
            dynamic: hazards.iter().find(ldm).map(|_| Fact::of(true)),
            ..Disk::default()
        });
        for part in &disk.contents {
            let name = short(&part.name);
            let number = name.strip_prefix(&format!("{}p", disk.name)).and_then(|number| number.parse().ok());
            let kind = if number.is_some() { VolumeKind::Partition } else { VolumeKind::Disk };
            if number.is_some() {
                facts.storage.partitions.push(Partition {
                    name: text(&name),
                    disk: text(&disk.name),
                    number: Fact::maybe(number),
                    size: Some(Fact::of(ByteCount(part.size))),
                    ..Partition::default()
                });
            }
            let mut volume = volume(found, &name, kind, part.size, part.content.as_ref(), &part.name);
            volume.parts = text(&disk.name).into_iter().collect();
            facts.storage.volumes.push(volume);
        }
    }
    for assembled in &found.volumes {
        let Assembled { device, kind, size, content, below, .. } = assembled;
        let kind = match kind {
            crate::guest::VolumeKind::Lvm => VolumeKind::Lvm,
            crate::guest::VolumeKind::Raid => VolumeKind::Md,
            crate::guest::VolumeKind::Luks => VolumeKind::Crypt,
        };
        let device = device.display().to_string();
        let mut volume = volume(found, &short(&device), kind, *size, content.as_ref(), &device);
        volume.parts = below.iter().filter_map(text).collect();
        facts.storage.volumes.push(volume);
    }
}

fn volume(
    found: &MachineInspection,
    name: &str,
    kind: VolumeKind,
    size: u64,
    content: Option<&FileSystem>,
    device: &str,
) -> Volume {
    let mounts = found.systems.iter().filter_map(linux).flat_map(|facts| &facts.mounts);
    let mounted = |mount: &&Mount| {
        let by = |prefix: &str, value: Option<&String>| {
            let spec = mount.device.strip_prefix(prefix).map(|spec| spec.trim_matches('"'));
            spec.is_some_and(|spec| value.is_some_and(|value| value.eq_ignore_ascii_case(spec)))
        };
        mount.device == device
            || by("UUID=", content.and_then(|content| content.uuid.as_ref()))
            || by("LABEL=", content.and_then(|content| content.label.as_ref()))
    };
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
    let secret = content.map(|content| matches!(content.kind, FsKind::Luks | FsKind::BitLocker));
    let root = found.systems.iter().any(|system| system.device == device);
    Volume {
        name: text(name),
        kind: Some(Fact::of(kind)),
        file_system: content.and_then(|content| match content.kind.mountable() {
            Some(name) => text(name),
            None => text(content.kind.name().to_lowercase().replace(' ', "-")),
        }),
        label: content.and_then(|content| text(content.label.as_deref()?)),
        uuid: content.and_then(|content| text(content.uuid.as_deref()?)),
        mounted_at: mounts.clone().find(mounted).and_then(|mount| text(&mount.point)),
        size: Some(Fact::of(ByteCount(size))),
        encrypted: secret.map(Fact::of),
        capture: Some(Fact::of(content.map_or(CaptureMethod::Whole, |content| capture(content.kind)))),
        capture_reason: state,
        hosts_os: root.then(|| Fact::of(true)),
        damaged: content.filter(|content| content.state == FsState::Damaged).map(|_| Fact::of(true)),
        ..Volume::default()
    }
}

fn linux(system: &InspectedSystem) -> Option<&LinuxFacts> {
    match &system.facts {
        SystemFacts::Linux(facts) => Some(facts),
        SystemFacts::Windows(_) => None,
    }
}

fn windows(system: &InspectedSystem) -> Option<&WindowsFacts> {
    match &system.facts {
        SystemFacts::Windows(facts) => Some(facts),
        SystemFacts::Linux(_) => None,
    }
}

fn linux_system(name: &str, linux: &LinuxFacts, facts: &mut Facts) {
    let maybe = |value: &Option<String>| text(value.as_deref()?);
    let os = &mut facts.os;
    os.family = Some(Fact::of(OsFamily::Linux));
    os.name = text(name);
    os.id = maybe(&linux.distribution);
    os.version = maybe(&linux.version);
    os.architecture = maybe(&linux.architecture);
    os.installed_kernels = linux.kernels.iter().filter_map(|kernel| text(&kernel.release)).collect();
    os.kernel = linux.kernels.last().and_then(|kernel| text(&kernel.release));
    os.host_name = maybe(&linux.hostname);
    os.boot_loaders = linux.boot_loaders.iter().filter_map(text).collect();
    os.initramfs_tools = linux.initramfs_tools.iter().filter_map(text).collect();
    os.selinux = Some(Fact::of(linux.selinux.as_deref() == Some("enforcing")));
    os.apparmor = Some(Fact::of(linux.apparmor));
    os.cloud_init = Some(Fact::of(linux.cloud_init));
    let firmware = if linux.uefi.is_some() { Firmware::Uefi } else { Firmware::Bios };
    facts.system.firmware = Some(Fact::of(firmware));
    facts.network.nics = linux.interfaces.iter().map(interface).collect();
    let starting = |service: &String| Service {
        name: text(service.trim_end_matches(".service")),
        start: Some(Fact::of(StartMode::Automatic)),
        ..Service::default()
    };
    facts.software.services = linux.services.iter().map(starting).collect();
    let tools: Vec<String> =
        linux.hypervisor_tools.iter().map(|tool| format!("{} ({})", tool.service, tool.vendor)).collect();
    facts.virtualisation.tools = text(tools.join(", "));
}

fn interface(interface: &Interface) -> Nic {
    let kind = match interface.kind {
        LinkKind::Ethernet => NicKind::Ethernet,
        LinkKind::Bond => NicKind::Bond,
        LinkKind::Bridge => NicKind::Bridge,
        LinkKind::Vlan => NicKind::Vlan,
        _ => NicKind::Other,
    };
    let addressing = if interface.dhcp { Addressing::Dhcp } else { Addressing::Static };
    Nic {
        name: text(&interface.name),
        mac: interface.mac.as_ref().and_then(|mac| text(mac.to_ascii_lowercase())),
        kind: Some(Fact::of(kind)),
        configured_by: text(format!("{:?}", interface.stack).to_lowercase()),
        primary: (!interface.gateways.is_empty()).then(|| Fact::of(true)),
        addressing: (interface.dhcp || !interface.addresses.is_empty()).then(|| Fact::of(addressing)),
        addresses: interface.addresses.iter().filter_map(text).collect(),
        gateways: interface.gateways.iter().filter_map(text).collect(),
        name_servers: interface.dns.iter().filter_map(text).collect(),
        parts: interface.below.iter().filter_map(text).collect(),
        ..Nic::default()
    }
}

/// Adds what a Windows that is off says of itself.
pub(super) fn add_windows(windows: &WindowsFacts, facts: &mut Facts) {
    let maybe = |value: &Option<String>| text(value.as_deref()?);
    let os = &mut facts.os;
    os.family = Some(Fact::of(OsFamily::Windows));
    os.name = text(&windows.product);
    os.id = text("windows");
    os.build = text(windows.build.to_string());
    os.edition = maybe(&windows.edition);
    os.service_level = maybe(&windows.service_pack);
    os.architecture = text(windows.architecture.name());
    os.hal = maybe(&windows.hal);
    os.host_name = maybe(&windows.host_name);
    os.fast_startup = Some(Fact::of(windows.fast_startup));
    let asleep = |hazard: &Hazard| matches!(hazard, Hazard::Hibernated | Hazard::FastStartup);
    os.hibernated = Some(Fact::of(windows.hazards.iter().any(asleep)));
    let loader = windows.boot.as_ref().and_then(|boot| boot.default.as_ref()?.path.clone());
    os.boot_loaders = loader.iter().filter_map(text).collect();
    facts.system.firmware = windows.boot.as_ref().map(|boot| {
        Fact::of(match boot.mode {
            BootMode::Bios => Firmware::Bios,
            BootMode::Uefi => Firmware::Uefi,
        })
    });
    facts.system.tpm = Some(Fact::of(windows.tpm));
    for service in &windows.services {
        let start = Some(Fact::of(match service.start {
            WindowsStart::Boot => StartMode::Boot,
            WindowsStart::System => StartMode::System,
            WindowsStart::Auto => StartMode::Automatic,
            WindowsStart::Manual => StartMode::Manual,
            WindowsStart::Disabled => StartMode::Disabled,
        }));
        let (name, program) = (text(&service.name), service.image.as_deref().and_then(program));
        match service.driver {
            true => facts.software.drivers.push(Driver { name, start, program, ..Driver::default() }),
            false => facts.software.services.push(Service { name, start, program, ..Service::default() }),
        }
    }
    // `Run: NAME = COMMAND`; of the command, the program alone.
    for entry in &windows.auto_run {
        let (place, rest) = entry.split_once(": ").unwrap_or(("", entry));
        let (name, command) = rest.split_once(" = ").unwrap_or((rest, ""));
        facts.software.auto_runs.push(AutoRun { name: text(name), program: program(command), place: text(place) });
    }
    facts.software.applications = windows
        .tools
        .iter()
        .map(|tool| Application { name: text(&tool.name), version: maybe(&tool.version), vendor: text(&tool.vendor) })
        .collect();
    let tools: Vec<&str> = windows.tools.iter().map(|tool| tool.name.as_str()).collect();
    facts.virtualisation.tools = text(tools.join(", "));
    facts.network.nics.extend(windows.adapters.iter().map(adapter));
    let dirty = |hazard: &Hazard| matches!(hazard, Hazard::DirtyVolume { .. });
    if windows.hazards.iter().any(dirty)
        && let Some(volume) = facts.storage.volumes.iter_mut().find(|volume| volume.hosts_os.is_some())
    {
        volume.damaged = Some(Fact::of(true));
    }
}

fn adapter(adapter: &AdapterFact) -> Nic {
    let addressing = if adapter.dhcp { Addressing::Dhcp } else { Addressing::Static };
    let address = |(address, mask): &(String, String)| {
        let prefix = mask.parse::<std::net::Ipv4Addr>().map(|mask| u32::from(mask).count_ones());
        text(prefix.map_or_else(|_| address.clone(), |prefix| format!("{address}/{prefix}")))
    };
    Nic {
        name: text(&adapter.name),
        mac: adapter.mac.as_deref().and_then(text),
        kind: Some(Fact::of(NicKind::Ethernet)),
        model: adapter.device.as_deref().and_then(text),
        addressing: Some(Fact::of(addressing)),
        addresses: adapter.addresses.iter().filter_map(address).collect(),
        gateways: adapter.gateways.iter().filter_map(text).collect(),
        name_servers: adapter.dns.iter().filter_map(text).collect(),
        ..Nic::default()
    }
}
