//! What a Linux system says of itself in its files.

use serde::{Deserialize, Serialize};

use super::super::{GuestTree, TreeError};
use super::fstab::{Mount, mounts};
use super::initramfs::images;
use super::network::{Interface, interfaces};
use super::{esp, identity, tools};

/// Facts about a Linux system, from its files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinuxFacts {
    /// `ID` of os-release: `debian`, `rhel`, `opensuse-leap`.
    pub distribution: Option<String>,
    /// `VERSION_ID` of os-release, or what stands in the family's own file.
    pub version: Option<String>,
    /// `x86_64`, `i386`, `aarch64`, ...
    pub architecture: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// `systemd`, `upstart`, `openrc` or `sysvinit`.
    pub init: String,
    /// `dpkg`, `rpm`, `apk` or `pacman`.
    pub packages: Option<String>,
    /// Kernels, oldest first.
    pub kernels: Vec<Kernel>,
    /// Programs that make the initramfs.
    pub initramfs_tools: Vec<String>,
    /// Boot loaders whose configuration is there.
    pub boot_loaders: Vec<String>,
    /// Whether it has a loader for UEFI firmware, and whether on the path that firmware tries by itself.
    pub uefi: Option<UefiFacts>,
    /// The interfaces that it configures.
    pub interfaces: Vec<Interface>,
    /// `/etc/fstab`.
    pub mounts: Vec<Mount>,
    /// Services that start at boot.
    pub services: Vec<String>,
    /// Tools of hypervisors: service, whose it is, whether it starts.
    pub hypervisor_tools: Vec<HypervisorTool>,
    /// `enforcing`, `permissive` or `disabled`.
    pub selinux: Option<String>,
    /// Whether AppArmor starts.
    pub apparmor: bool,
    /// Whether cloud-init is installed and not switched off.
    pub cloud_init: bool,
    /// The machine's id.
    pub machine_id: Option<String>,
}

/// A kernel of the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its release.
    pub release: String,
    /// Its initramfs images.
    pub initramfs: Vec<String>,
    /// Whether it has drivers for virtio disks, as modules or built in.
    pub virtio: bool,
}

/// How it starts from UEFI firmware.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UefiFacts {
    /// Where the EFI system partition is mounted.
    pub mounted: String,
    /// Folders of vendors on it.
    pub vendors: Vec<String>,
    /// Whether `\EFI\BOOT\BOOTX64.EFI` is there.
    pub fallback: bool,
}

/// A tool of a hypervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HypervisorTool {
    /// The service.
    pub service: String,
    /// Whose it is.
    pub vendor: String,
    /// Whether it starts at boot.
    pub enabled: bool,
}

/// Reads the facts from a mounted tree.
pub fn linux_facts(tree: &GuestTree) -> Result<LinuxFacts, TreeError> {
    let text = |path: &str| -> Result<Option<String>, TreeError> {
        Ok(tree.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    };
    let line = |path: &str| -> Result<Option<String>, TreeError> {
        Ok(text(path)?
            .and_then(|text| text.lines().next().map(|line| line.trim().to_owned()))
            .filter(|l| !l.is_empty()))
    };
    let release = text("/etc/os-release")?.or(text("/usr/lib/os-release")?).unwrap_or_default();
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches(['"', '\'']).to_owned())
    };
    let mut version = field("VERSION_ID");
    for path in ["/etc/debian_version", "/etc/redhat-release", "/etc/SuSE-release", "/etc/alpine-release"] {
        if version.is_none() {
            version = line(path)?;
        }
    }
    let first = |choices: &[(&str, &str)]| -> Result<Option<String>, TreeError> {
        for (path, name) in choices {
            if tree.exists(path)? {
                return Ok(Some((*name).to_owned()));
            }
        }
        Ok(None)
    };
    let all = |choices: &[(&str, &str)]| -> Result<Vec<String>, TreeError> {
        let mut found: Vec<String> = Vec::new();
        for (path, name) in choices {
            if tree.exists(path)? && !found.iter().any(|own| own == name) {
                found.push((*name).to_owned());
            }
        }
        Ok(found)
    };
    let init = first(&[
        ("/usr/lib/systemd/systemd", "systemd"),
        ("/lib/systemd/systemd", "systemd"),
        ("/sbin/openrc", "openrc"),
        ("/sbin/initctl", "upstart"),
    ])?;
    let hypervisor_tools = tools::installed(tree)?.into_iter().map(|(service, vendor, enabled)| HypervisorTool {
        service,
        vendor: vendor.to_owned(),
        enabled,
    });
    let services = services(tree)?;
    Ok(LinuxFacts {
        distribution: field("ID"),
        version,
        architecture: architecture(tree)?,
        hostname: line("/etc/hostname")?.or(line("/etc/HOSTNAME")?),
        init: init.unwrap_or_else(|| "sysvinit".to_owned()),
        packages: first(&[
            ("/var/lib/dpkg/status", "dpkg"),
            ("/var/lib/rpm", "rpm"),
            ("/usr/lib/sysimage/rpm", "rpm"),
            ("/lib/apk/db", "apk"),
            ("/var/lib/pacman", "pacman"),
        ])?,
        kernels: kernels(tree)?,
        initramfs_tools: all(&[
            ("/usr/sbin/mkinitramfs", "initramfs-tools"),
            ("/usr/bin/dracut", "dracut"),
            ("/usr/sbin/dracut", "dracut"),
            ("/sbin/dracut", "dracut"),
            ("/usr/bin/mkinitcpio", "mkinitcpio"),
            ("/sbin/mkinitfs", "mkinitfs"),
            ("/sbin/mkinitrd", "mkinitrd"),
        ])?,
        boot_loaders: all(&[
            ("/boot/grub/grub.cfg", "GRUB 2"),
            ("/boot/grub2/grub.cfg", "GRUB 2"),
            ("/boot/grub/menu.lst", "GRUB legacy"),
            ("/boot/grub/grub.conf", "GRUB legacy"),
            ("/boot/extlinux/extlinux.conf", "extlinux"),
            ("/boot/extlinux.conf", "extlinux"),
            ("/boot/syslinux/syslinux.cfg", "syslinux"),
            ("/boot/loader/loader.conf", "systemd-boot"),
            ("/boot/efi/loader/loader.conf", "systemd-boot"),
            ("/boot/loader/entries", "boot loader specification"),
            ("/etc/lilo.conf", "LILO"),
        ])?,
        uefi: uefi(tree)?,
        interfaces: interfaces(tree)?,
        mounts: mounts(&tree.read("/etc/fstab")?.unwrap_or_default()),
        apparmor: services.iter().any(|service| service.starts_with("apparmor")),
        services,
        hypervisor_tools: hypervisor_tools.collect(),
        selinux: identity::selinux_mode(tree)?,
        cloud_init: tree.exists("/etc/cloud/cloud.cfg")? && !tree.exists("/etc/cloud/cloud-init.disabled")?,
        machine_id: line("/etc/machine-id")?,
    })
}

fn kernels(tree: &GuestTree) -> Result<Vec<Kernel>, TreeError> {
    let mut found = Vec::new();
    for release in tree.list("/lib/modules")? {
        let Some(modules) = super::initramfs::ModuleTree::read(tree, &release)? else { continue };
        let virtio = modules.has("virtio_blk") && modules.has("virtio_pci");
        let initramfs = images(tree, &release)?;
        found.push(Kernel { release, initramfs, virtio });
    }
    Ok(found)
}

fn uefi(tree: &GuestTree) -> Result<Option<UefiFacts>, TreeError> {
    let Some((mounted, folder)) = esp::find(tree)? else { return Ok(None) };
    let names = tree.list(&folder)?;
    let mut fallback = false;
    for name in names.iter().filter(|name| name.eq_ignore_ascii_case("BOOT")) {
        fallback |= tree.list(&format!("{folder}/{name}"))?.iter().any(|file| file.eq_ignore_ascii_case("BOOTX64.EFI"));
    }
    let vendors = names.into_iter().filter(|name| !name.eq_ignore_ascii_case("BOOT")).collect();
    Ok(Some(UefiFacts { mounted, vendors, fallback }))
}

/// Units that targets want, and services of the usual runlevel.
fn services(tree: &GuestTree) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    for target in ["multi-user", "graphical", "sysinit", "basic", "network-online", "sockets", "timers", "default"] {
        found.extend(tree.list(&format!("/etc/systemd/system/{target}.target.wants"))?);
    }
    for folder in ["/etc/rc3.d", "/etc/rc2.d", "/etc/rc.d/rc3.d", "/etc/init.d/rc3.d"] {
        let started = tree.list(folder)?.into_iter().filter_map(|name| {
            let rest = name.strip_prefix('S')?.trim_start_matches(|c: char| c.is_ascii_digit());
            (!rest.is_empty()).then(|| rest.to_owned())
        });
        found.extend(started);
    }
    found.extend(tree.list("/etc/runlevels/default")?);
    found.sort();
    found.dedup();
    Ok(found)
}

/// The processor that the system's own programs are for, from the header of one of them.
pub fn architecture(tree: &GuestTree) -> Result<Option<String>, TreeError> {
    for path in ["/usr/bin/ls", "/bin/ls", "/bin/busybox", "/usr/bin/bash", "/bin/sh", "/sbin/init"] {
        let Some(bytes) = tree.read(path)? else { continue };
        if let Some(name) = elf_machine(&bytes) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn elf_machine(bytes: &[u8]) -> Option<String> {
    if bytes.get(..4)? != b"\x7fELF" {
        return None;
    }
    let machine = u16::from_le_bytes(bytes.get(18..20)?.try_into().ok()?);
    Some(match machine {
        62 => "x86_64".to_owned(),
        3 => "i386".to_owned(),
        183 => "aarch64".to_owned(),
        40 => "arm".to_owned(),
        243 => "riscv64".to_owned(),
        21 => "ppc64".to_owned(),
        22 => "s390x".to_owned(),
        other => format!("elf machine {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_system_is_described() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, bytes).unwrap();
        };
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        write("bin/ls", &elf);
        write("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n");
        write("etc/hostname", b"web01\n");
        write("usr/lib/systemd/systemd", b"");
        write("usr/lib/systemd/system/open-vm-tools.service", b"");
        write("var/lib/dpkg/status", b"");
        write("etc/systemd/system/multi-user.target.wants/ssh.service", b"");
        write("lib/modules/6.1/modules.dep", b"kernel/virtio_blk.ko:\n");
        write("lib/modules/6.1/modules.builtin", b"kernel/virtio_pci.ko\n");
        write("boot/initrd.img-6.1", b"");
        write("boot/grub/grub.cfg", b"");
        write("boot/efi/EFI/debian/grubx64.efi", b"");
        write("etc/fstab", b"UUID=x / ext4 defaults 0 1\n");
        write("etc/selinux/config", b"SELINUX=permissive\n");
        write("etc/cloud/cloud.cfg", b"");
        let facts = linux_facts(&GuestTree::new(folder.path())).unwrap();
        assert_eq!((facts.distribution.as_deref(), facts.version.as_deref()), (Some("debian"), Some("12")));
        assert_eq!((facts.architecture.as_deref(), facts.init.as_str()), (Some("x86_64"), "systemd"));
        assert_eq!(
            facts.kernels,
            [Kernel { release: "6.1".into(), initramfs: vec!["/boot/initrd.img-6.1".into()], virtio: true }]
        );
        assert_eq!(facts.uefi.unwrap().vendors, ["debian"]);
        assert!(facts.cloud_init && facts.selinux.as_deref() == Some("permissive"));
        assert_eq!(facts.hypervisor_tools[0].vendor, "VMware");
        assert_eq!((facts.services, facts.boot_loaders), (vec!["ssh.service".to_owned()], vec!["GRUB 2".to_owned()]));
    }
}
