//! The operating system and the board.

use jiff::Timestamp;

use crate::hardware::Firmware;
use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;
use crate::units::{ByteCount, Frequency};

words! {
    /// A family of operating systems.
    OsFamily {
        /// Linux.
        Linux = "linux",
        /// Microsoft Windows.
        Windows = "windows",
        /// Another one.
        Other = "other",
    }
}

section! {
    /// The operating system.
    OperatingSystem as "os" by () {
        /// Its family.
        family / "family": Option<Fact<OsFamily>>,
        /// Its name for people, such as `Debian GNU/Linux 12 (bookworm)`.
        name / "name": Option<Fact<String>>,
        /// A short name for programs: `debian`, `rhel`, `windows`.
        id / "id": Option<Fact<String>>,
        /// Its version.
        version / "version": Option<Fact<String>>,
        /// Its build.
        build / "build": Option<Fact<String>>,
        /// Its edition.
        edition / "edition": Option<Fact<String>>,
        /// Its service pack or update level.
        service_level / "service_level": Option<Fact<String>>,
        /// Its language, such as `en-GB` or `en_GB.UTF-8`.
        language / "language": Option<Fact<String>>,
        /// Its processor architecture, such as `x86_64`.
        architecture / "architecture": Option<Fact<String>>,
        /// The kernel's version.
        kernel / "kernel": Option<Fact<String>>,
        /// The hardware abstraction layer of older Windows.
        hal / "hal": Option<Fact<String>>,
        /// The name it has on the network.
        host_name / "host_name": Option<Fact<String>>,
        /// The domain or workgroup it belongs to.
        domain / "domain": Option<Fact<String>>,
        /// What it does there, such as `domain-controller` or `cluster-node`.
        roles / "role": Vec<Fact<String>>,
        /// The time zone.
        time_zone / "time_zone": Option<Fact<String>>,
        /// How many seconds its clock differs from the observer's, forward or backward.
        clock_difference / "clock_difference": Option<Fact<u64>>,
        /// When it was installed.
        installed / "installed": Option<Fact<Timestamp>>,
        /// When it was started last.
        started / "started": Option<Fact<Timestamp>>,
        /// Whether it lies in hibernation: its file systems are not clean.
        hibernated / "hibernated": Option<Fact<bool>>,
        /// Whether it hibernates its kernel when it is shut down.
        fast_startup / "fast_startup": Option<Fact<bool>>,
        /// Every kernel that is installed, oldest first.
        installed_kernels / "installed_kernel": Vec<Fact<String>>,
        /// Its root as a plan's `guest.root` names it: `UUID=...`, with the subvolume on Btrfs; `/dev/disk0p2` for Windows.
        root / "root": Option<Fact<String>>,
        /// Other systems on the same disks: name and root.
        other_systems / "other_system": Vec<Fact<String>>,
        /// What starts it: boot loaders whose configuration is there, or the path of the loader of Windows.
        boot_loaders / "boot_loader": Vec<Fact<String>>,
        /// Programs that make its initramfs.
        initramfs_tools / "initramfs_tool": Vec<Fact<String>>,
        /// Whether SELinux enforces its policy.
        selinux / "selinux": Option<Fact<bool>>,
        /// Whether AppArmor starts.
        apparmor / "apparmor": Option<Fact<bool>>,
        /// Whether cloud-init is installed and switched on.
        cloud_init / "cloud_init": Option<Fact<bool>>,
        /// Whether updates wait for a restart.
        restart_pending / "restart_pending": Option<Fact<bool>>,
    }
}

section! {
    /// The processors, all of them alike.
    Processor as "processor" by () {
        /// Who made them.
        vendor / "vendor": Option<Fact<String>>,
        /// Their model for people.
        model / "model": Option<Fact<String>>,
        /// Sockets.
        sockets / "sockets": Option<Fact<u32>>,
        /// Cores, of all sockets together.
        cores / "cores": Option<Fact<u32>>,
        /// Logical processors that the operating system sees.
        count / "count": Option<Fact<u32>>,
        /// Clock rate of one of them.
        frequency / "frequency": Option<Fact<Frequency>>,
    }
}

section! {
    /// The board.
    System as "system" by () {
        /// Who made it.
        manufacturer / "manufacturer": Option<Fact<String>>,
        /// Its model.
        model / "model": Option<Fact<String>>,
        /// Its serial number.
        serial / "serial": Option<Fact<String>>,
        /// Its SMBIOS UUID.
        uuid / "uuid": Option<Fact<String>>,
        /// Its chassis, such as `Rack Mount Chassis` or `Notebook`.
        chassis / "chassis": Option<Fact<String>>,
        /// BIOS or UEFI.
        firmware / "firmware": Option<Fact<Firmware>>,
        /// The firmware's version.
        firmware_version / "firmware_version": Option<Fact<String>>,
        /// Whether Secure Boot is on.
        secure_boot / "secure_boot": Option<Fact<bool>>,
        /// Whether a trusted platform module is in use.
        tpm / "tpm": Option<Fact<bool>>,
        /// Its memory.
        memory / "memory": Option<Fact<ByteCount>>,
        /// Its processors.
        processor / "processor": Box<Processor>,
    }
}
