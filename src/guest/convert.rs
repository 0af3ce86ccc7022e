//! Every edit that a guest needs on the target, and their application.

use super::linux::initramfs::{InitramfsChoice, Rebuild};
use super::linux::network::{AddressMap, TargetNic};
use super::linux::{bootloader, esp, firstboot, fstab, identity, initramfs, network, storage, tools};
use super::tree::Room;
use super::{DeviceNames, Edit, FileChange, Guest, GuestTree, SkipList, SystemDisks, TreeError, UserScript};

/// What is wanted of a conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConvertOptions {
    /// The target's storage drivers.
    pub drivers: Vec<String>,
    /// Whether the kernel's console shall be on the serial port.
    pub serial_console: bool,
    /// The target's adapters; they keep the names they had.
    pub nics: Vec<TargetNic>,
    /// Other addresses on the target's network.
    pub addresses: AddressMap,
    /// Whether the target's firmware is UEFI.
    pub uefi: bool,
    /// The user's own scripts for the first boot, in order.
    pub first_boot: Vec<UserScript>,
    /// How an initramfs gets what it lacks.
    pub initramfs: InitramfsChoice,
    /// Edits that are left out.
    pub skip: SkipList,
}

/// What a guest needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    /// Changes, in the order in which they are applied.
    pub changes: Vec<FileChange>,
    /// Initramfs images that the guest's own tool makes anew, when the changes are applied.
    pub rebuilds: Vec<Rebuild>,
    /// What could not be converted and does not keep the guest from booting for certain.
    pub warnings: Vec<String>,
}

/// Why a guest cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// A file of the guest cannot be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its initramfs cannot be made to fit.
    #[error(transparent)]
    Initramfs(#[from] initramfs::InitramfsError),
    /// It cannot start from the target's firmware.
    #[error(transparent)]
    Esp(#[from] esp::EspError),
}

impl Conversion {
    /// Every edit, in order.
    pub fn edits(&self) -> Vec<Edit> {
        let rebuilds = self.rebuilds.iter().map(|rebuild| rebuild.edit.clone());
        self.changes.iter().flat_map(|change| change.edits.clone()).chain(rebuilds).collect()
    }
}

/// What this tree needs; a tree that was converted before needs nothing. Changes nothing.
pub fn plan(tree: &GuestTree, disks: &SystemDisks, options: &ConvertOptions) -> Result<Conversion, ConvertError> {
    let names = DeviceNames::new(disks);
    let skip = &options.skip;
    let mut conversion = Conversion::default();
    conversion.warnings.extend(identity::unknown_distribution(tree)?);
    let pins = match skip.skips("network.names") {
        true => network::Pins::default(),
        false => network::pin(tree, &options.nics)?,
    };
    // What takes room comes first: if there is none, nothing has been changed yet.
    if !skip.skips("initramfs") {
        let drivers: Vec<&str> = options.drivers.iter().map(String::as_str).collect();
        let links = network::links(tree, &pins.changes)?;
        let plan = initramfs::plan(tree, &names, &drivers, &links, (skip, options.initramfs))?;
        conversion.changes.extend(plan.changes);
        conversion.rebuilds = plan.rebuilds;
        conversion.warnings.extend(plan.warnings);
    }
    if options.uefi && !skip.skips("bootloader.fallback") {
        conversion.changes.extend(esp::plan(tree)?);
    }
    if !skip.skips("fstab") {
        for (path, editor) in [
            ("/etc/fstab", fstab::fstab as fn(&[u8], &DeviceNames<'_>) -> fstab::Outcome),
            ("/etc/crypttab", fstab::crypttab),
        ] {
            let Some(bytes) = tree.read(path)? else { continue };
            let outcome = editor(&bytes, &names);
            conversion.changes.extend(outcome.change);
            conversion.warnings.extend(outcome.unresolved.into_iter().map(|line| {
                format!("{path}: `{line}` names a device that no restored disk has, and is left as it is")
            }));
        }
        let path = "/etc/initramfs-tools/conf.d/resume";
        if !skip.skips("fstab.resume")
            && let Some(bytes) = tree.read(path)?
        {
            conversion.changes.extend(fstab::resume(path, &bytes, &names));
        }
    }
    if !skip.skips("storage") {
        let (changes, warnings) = storage::plan(tree, &names, skip)?;
        conversion.changes.extend(changes);
        conversion.warnings.extend(warnings);
    }
    if !skip.skips("bootloader") {
        let wanted = bootloader::Wanted { names: &names, serial_console: options.serial_console, skip };
        conversion.changes.extend(bootloader::plan(tree, &wanted)?);
    }
    if !skip.skips("network") {
        conversion.changes.extend(pins.changes);
        conversion.warnings.extend(pins.warnings);
        if !skip.skips("network.addresses") {
            let (changes, warnings) = network::readdress(tree, &options.addresses)?;
            conversion.changes.extend(changes);
            conversion.warnings.extend(warnings);
        }
    }
    if !skip.skips("tools") {
        conversion.changes.extend(tools::plan(tree)?);
    }
    if !skip.skips("run") {
        let (changes, warnings) = firstboot::plan(tree, &options.first_boot)?;
        conversion.changes.extend(changes);
        conversion.warnings.extend(warnings);
    }
    conversion.changes.extend(identity::cloud_init(tree, skip)?);
    let relabel = identity::relabel(tree, &conversion.changes, skip)?;
    conversion.changes.extend(relabel);
    Ok(conversion)
}

/// Applies a plan's changes to the mounted guest; `told` hears of every file before it is written. What is made anew has its
/// room, too, and is left to whoever can run the guest's programs.
pub fn apply(guest: &Guest, conversion: &Conversion, mut told: impl FnMut(&FileChange)) -> Result<(), ConvertError> {
    let rooms: Vec<Room> = conversion.rebuilds.iter().flat_map(|rebuild| rebuild.rooms.clone()).collect();
    guest.tree.check_room(&conversion.changes, &rooms)?;
    for change in &conversion.changes {
        told(change);
        guest.tree.write(change)?;
    }
    Ok(())
}
