//! Boot loader configuration: GRUB 2, GRUB legacy, extlinux/syslinux, boot loader specification entries. The loader
//! itself needs no new install: its code lies in the restored disk's boot areas and finds its files by partition.

use super::super::edit::Draft;
use super::super::{Content, DeviceNames, FileChange, GuestTree, SkipList, TreeError};
use super::esp;
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
    ("/boot/grub/grub.conf", &["kernel"]),
    ("/boot/grub/custom.cfg", &["linux", "linux16", "linuxefi"]),
    ("/etc/grub.d/40_custom", &["linux", "linux16", "linuxefi"]),
    ("/etc/update-extlinux.conf", &["default_kernel_opts="]),
    ("/boot/grub2/grubenv", &[]),
    ("/boot/grub/grubenv", &[]),
];

/// Files that hold nothing but a kernel's command line, from which tools write boot entries.
const BARE_LINES: [&str; 4] = ["/etc/kernel/cmdline", "/etc/default/u-boot", "/boot/cmdline.txt", "/etc/cmdline"];

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
    for folder in ["/boot/loader/entries", "/boot/efi/loader/entries", "/efi/loader/entries"] {
        for name in tree.list(folder)?.iter().filter(|name| name.ends_with(".conf")) {
            let path = format!("{folder}/{name}");
            if let Some(bytes) = tree.read(&path)? {
                changes.extend(config(&path, &bytes, &["options"], wanted));
            }
        }
    }
    // RHEL 7 and older SUSE keep the whole configuration on the EFI system partition.
    if let Some((_, folder)) = esp::find(tree)? {
        for vendor in tree.list(&folder)? {
            for name in ["grub.cfg", "grub.conf"] {
                let path = format!("{folder}/{vendor}/{name}");
                if let Some(bytes) = tree.read(&path)? {
                    changes.extend(config(&path, &bytes, &["linux", "linux16", "linuxefi", "kernel"], wanted));
                }
            }
        }
    }
    for path in BARE_LINES {
        if let Some(bytes) = tree.read(path)? {
            changes.extend(bare(path, &bytes, wanted));
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
    // The environment block of GRUB has a fixed size, so its lines are looked at elsewhere.
    if keywords.is_empty() {
        return environment(path, bytes, wanted);
    }
    let is_kernel = |line: &str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        // `set kernelopts="root=..."` and `set default_kernelopts=...` stand before the entries.
        let sets = word == "set" && line.contains("kernelopts=");
        sets || keywords
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword) || (keyword.ends_with('=') && word.starts_with(keyword)))
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

/// A file that is one command line.
fn bare(path: &str, bytes: &[u8], wanted: &Wanted<'_>) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    let is_line = |line: &str| !line.trim_start().starts_with('#') && line.contains("root=");
    if !wanted.skip.skips("bootloader.root") {
        draft.lines("bootloader.root", WHY_ROOT, |line| {
            is_line(line).then(|| stable_devices(line, wanted.names)).flatten()
        });
    }
    draft.finish()
}

/// Bytes of GRUB's environment block.
const ENVIRONMENT: usize = 1024;

/// `kernelopts=root=/dev/sda2 ...` in GRUB's environment block, which is filled up with `#` to 1024 bytes.
fn environment(path: &str, bytes: &[u8], wanted: &Wanted<'_>) -> Option<FileChange> {
    if wanted.skip.skips("bootloader.root") || bytes.len() != ENVIRONMENT {
        return None;
    }
    let mut draft = Draft::new(path, bytes);
    draft.lines("bootloader.root", WHY_ROOT, |line| {
        line.starts_with("kernelopts=").then(|| stable_devices(line, wanted.names)).flatten()
    });
    let mut change = draft.finish()?;
    let Content::Whole(new) = &mut change.content else { return None };
    let text = new.iter().rposition(|byte| *byte != b'#').map_or(0, |at| at + 1);
    if text > ENVIRONMENT {
        return None;
    }
    new.truncate(text);
    new.resize(ENVIRONMENT, b'#');
    Some(change)
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

    #[test]
    fn entries_environments_and_bare_lines_follow() {
        let block = |text: &str| format!("{text}{}", "#".repeat(1024 - text.len()));
        let old = block("# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=/dev/sda1 ro quiet\n");
        let new = converted(
            false,
            &[],
            &[
                ("/boot/grub2/grubenv", &old),
                ("/boot/loader/entries/a.conf", "title A\noptions root=/dev/sda1 ro $tuned_params\n"),
                ("/etc/kernel/cmdline", "root=/dev/sda1 ro\n"),
                (
                    "/boot/efi/EFI/redhat/grub.cfg",
                    "set default_kernelopts=\"root=/dev/sda1 ro\"\n  linuxefi /v root=/dev/sda1\n",
                ),
                ("/boot/grub/grub.conf", "default=0\ntitle x\n\tkernel /vmlinuz root=/dev/hda1 ro\n"),
                ("/etc/update-extlinux.conf", "default_kernel_opts=\"quiet root=/dev/sda1\"\n"),
            ],
        );
        let text = |path: &str| new.iter().find(|(own, _)| own == path).map(|(_, text)| text.as_str()).unwrap();
        assert_eq!(
            text("/boot/grub2/grubenv"),
            block("# GRUB Environment Block\nsaved_entry=0\nkernelopts=root=UUID=aaaa-1 ro quiet\n")
        );
        assert_eq!(text("/boot/loader/entries/a.conf"), "title A\noptions root=UUID=aaaa-1 ro $tuned_params\n");
        assert_eq!(text("/etc/kernel/cmdline"), "root=UUID=aaaa-1 ro\n");
        assert_eq!(
            text("/boot/efi/EFI/redhat/grub.cfg"),
            "set default_kernelopts=\"root=UUID=aaaa-1 ro\"\n  linuxefi /v root=UUID=aaaa-1\n"
        );
        assert_eq!(text("/boot/grub/grub.conf"), "default=0\ntitle x\n\tkernel /vmlinuz root=UUID=aaaa-1 ro\n");
        assert_eq!(text("/etc/update-extlinux.conf"), "default_kernel_opts=\"quiet root=UUID=aaaa-1\"\n");
    }

    proptest::proptest! {
        #[test]
        fn any_configuration_is_survived_and_twice_is_once(
            bytes in proptest::collection::vec(0u8.., 0..200), prefix in "(\n|linux |kernel |set |root=/dev/sda1|kernelopts=| ){0,12}"
        ) {
            let (disks, skip) = (two_disks(), SkipList::default());
            let names = DeviceNames::new(&disks);
            let wanted = Wanted { names: &names, serial_console: true, skip: &skip };
            let bytes = [prefix.as_bytes(), &bytes].concat();
            for keywords in [&["linux", "kernel"][..], &[]] {
                if let Some(FileChange { content: Content::Whole(new), .. }) = config("/x", &bytes, keywords, &wanted) {
                    proptest::prop_assert_eq!(config("/x", &new, keywords, &wanted), None);
                }
            }
            if let Some(FileChange { content: Content::Whole(new), .. }) = defaults(&bytes, &wanted) {
                proptest::prop_assert_eq!(defaults(&new, &wanted), None);
            }
        }
    }
}
