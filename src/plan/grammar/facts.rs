//! The part of the plan language that rules read: declared facts of machines and hosts, and the rules of a plan.

use super::shape::Shape::{Amount, Choice, Flag, List, Named, Object as Obj, Text, Whole};
use super::shape::{Amount as A, Object, Shape, key, required, word};
use super::text::{FREE, GLOB, MAC, NAME, NONEMPTY, RULE};

const TIB: u64 = 1 << 40;
const DAY: u64 = 86_400_000;
const SIZE: Shape = Amount(A::Size(0, 1024 * 1024 * TIB));
const TEXTS: Shape = List(&Text(&NONEMPTY), 0);

pub(super) static FACTS: Object = Object {
    name: "facts",
    what: "`facts`",
    doc: "Facts of the source machine that rules read. What is not declared is unknown, and rules that need it say so.",
    keys: &[
        key("os", Obj(&OS), "Its operating system."),
        key("system", Obj(&SYSTEM), "The machine itself."),
        key("disks", List(&Obj(&DISK), 0), "What its disk files cannot tell of its disks."),
        key("nics", List(&Obj(&NIC), 0), "What is known of its network adapters, by MAC address."),
        key("controllers", List(&Obj(&CONTROLLER), 0), "Its storage controllers."),
        key("devices", List(&Obj(&DEVICE), 0), "Its other devices: USB, FireWire, video, audio, optical."),
        key("software", Obj(&SOFTWARE), "What runs on it."),
    ],
};

static OS: Object = Object {
    name: "os-facts",
    what: "`os`",
    doc: "An operating system.",
    keys: &[
        key(
            "family",
            Choice(&[word("linux", "Linux"), word("windows", "Windows"), word("other", "anything else")]),
            "What it is.",
        ),
        key("name", Text(&NONEMPTY), "Its name, such as `Debian GNU/Linux` or `Windows Server 2003`."),
        key("version", Text(&NONEMPTY), "Its version, such as `12`."),
        key("service_level", Text(&NONEMPTY), "Its service pack or point release, such as `SP4`."),
        key("language", Text(&NONEMPTY), "Its language."),
        key("architecture", Text(&NONEMPTY), "What it is compiled for: `x86_64`, `x86`, `arm64`."),
        key("hal", Text(&NONEMPTY), "The hardware abstraction layer of a Windows, such as `ACPI PC`."),
    ],
};

static SYSTEM: Object = Object {
    name: "system-facts",
    what: "`system`",
    doc: "A machine itself.",
    keys: &[
        key("installed_memory", SIZE, "Memory that is built in."),
        key("pxe", Flag, "Whether its boot adapter can boot over the network."),
        key("boot_media", Flag, "Whether it can boot from a medium instead."),
        key("secure_boot", Flag, "Whether Secure Boot is on."),
        key("tpm", Flag, "Whether a TPM holds keys of it."),
        key("clock_offset", Amount(A::Duration(0, 36_500 * DAY)), "How far its clock is off."),
        key("managed_by", Text(&FREE), "Another deployment system that manages it; empty if none does."),
        key("administrator", Flag, "Whether an administrative account is at hand."),
        key("backup_age", Amount(A::Duration(0, 36_500 * DAY)), "How old its last backup is."),
        key("updates", TEXTS, "Installed updates."),
        key("missing_files", List(&Obj(&MISSING), 0), "System files that its drivers need and that are not there."),
    ],
};

static MISSING: Object = Object {
    name: "missing-file",
    what: "a missing file",
    doc: "A system file that is not there.",
    keys: &[
        required("file", Text(&NONEMPTY), "The file."),
        key("package", Text(&NONEMPTY), "The update or package that has it."),
    ],
};

static DISK: Object = Object {
    name: "disk-facts",
    what: "a disk of `facts`",
    doc: "What a disk's file cannot tell.",
    keys: &[
        required("disk", Text(&NAME), "Which: `disk0` is the first of `source.disks`."),
        key(
            "layout",
            Choice(&[
                word("basic", "partitions"),
                word("lvm", "Linux volume groups"),
                word("raid", "Linux software RAID"),
                word("dynamic", "Windows dynamic disk (LDM)"),
                word("storage-spaces", "Windows Storage Spaces"),
                word("whole", "a file system without a partition table"),
            ]),
            "How its space is divided.",
        ),
        key("bus", Text(&NONEMPTY), "How it is attached: `ide`, `sata`, `scsi`, `nvme`, `usb`."),
        key("san", Flag, "Whether it lies in a storage network."),
        key("shared", Flag, "Whether several machines write it: a cluster's disk."),
        key("snapshots", Whole(0, 1_000_000), "Snapshots, undo or differencing disks on top of it."),
        key("raw_mapping", Flag, "Whether it is a raw device mapping of a virtual machine."),
        key("passthrough", Flag, "Whether a physical disk is passed through to a virtual machine."),
        key("encrypted", Text(&FREE), "What encrypts it, such as `BitLocker` or `LUKS`; empty if nothing does."),
        key("hibernated", Flag, "Whether a hibernated system lies on it, fast start-up included."),
        key("dirty", Flag, "Whether a file system on it needs a check."),
        key("fragmented", Flag, "Whether its file systems are badly fragmented."),
        key("used", SIZE, "Bytes in use."),
        key("file_systems", TEXTS, "Its file systems, such as `ext4` or `ntfs`."),
        key("capture", Flag, "Whether there is a way to capture it."),
        key("sector", Whole(512, 65_536), "Bytes of a sector."),
    ],
};

static NIC: Object = Object {
    name: "nic-facts",
    what: "an adapter of `facts`",
    doc: "What is known of a network adapter.",
    keys: &[
        required("mac", Text(&MAC), "Its MAC address, as under `inventory.nics`."),
        key("kind", Text(&NONEMPTY), "What it is: `ethernet`, `infiniband`, `token-ring`, `wireless`."),
        key("addresses", TEXTS, "Its IP addresses."),
        key("dhcp", Flag, "Whether it takes its address from DHCP."),
        key("boots_agent", Flag, "Whether the machine boots the agent over it."),
        key("pci", Text(&NONEMPTY), "Its PCI id, such as `8086:100e`."),
        key("speed", Amount(A::Rate(125)), "Its speed."),
    ],
};

static CONTROLLER: Object = Object {
    name: "controller-facts",
    what: "a storage controller",
    doc: "A storage controller.",
    keys: &[
        required("name", Text(&NONEMPTY), "Its name."),
        key("kind", Text(&NONEMPTY), "What it is: `ide`, `sata`, `scsi`, `raid`, `nvme`, `fibre-channel`."),
        key("pci", Text(&NONEMPTY), "Its PCI id."),
    ],
};

static DEVICE: Object = Object {
    name: "device-facts",
    what: "a device",
    doc: "A device that is neither a disk nor a network adapter.",
    keys: &[
        required(
            "kind",
            Choice(&[
                word("usb-input", "a USB keyboard or mouse"),
                word("usb", "any other USB device"),
                word("ieee1394", "an IEEE 1394 (FireWire) device"),
                word("scsi", "a specialised SCSI device: a tape, a scanner, a changer"),
                word("video", "a video adapter for more than a console"),
                word("audio", "an audio adapter"),
                word("dongle", "a licence key in hardware"),
                word("gpu", "a processor for graphics or computing"),
                word("serial", "a device on a serial port"),
                word("parallel", "a device on a parallel port"),
                word("optical", "an optical drive"),
                word("modem", "a modem or fax card"),
                word("passthrough", "a device passed through to a virtual machine"),
                word("other", "anything else"),
            ]),
            "What it is.",
        ),
        required("name", Text(&NONEMPTY), "Its name."),
        key("pci", Text(&NONEMPTY), "Its PCI or USB id."),
    ],
};

static SOFTWARE: Object = Object {
    name: "software-facts",
    what: "`software`",
    doc: "What runs on a machine.",
    keys: &[
        key("applications", TEXTS, "Installed applications."),
        key("services", TEXTS, "Services that start by themselves."),
        key("drivers", TEXTS, "Drivers that are loaded."),
        key("autorun", TEXTS, "Programs that run when somebody logs in."),
        key(
            "roles",
            List(
                &Choice(&[
                    word("domain-controller", "Active Directory domain controller"),
                    word("cluster-node", "node of a failover cluster"),
                    word("dhcp-server", "DHCP server"),
                    word("certificate-authority", "certificate authority"),
                    word("database", "database server"),
                    word("mail", "mail server"),
                    word("hypervisor", "runs virtual machines itself"),
                    word("deployment-server", "network boot or deployment server"),
                ]),
                0,
            ),
            "What it does for others.",
        ),
    ],
};

pub(super) static HOST_FACTS: Object = Object {
    name: "host-facts",
    what: "`facts` of a host",
    doc: "Facts of a host that rules read.",
    keys: &[
        key("macs", List(&Text(&MAC), 0), "MAC addresses that are in use there."),
        key("vm_names", TEXTS, "Virtual machines that are there already."),
        key("addresses", TEXTS, "IP addresses that are in use there."),
        key("networks", Named(&NAME, &Obj(&NETWORK)), "Its networks by name."),
        key("free_space", SIZE, "Free space for the disks of virtual machines."),
        key("clock_offset", Amount(A::Duration(0, 36_500 * DAY)), "How far its clock is off."),
        key("certificate_left", Amount(A::Duration(0, 36_500 * DAY)), "How long its certificate is still valid."),
    ],
};

static NETWORK: Object = Object {
    name: "network-facts",
    what: "a network of `facts`",
    doc: "A virtual network.",
    keys: &[key("subnet", Text(&NONEMPTY), "Its addresses, such as `10.0.0.0/24`.")],
};

pub(super) static RULES: Object = Object {
    name: "rules",
    what: "`rules`",
    doc: "Rules that this plan adds or silences. Both are shown in every preview and report.",
    keys: &[
        key("silence", List(&Obj(&SILENCE), 0), "Rules whose violations are accepted."),
        key("add", List(&Obj(&ADD), 0), "Rules of this plan."),
    ],
};

static SILENCE: Object = Object {
    name: "silence",
    what: "an entry of `silence`",
    doc: "A rule whose violations are accepted: they are shown, and refuse nothing.",
    keys: &[
        required("id", Text(&RULE), "The rule."),
        key("machines", List(&Text(&GLOB), 1), "Machines or hosts: names, or globs such as `web*`. Left out, all."),
        required("reason", Text(&NONEMPTY), "Why, for the reader of the preview."),
    ],
};

static ADD: Object = Object {
    name: "added-rule",
    what: "a rule",
    doc: "A rule: an expression in CEL that is true where something is wrong.",
    keys: &[
        required("id", Text(&RULE), "Its name, unique among all rules."),
        key(
            "severity",
            Choice(&[
                word("error", "the plan is refused (the default)"),
                word("warning", "shown; the plan goes on"),
                word("advice", "good practice"),
            ]),
            "How bad a violation is.",
        ),
        key(
            "scope",
            Choice(&[word("machine", "every machine (the default)"), word("host", "every host")]),
            "What it is asked of.",
        ),
        key("each", Text(&NONEMPTY), "A list in CEL; the rule is asked of each of its items, as `item`."),
        key("when", Text(&NONEMPTY), "Where this is false, the rule does not apply."),
        required("violated", Text(&NONEMPTY), "True where something is wrong."),
        required("message", Text(&NONEMPTY), "What is wrong; `{expression}` is replaced by its value."),
        required("help", Text(&NONEMPTY), "The way out."),
    ],
};
