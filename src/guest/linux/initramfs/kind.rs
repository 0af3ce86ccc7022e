//! Who made an initramfs, and how it is told to load a driver: each maker reads another file.

use std::collections::BTreeMap;

use super::listing::Listing;
use super::modules::module_name;

/// Who made an initramfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitramfsKind {
    /// Debian's and Ubuntu's initramfs-tools.
    InitramfsTools,
    /// dracut: Fedora, RHEL and its kin, SUSE, and Debian by choice.
    Dracut,
    /// Arch's mkinitcpio.
    Mkinitcpio,
    /// Alpine's mkinitfs.
    Mkinitfs,
}

/// The list of modules that initramfs-tools loads before it looks for the root.
pub const INITRAMFS_TOOLS_LIST: &str = "conf/modules";
/// What mkinitcpio's init reads first.
const MKINITCPIO_CONFIG: &str = "config";
/// Read by systemd in an initramfs, whoever made it.
const MODULES_LOAD: &str = "etc/modules-load.d/replant.conf";
/// Read by modprobe and udev.
const MODPROBE: &str = "etc/modprobe.d/replant.conf";
/// Words that dracut adds to the kernel's command line.
const DRACUT_WORDS: &str = "etc/cmdline.d/99-replant.conf";

impl InitramfsKind {
    /// By what the initramfs holds; `None` for a maker that is not known.
    pub fn of(listing: &Listing) -> Option<Self> {
        let has = |path: &str| listing.entries.contains_key(path);
        let any = |prefix: &str| {
            listing.entries.range(prefix.to_owned()..).next().is_some_and(|(path, _)| path.starts_with(prefix))
        };
        if has("conf/initramfs.conf") || has(INITRAMFS_TOOLS_LIST) {
            Some(Self::InitramfsTools)
        } else if any("usr/lib/dracut/")
            || any("lib/dracut/")
            || has("usr/lib/dracut-lib.sh")
            || has("lib/dracut-lib.sh")
        {
            Some(Self::Dracut)
        } else if has(MKINITCPIO_CONFIG) && (has("init_functions") || has("buildconfig")) {
            Some(Self::Mkinitcpio)
        } else if has("sbin/nlplug-findfs") || has("usr/sbin/nlplug-findfs") {
            Some(Self::Mkinitfs)
        } else {
            None
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InitramfsTools => "initramfs-tools",
            Self::Dracut => "dracut",
            Self::Mkinitcpio => "mkinitcpio",
            Self::Mkinitfs => "mkinitfs",
        }
    }

    /// Whether the content of that file is needed to tell it to load a driver.
    pub fn reads(path: &str) -> bool {
        path == INITRAMFS_TOOLS_LIST || path == MKINITCPIO_CONFIG
    }

    /// The files that make it load the drivers, with what they held before.
    pub fn load(self, listing: &Listing, drivers: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let held = |path: &str| {
            let bytes = listing.contents.get(path).cloned().unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let lines: String = drivers.iter().map(|name| format!("{name}\n")).collect();
        let mut files = BTreeMap::new();
        match self {
            Self::InitramfsTools => {
                let mut text = held(INITRAMFS_TOOLS_LIST);
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                let listed: Vec<String> = text.lines().map(module_name).collect();
                for name in drivers.iter().filter(|name| !listed.contains(&module_name(name))) {
                    text.push_str(name);
                    text.push('\n');
                }
                files.insert(INITRAMFS_TOOLS_LIST.to_owned(), text.into_bytes());
                // udev finds virtio disks before that list is loaded, and switches volumes on at that moment: without
                // device-mapper it fails, and it does not try again.
                let mapped = listing.entries.keys().any(|path| path.contains(".ko") && module_name(path) == "dm_mod");
                if mapped {
                    let disks = drivers
                        .iter()
                        .filter(|name| matches!(module_name(name).as_str(), "virtio_blk" | "virtio_scsi"));
                    let lines: String = disks.map(|name| format!("softdep {name} pre: dm_mod\n")).collect();
                    files.insert(MODPROBE.to_owned(), lines.into_bytes());
                }
            }
            Self::Dracut => {
                let words: String = drivers.iter().map(|name| format!("rd.driver.pre={name} ")).collect();
                files.insert(DRACUT_WORDS.to_owned(), format!("{}\n", words.trim_end()).into_bytes());
                files.insert(MODULES_LOAD.to_owned(), lines.into_bytes());
                // Images made with a device's name wait for that name for ever.
                for path in listing.entries.keys().filter(|path| waits_for_a_disk(path)) {
                    files.insert(path.clone(), b"# The disk has another name here.\ntrue\n".to_vec());
                }
            }
            Self::Mkinitcpio => {
                files
                    .insert(MKINITCPIO_CONFIG.to_owned(), with_modules(&held(MKINITCPIO_CONFIG), drivers).into_bytes());
                files.insert(MODULES_LOAD.to_owned(), lines.into_bytes());
            }
            // Its init loads what the hardware asks for by the indexes.
            Self::Mkinitfs => {}
        }
        files
    }
}

/// A hook of dracut such as `.../initqueue/finished/devexists-\x2fdev\x2fsda1.sh`.
fn waits_for_a_disk(path: &str) -> bool {
    let Some((_, name)) = path.rsplit_once("/initqueue/finished/devexists-") else { return false };
    let device = name.trim_end_matches(".sh").replace("\\x2f", "/");
    super::super::super::DeviceNames::depends_on_hardware(&device)
}

/// The line `MODULES="..."` with the drivers in it.
fn with_modules(config: &str, drivers: &[&str]) -> String {
    let mut out = String::new();
    let mut seen = false;
    for line in config.lines() {
        match line.strip_prefix("MODULES=") {
            Some(value) => {
                seen = true;
                let held = value.trim_matches(|c: char| c.is_whitespace() || "\"'()".contains(c));
                let mut words: Vec<&str> = held.split_whitespace().collect();
                for name in drivers {
                    if !words.iter().any(|word| module_name(word) == module_name(name)) {
                        words.push(name);
                    }
                }
                out.push_str(&format!("MODULES=\"{}\"\n", words.join(" ")));
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    if !seen {
        out.push_str(&format!("MODULES=\"{}\"\n", drivers.join(" ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::Entry;
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let entry = |path: &&str| ((*path).to_owned(), Entry { name: (*path).to_owned(), mode: 0o100_644, size: 0 });
        Listing { entries: paths.iter().map(entry).collect(), ..Listing::default() }
    }

    #[test]
    fn makers_are_told_apart() {
        let of = |paths: &[&str]| InitramfsKind::of(&listing(paths));
        assert_eq!(of(&["conf/initramfs.conf", "init"]), Some(InitramfsKind::InitramfsTools));
        assert_eq!(of(&["usr/lib/dracut/hooks/cmdline", "init"]), Some(InitramfsKind::Dracut));
        assert_eq!(of(&["config", "init_functions", "init"]), Some(InitramfsKind::Mkinitcpio));
        assert_eq!(of(&["sbin/nlplug-findfs", "init"]), Some(InitramfsKind::Mkinitfs));
        assert_eq!(of(&["init", "run_all.sh"]), None);
    }

    #[test]
    fn every_maker_is_told_in_its_own_way() {
        let hook = "lib/dracut/hooks/initqueue/finished/devexists-\\x2fdev\\x2fsda1.sh";
        let stable = "lib/dracut/hooks/initqueue/finished/devexists-\\x2fdev\\x2fdisk\\x2fby-uuid\\x2fx.sh";
        let files = InitramfsKind::Dracut.load(&listing(&[hook, stable]), &["virtio_blk", "virtio_pci"]);
        assert_eq!(files["etc/cmdline.d/99-replant.conf"], b"rd.driver.pre=virtio_blk rd.driver.pre=virtio_pci\n");
        assert!(files[hook].ends_with(b"true\n") && !files.contains_key(stable));
        let mapped = listing(&["conf/modules", "lib/modules/6.1/kernel/drivers/md/dm-mod.ko"]);
        let files = InitramfsKind::InitramfsTools.load(&mapped, &["virtio_pci", "virtio_blk"]);
        assert_eq!(files[MODPROBE], b"softdep virtio_blk pre: dm_mod\n");
        let mut arch = listing(&["config", "buildconfig"]);
        arch.contents.insert("config".into(), b"EARLYHOOKS=\"udev\"\nMODULES=\"ext4\"\n".to_vec());
        let files = InitramfsKind::Mkinitcpio.load(&arch, &["virtio_blk"]);
        assert_eq!(files["config"], b"EARLYHOOKS=\"udev\"\nMODULES=\"ext4 virtio_blk\"\n");
        assert_eq!(files[MODULES_LOAD], b"virtio_blk\n");
    }

    proptest::proptest! {
        #[test]
        fn any_list_keeps_its_lines(text in "\\PC{0,60}(\nMODULES=\\PC{0,20})?") {
            let once = with_modules(&text, &["virtio_blk"]);
            proptest::prop_assert_eq!(with_modules(&once, &["virtio_blk"]), once);
        }
    }
}
