//! Boot loader configuration: GRUB 2, GRUB legacy, extlinux/syslinux, boot loader specification entries. The loader
//! itself needs no new install: its code lies in the restored disk's boot areas and finds its files by partition.

use super::super::edit::Draft;
use super::super::{DeviceNames, FileChange, GuestTree, SkipList, TreeError};
use super::kernel_line::{stable_devices, with_serial, with_serial_quoted};

const WHY_ROOT: &str = "the kernel is told its root by UUID, because the disk's name changes with its controller";
const WHY_SERIAL: &str = "the plan asks for a console on the serial port";
const WHY_DEFAULT: &str = "otherwise the next update-grub would name the root by its device again";
const WHY_MAP: &str = "the disk has this name on the target";

/// The files that hold kernel command lines, with how a kernel's line begins there.
const CONFIGS: &[(&str, &[&str])] = &[
    ("/boot/grub/grub.cfg", &["linux", "linux16", "linuxefi"]),
    ("/boot/grub2/grub.cfg", &["linux", "linux16", "linuxefi"]),
    ("/boot/grub/menu.lst", &["kernel"]),
    ("/boot/extlinux/extlinux.conf", &["append"]),
    ("/boot/syslinux/syslinux.cfg", &["append"]),
    ("/boot/syslinux.cfg", &["append"]),
    ("/extlinux.conf", &["append"]),
    ("/syslinux.cfg", &["append"]),
];

/// What is wanted of the boot loader.
pub struct Wanted<'a> {
    /// How old device names translate.
    pub names: &'a DeviceNames<'a>,
    /// Whether the kernel's console shall be on the serial port.
    pub serial_console: bool,
    /// Edits that are left out.
    pub skip: &'a SkipList,
}

/// Every change that the boot loader's files need.
pub fn plan(tree: &GuestTree, wanted: &Wanted<'_>) -> Result<Vec<FileChange>, TreeError> {
    let mut changes = Vec::new();
    for (path, keywords) in CONFIGS {
        if let Some(bytes) = tree.read(path)? {
            changes.extend(config(path, &bytes, keywords, wanted));
        }
    }
    for name in tree.list("/boot/loader/entries")?.iter().filter(|name| name.ends_with(".conf")) {
        let path = format!("/boot/loader/entries/{name}");
        if let Some(bytes) = tree.read(&path)? {
            changes.extend(config(&path, &bytes, &["options"], wanted));
        }
    }
    if let Some(bytes) = tree.read("/etc/default/grub")? {
        changes.extend(defaults(&bytes, wanted));
    }
    for path in ["/boot/grub/device.map", "/boot/grub2/device.map"] {
        if let Some(bytes) = tree.read(path)? {
            changes.extend(device_map(path, &bytes, wanted));
        }
    }
    Ok(changes)
}

fn config(path: &str, bytes: &[u8], keywords: &[&str], wanted: &Wanted<'_>) -> Option<FileChange> {
    let is_kernel = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
    };
    let mut draft = Draft::new(path, bytes);
    if !wanted.skip.skips("bootloader.root") {
        draft.lines("bootloader.root", WHY_ROOT, |line| {
            is_kernel(line).then(|| stable_devices(line, wanted.names)).flatten()
        });
    }
    if wanted.serial_console && !wanted.skip.skips("bootloader.console") {
        draft.lines("bootloader.console", WHY_SERIAL, |line| is_kernel(line).then(|| with_serial(line)).flatten());
    }
    draft.finish()
}

/// `/etc/default/grub`, from which the next `update-grub` writes the configuration.
fn defaults(bytes: &[u8], wanted: &Wanted<'_>) -> Option<FileChange> {
    let mut draft = Draft::new("/etc/default/grub", bytes);
    let assigns = |line: &str, name: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
    if !wanted.skip.skips("bootloader.defaults") {
        draft.lines("bootloader.defaults", WHY_ROOT, |line| {
            line.starts_with("GRUB_CMDLINE_LINUX").then(|| stable_devices(line, wanted.names)).flatten()
        });
        draft.lines("bootloader.defaults", WHY_DEFAULT, |line| {
            (assigns(line, "GRUB_DISABLE_LINUX_UUID") && line.contains("true")).then(|| format!("#{line}"))
        });
    }
    if wanted.serial_console && !wanted.skip.skips("bootloader.console") {
        let mut seen =
            draft.text().lines().any(|line| line.starts_with("GRUB_CMDLINE_LINUX") && line.contains("console=ttyS0"));
        if !seen {
            draft.lines("bootloader.console", WHY_SERIAL, |line| {
                let here = !seen && assigns(line, "GRUB_CMDLINE_LINUX");
                seen |= here;
                here.then(|| with_serial_quoted(line)).flatten()
            });
        }
        if !seen && let Some(line) = with_serial_quoted("GRUB_CMDLINE_LINUX=\"\"") {
            draft.append("bootloader.console", WHY_SERIAL, &line);
        }
    }
    draft.finish()
}

/// `(hd0) /dev/sda`: which BIOS disk is which device.
fn device_map(path: &str, bytes: &[u8], wanted: &Wanted<'_>) -> Option<FileChange> {
    if wanted.skip.skips("bootloader.device-map") {
        return None;
    }
    let mut draft = Draft::new(path, bytes);
    draft.lines("bootloader.device-map", WHY_MAP, |line| {
        let (bios, device) = line.split_once(')')?;
        let index = bios.trim_start().strip_prefix("(hd")?.parse().ok()?;
        let new = wanted.names.disk_device(index)?;
        let blank = device.len() - device.trim_start().len();
        Some(format!("{bios}){}{new}", &device[..blank]))
    });
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;
    use crate::guest::disks::tests::two_disks;

    const GRUB: &str = "set root='hd0,msdos1'\nmenuentry 'x' {\n\tlinux\t/boot/vmlinuz root=/dev/sda1 ro quiet\n\tinitrd /i\n}\n# linux root=/dev/sda1\n";

    fn converted(serial_console: bool, skip: &[&str], files: &[(&str, &str)]) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let at = folder.path().join(&path[1..]);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        }
        let (disks, skip) = (two_disks(), SkipList::new(skip.iter().map(|id| (*id).to_owned())));
        let names = DeviceNames::new(&disks);
        let wanted = Wanted { names: &names, serial_console, skip: &skip };
        let tree = GuestTree::new(folder.path());
        let changes = plan(&tree, &wanted).unwrap();
        for change in &changes {
            tree.write(change).unwrap();
        }
        assert_eq!(plan(&tree, &wanted).unwrap(), [], "converting twice equals converting once");
        changes
            .into_iter()
            .map(|change| match change.content {
                Content::Whole(bytes) => (change.path, String::from_utf8(bytes).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn grub_names_the_root_by_uuid_and_speaks_on_the_serial_port() {
        let new = converted(true, &[], &[("/boot/grub/grub.cfg", GRUB)]);
        assert_eq!(
            new[0].1,
            GRUB.replacen(
                "root=/dev/sda1 ro quiet",
                "root=UUID=aaaa-1 ro quiet console=tty0 console=ttyS0,115200n8",
                1
            )
        );
        let new = converted(true, &["bootloader.console"], &[("/boot/grub/grub.cfg", GRUB)]);
        assert_eq!(new[0].1, GRUB.replacen("root=/dev/sda1", "root=UUID=aaaa-1", 1));
    }

    #[test]
    fn defaults_map_and_extlinux_follow() {
        let new = converted(
            true,
            &[],
            &[
                (
                    "/etc/default/grub",
                    "# mine\nGRUB_DISABLE_LINUX_UUID=true\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"root=/dev/sda1\"\n",
                ),
                (
                    "/boot/grub/device.map",
                    "(fd0)\t/dev/fd0\n(hd0)\t/dev/disk/by-id/ata-X\n(hd1)\t/dev/sdb\n(hd7) /dev/sdh\n",
                ),
                ("/boot/extlinux/extlinux.conf", "LABEL l\n APPEND root=/dev/hda1 ro\n"),
            ],
        );
        let text = |path: &str| new.iter().find(|(own, _)| own == path).map(|(_, text)| text.as_str()).unwrap();
        assert_eq!(
            text("/etc/default/grub"),
            "# mine\n#GRUB_DISABLE_LINUX_UUID=true\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"\nGRUB_CMDLINE_LINUX=\"root=UUID=aaaa-1 console=tty0 console=ttyS0,115200n8\"\n"
        );
        assert_eq!(
            text("/boot/grub/device.map"),
            "(fd0)\t/dev/fd0\n(hd0)\t/dev/vda\n(hd1)\t/dev/vdb\n(hd7) /dev/sdh\n"
        );
        assert_eq!(
            text("/boot/extlinux/extlinux.conf"),
            "LABEL l\n APPEND root=UUID=aaaa-1 ro console=tty0 console=ttyS0,115200n8\n"
        );
    }

    #[test]
    fn a_converted_guest_needs_nothing() {
        assert_eq!(converted(false, &[], &[("/boot/grub/grub.cfg", "linux /v root=UUID=aaaa-1 ro\n")]), []);
    }
}
