//! Which kernel modules the agent carries, and the order in which its init loads them.

use std::fs;
use std::io;
use std::path::Path;

use crate::guest::VOLUME_MODULES;
use crate::guest::linux::initramfs::ModuleTree;

/// Loaded if the kernel has them, in this order: buses and disks of virtual and real hardware, network adapters, file
/// systems. What a kernel has built in or lacks is left out.
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
    "ext4",
    "xfs",
    "btrfs",
    "nls_cp437",
    "nls_iso8859-1",
    "nls_ascii",
    "vfat",
    "fuse",
];

/// What is loaded at once, `more` among it, and what is loaded when there are volumes: paths below
/// `/lib/modules/RELEASE`, dependencies first. The unpacked tree must have a `modules.dep`.
pub fn loading_order(root: &Path, release: &str, more: &[String]) -> io::Result<(Vec<String>, Vec<String>)> {
    let folder = root.join("lib/modules").join(release);
    let dep = fs::read_to_string(folder.join("modules.dep"))?;
    let builtin = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
    let modules = ModuleTree::parse(release, &dep, &builtin, "");
    let wanted: Vec<&str> = WANTED.iter().copied().chain(more.iter().map(String::as_str)).collect();
    let at_once = modules.closure(&wanted);
    let mut for_volumes = modules.closure(VOLUME_MODULES);
    for_volumes.retain(|path| !at_once.contains(path));
    Ok((at_once, for_volumes))
}
