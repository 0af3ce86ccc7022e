//! Which kernel modules the agent carries, and when they are loaded: by its init, by its init if one of their devices is there,
//! for volumes, or when the kernel asks for them by one of their names. Under emulation a module costs between ten
//! milliseconds and half a second.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::guest::linux::initramfs::ModuleTree;
use crate::guest::{LUKS_MODULES, LVM_MODULES, RAID_MODULES, VOLUME_MODULES};

/// Loaded if the kernel has them, in this order: buses and disks of virtual and real hardware, network adapters. What a kernel
/// has built in or lacks is left out.
const WANTED: &[&str] = &[
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "virtio_net",
    "virtio_rng",
    "sd_mod",
    "ata_piix",
    "ahci",
    "vmw_pvscsi",
    "nvme",
    "hv_vmbus",
    "hv_storvsc",
    "mptspi",
    "mptsas",
    "mpt3sas",
    "megaraid_sas",
    "hpsa",
    "aacraid",
    "vmxnet3",
    "hv_netvsc",
    "e1000",
    "e1000e",
    "igb",
    "ixgbe",
    "r8169",
    "8139cp",
    "tg3",
    "bnx2",
    "bnxt_en",
    "i40e",
    "af_packet",
    // Watchdogs of the machine first, the kernel's own last: the first one is `/dev/watchdog`.
    "i6300esb",
    "iTCO_wdt",
    "hpwdt",
    "softdog",
    "crc32c_generic",
    "fuse",
];

/// What the kernel asks for when such a file system is mounted.
const FILE_SYSTEMS: &[&str] = &["ext4", "xfs", "btrfs", "nls_cp437", "nls_iso8859-1", "nls_ascii", "vfat"];

/// Modules as paths below `/lib/modules/RELEASE`, each list with dependencies first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loading {
    /// By the init.
    pub at_once: Vec<String>,
    /// Those of [`Self::at_once`] that wait for one of these devices: as `v00008086d0000100E`, or an identity of ACPI.
    pub devices: BTreeMap<String, BTreeSet<String>>,
    /// By the agent when it finds volumes, by the name of the list.
    pub lists: BTreeMap<&'static str, Vec<String>>,
    /// When the kernel asks, by the name that it uses, with `_` for `-`.
    pub asked_for: BTreeMap<String, Vec<String>>,
}

impl Loading {
    /// Every module that the agent carries.
    pub fn carried(&self) -> BTreeSet<&String> {
        let lists = self.lists.values().chain(self.asked_for.values());
        self.at_once.iter().chain(lists.flatten()).collect()
    }

    /// The files that say so to the init, the agent and `modprobe`, by their paths.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let lines = |paths: &[String]| paths.iter().map(|path| format!("{}\n", file_name(path))).collect::<String>();
        let (mut order, mut there) = (String::new(), String::new());
        for path in &self.at_once {
            let (name, ids) = (file_name(path), self.devices.get(path));
            // One with a second word is loaded if its devices are there.
            order.push_str(&format!("{name}{}\n", if ids.is_some() { " if-there" } else { "" }));
            ids.into_iter().flatten().for_each(|id| there.push_str(&format!("{id} {name}\n")));
        }
        let mut files = vec![("etc/modules.order".to_owned(), order), ("etc/modules.devices".to_owned(), there)];
        files.extend(self.lists.iter().map(|(name, paths)| (format!("etc/modules.{name}"), lines(paths))));
        files.extend(self.asked_for.iter().map(|(name, paths)| (format!("etc/modules.asked/{name}"), lines(paths))));
        files
    }
}

/// The file of a module by its path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// When each module is loaded, `more` at once. The unpacked tree must have a `modules.dep` and a `modules.alias`.
pub fn loading(root: &Path, release: &str, more: &[String]) -> io::Result<Loading> {
    let folder = root.join("lib/modules").join(release);
    let dep = fs::read_to_string(folder.join("modules.dep"))?;
    let alias = fs::read_to_string(folder.join("modules.alias"))?;
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    Ok(loading_of(&ModuleTree::parse(release, &dep, &builtin, &alias), more))
}

fn loading_of(modules: &ModuleTree, more: &[String]) -> Loading {
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    let wanted: Vec<&str> = WANTED.iter().copied().chain(more.iter().copied()).collect();
    let at_once = modules.closure(&wanted);
    let devices = devices(modules, &at_once, &modules.closure(&more));
    let certain = |path: &String| at_once.contains(path) && !devices.contains_key(path);
    let list = |names: &[&str]| {
        let mut paths = modules.closure(names);
        paths.retain(|path| !certain(path));
        paths
    };
    let lists = [("volumes", VOLUME_MODULES), ("lvm", LVM_MODULES), ("raid", RAID_MODULES), ("luks", LUKS_MODULES)];
    let mut asked_for = BTreeMap::new();
    for name in FILE_SYSTEMS.iter().chain(VOLUME_MODULES) {
        let own = name.replace('-', "_");
        let paths = list(&[name]);
        if paths.is_empty() {
            continue;
        }
        // Names with wildcards are of hardware, which nobody asks for by itself.
        let names =
            modules.aliases.iter().filter(|(_, module)| *module == own).map(|(alias, _)| alias.replace('-', "_"));
        for name in names.filter(|name| !name.contains(['*', '?', '[', '/', ':'])).chain([own.clone()]) {
            asked_for.entry(name).or_insert_with(|| paths.clone());
        }
    }
    Loading {
        lists: lists.into_iter().map(|(name, modules)| (name, list(modules))).collect(),
        at_once,
        devices,
        asked_for,
    }
}

/// The modules that serve certain devices only, and what only they need; `always` is loaded whatever is there.
fn devices(modules: &ModuleTree, at_once: &[String], always: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let by_path: BTreeMap<&String, &String> = modules.modules.iter().map(|(name, (path, _))| (path, name)).collect();
    let needs = |path: &String| by_path.get(path).map_or(&[][..], |name| modules.modules[*name].1.as_slice());
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Whoever needs a module comes behind it.
    for path in at_once.iter().rev().filter(|path| !always.contains(path)) {
        let users: Vec<&String> = at_once.iter().filter(|other| needs(other).contains(path)).collect();
        if users.iter().any(|user| !found.contains_key(*user)) {
            continue;
        }
        let mut ids: BTreeSet<String> = users.iter().flat_map(|user| found[*user].iter().cloned()).collect();
        let name = by_path.get(path).map_or("", |name| name.as_str());
        let own: Vec<&String> =
            modules.aliases.iter().filter(|(_, module)| module == name).map(|(alias, _)| alias).collect();
        // Devices of a bus that is a module itself are there when that module's own are.
        let own: Vec<Option<String>> =
            own.iter().filter(|alias| !alias.starts_with("vmbus:")).map(|alias| identity(alias)).collect();
        if own.iter().any(Option::is_none) {
            continue;
        }
        ids.extend(own.into_iter().flatten());
        if modules.aliases.iter().any(|(alias, module)| module == name && alias.starts_with("vmbus:")) {
            let bus = modules.aliases.iter().filter(|(_, module)| module == "hv_vmbus");
            ids.extend(bus.filter_map(|(alias, _)| identity(alias)));
        }
        if !ids.is_empty() {
            found.insert(path.clone(), ids);
        }
    }
    found
}

/// `v00008086d0000100E` of `pci:v00008086d0000100Esv*sd*bc*sc*i*`, and `VMBUS` of `acpi*:VMBUS:*`; none for what may be any
/// device.
fn identity(alias: &str) -> Option<String> {
    if let Some(rest) = alias.strip_prefix("acpi*:") {
        let id = rest.strip_suffix(":*")?;
        return (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| id.to_owned());
    }
    let id = alias.strip_prefix("pci:")?.get(..18)?;
    let hex = |at: usize| id.as_bytes()[at..at + 8].iter().all(u8::is_ascii_hexdigit);
    (id.starts_with('v') && id.as_bytes()[9] == b'd' && hex(1) && hex(10)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules() -> ModuleTree {
        ModuleTree::parse(
            "6.1",
            "k/virtio.ko:\nk/virtio_pci.ko: k/virtio.ko\nk/libata.ko:\nk/ata_piix.ko: k/libata.ko\nk/crc.ko:\n\
             k/xfs.ko: k/crc.ko\nk/hv_vmbus.ko:\nk/hv_netvsc.ko: k/hv_vmbus.ko\nk/nvme.ko:\nk/dm-mod.ko:\n\
             k/dm-raid.ko: k/dm-mod.ko\nk/softdog.ko:\nk/e1000.ko:\n",
            "",
            "alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\nalias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix\n\
             alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\n\
             alias acpi*:VMBUS:* hv_vmbus\nalias vmbus:0011* hv_netvsc\nalias fs-xfs xfs\nalias dm-raid6 dm_raid\n",
        )
    }

    #[test]
    fn drivers_wait_for_their_devices_and_file_systems_until_they_are_asked_for() {
        let loading = loading_of(&modules(), &[]);
        let of = |path: &str| loading.devices.get(path).map(|ids| ids.iter().cloned().collect::<Vec<_>>().join(" "));
        assert_eq!(of("k/ata_piix.ko").as_deref(), Some("v00008086d00007010"));
        assert_eq!(of("k/libata.ko").as_deref(), Some("v00008086d00007010"), "nobody else needs it");
        assert_eq!(of("k/hv_netvsc.ko").as_deref(), Some("VMBUS"));
        assert_eq!(of("k/hv_vmbus.ko").as_deref(), Some("VMBUS"));
        for certain in ["k/virtio.ko", "k/virtio_pci.ko", "k/nvme.ko", "k/softdog.ko"] {
            assert_eq!(of(certain), None, "{certain}");
        }
        assert!(!loading.at_once.contains(&"k/xfs.ko".to_owned()));
        assert_eq!(loading.asked_for["fs_xfs"], ["k/crc.ko", "k/xfs.ko"]);
        assert_eq!(loading.asked_for["dm_raid6"], ["k/dm-mod.ko", "k/dm-raid.ko"]);
        assert_eq!(loading.lists["lvm"], ["k/dm-mod.ko"]);
        assert!(loading.carried().len() == 13, "{loading:?}");
        let files: BTreeMap<String, String> = loading.files().into_iter().collect();
        assert!(files["etc/modules.order"].starts_with("virtio.ko\nvirtio_pci.ko\nlibata.ko if-there\n"), "{files:?}");
        assert!(files["etc/modules.devices"].contains("v00008086d00007010 libata.ko\n"), "{files:?}");
        assert_eq!(files["etc/modules.asked/fs_xfs"], "crc.ko\nxfs.ko\n");
    }

    #[test]
    fn what_the_user_adds_is_loaded_whatever_is_there() {
        let loading = loading_of(&modules(), &["e1000".to_owned()]);
        assert!(!loading.devices.contains_key("k/e1000.ko"));
        assert!(loading_of(&modules(), &[]).devices.contains_key("k/e1000.ko"));
    }
}
