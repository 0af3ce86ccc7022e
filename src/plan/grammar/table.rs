//! The plan language itself. Every key is here, once.

use super::boot::{NETBOOT, POWER};
use super::capacity::{CAPACITY, PLACEMENT, SIZING, UTILISATION};
use super::facts::{FACTS, HOST_FACTS, RULES};
use super::shape::Shape::{
    Amount, Choice, Flag, List, Named, Object as Obj, ObjectOr, OneOf, Settings, Text, Whole, WholeOrPercent,
};
use super::shape::{Amount as A, Object, key, required, word};
use super::text::{FILE_NAME, FREE, GLOB, HOURS, MAC, NAME, NONEMPTY, PATH, VARIABLE};

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// A plan file.
pub(super) static PLAN: Object = Object {
    name: "plan",
    what: "a plan file",
    doc: "What is to be migrated, from where to where. A plan may be spread over several files with `include`.",
    keys: &[
        required("replant", Whole(1, 1), "Version of the plan language: 1."),
        key("name", Text(&NAME), "The plan's name, for reports and run folders. Needed in the first file."),
        key(
            "include",
            List(&Text(&PATH), 0),
            "Further plan files, relative to this one. Their hosts, machines and waves are added; their `store` and \
             `defaults` fill in what the including file leaves open.",
        ),
        key("store", Obj(&STORE), "Where captured images are kept."),
        key("hosts", Named(&NAME, &Obj(&HOST)), "The hosts that run the virtual machines, by name."),
        key(
            "budgets",
            Named(&NAME, &Obj(&BUDGET)),
            "Shares of a network or disk that captures and deploys keep to together.",
        ),
        key("defaults", Obj(&DEFAULTS), "What applies to every machine that does not say otherwise."),
        key("machines", List(&Obj(&MACHINE), 0), "The machines, in the order they are preferably started."),
        key("rules", Obj(&RULES), "Rules that this plan adds or silences."),
        key("netboot", Obj(&NETBOOT), "The network boot service of `replant apply` and `replant serve`."),
        key("waves", List(&Obj(&WAVE), 0), "Groups of machines; a wave begins when the wave before has ended."),
    ],
};

static STORE: Object = Object {
    name: "store",
    what: "`store`",
    doc: "The image store: captured disks, deduplicated, compressed and encrypted.",
    keys: &[
        key("path", Text(&PATH), "Its folder, relative to the first plan file. Default: `store`."),
        key(
            "encryption",
            Choice(&[
                word("aes-256-gcm", "images are encrypted (the default)"),
                word("none", "images lie in the clear"),
            ]),
            "How images are sealed.",
        ),
        key(
            "key",
            OneOf(&SECRET),
            "Where the key comes from: 64 hexadecimal digits or 32 bytes. Default: `file: .replant/store.key`, which \
             `replant init` makes.",
        ),
        key("parallel", Whole(1, 256), "Captures and deploys that may use the store at once. Default: 4."),
    ],
};

static BUDGET: Object = Object {
    name: "budget",
    what: "a budget",
    doc: "How fast all captures and deploys together may go that name it. `replant limit set NAME` changes it meanwhile.",
    keys: &[
        required("rate", Amount(A::Rate(65_536)), "At most this fast."),
        key("hours", Text(&HOURS), "When that holds; left out, always. Across midnight: `22:00-06:00`."),
        key("otherwise", Amount(A::Rate(65_536)), "How fast outside of these hours; left out, without limit."),
        key("timezone", Text(&NONEMPTY), "Whose hours, such as `Europe/Berlin`; left out, this machine's."),
    ],
};

const BUDGET_NAME: super::shape::Shape = Text(&NAME);

pub(super) static SECRET: Object = Object {
    name: "secret",
    what: "a secret",
    doc: "A secret by reference; its value is never part of a plan.",
    keys: &[
        key("env", Text(&VARIABLE), "The environment variable that holds it."),
        key("file", Text(&PATH), "The file that holds it, relative to the first plan file."),
        key("command", Text(&NONEMPTY), "The shell command that prints it."),
    ],
};

static HOST: Object = Object {
    name: "host",
    what: "a host",
    doc: "A host that runs virtual machines.",
    keys: &[
        required("provider", Text(&NAME), "The provider that knows how to use it, such as `qemu`."),
        key("parallel", Whole(1, 1024), "Tasks that may work on the host at once. Default: 2."),
        key("memory", Amount(A::Size(MIB, 1024 * TIB)), "Memory that virtual machines may use."),
        key("settings", Settings, "Settings of the provider."),
        key("capacity", Obj(&CAPACITY), "What the host has, for `replant assess`."),
        key("sizing", Obj(&SIZING), "How virtual machines are sized on it; left out, the usual constants."),
        key("facts", Obj(&HOST_FACTS), "What rules read of it; left out, unknown."),
    ],
};

static DEFAULTS: Object = Object {
    name: "defaults",
    what: "`defaults`",
    doc: "What applies to every machine that does not say otherwise, key by key.",
    keys: &[
        key("workload", Obj(&WORKLOAD), "What the machines are used for."),
        key("target", Obj(&TARGET_DEFAULTS), "The virtual machines to be."),
        key("capture", Obj(&CAPTURE), "How disks are captured."),
        key("guest", Obj(&GUEST), "How operating systems are converted."),
        key("post_deploy", Obj(&POST_DEPLOY), "What happens at the end."),
        key("on_failure", ON_FAILURE, ON_FAILURE_DOC),
    ],
};

const ON_FAILURE: super::shape::Shape = Choice(&[
    word("keep", "what was made stays, and `replant apply` resumes (the default)"),
    word("rollback", "what the machine's tasks made is undone"),
]);
const ON_FAILURE_DOC: &str = "What happens when a task fails.";

static MACHINE: Object = Object {
    name: "machine",
    what: "a machine",
    doc: "One machine's migration.",
    keys: &[
        required("name", Text(&NAME), "Its name, unique in the plan."),
        required("source", Obj(&SOURCE), "Where its disks are read; never written."),
        key(
            "inventory",
            ObjectOr(&INVENTORY),
            "Facts that its disks cannot tell: the document that holds them, or the facts themselves.",
        ),
        key("workload", Obj(&WORKLOAD), "What it is used for."),
        key("target", Obj(&TARGET), "The virtual machine to be."),
        key("capture", Obj(&CAPTURE), "How its disks are captured."),
        key("guest", Obj(&GUEST), "How its operating system is converted."),
        key("post_deploy", Obj(&POST_DEPLOY), "What happens at the end."),
        key("on_failure", ON_FAILURE, ON_FAILURE_DOC),
        key("after", List(&Text(&NAME), 0), "Machines that must be done before this one begins."),
        key("power", POWER, "How its power is switched, for machines that boot into the agent. Default: `manual`."),
        key("placement", Obj(&PLACEMENT), "Which machines it shares a host with, for `replant assess --place`."),
    ],
};

static SOURCE: Object = Object {
    name: "source",
    what: "`source`",
    doc: "Where the machine's disks are read.",
    keys: &[
        required("disks", List(&Obj(&DISK), 1), "The disks; the first is the boot disk."),
        key(
            "agent",
            Obj(&AGENT_SOURCE),
            "The disks are read by the agent, which this machine boots into; `replant serve` has to run.",
        ),
        key(
            "ssh",
            Obj(&SSH_SOURCE),
            "The disks are read over ssh while the machine works; with `agent` beforehand, so that the agent moves only \
             what changed.",
        ),
    ],
};

static SSH_SOURCE: Object = Object {
    name: "ssh-source",
    what: "`ssh`",
    doc: "A Linux that runs; it needs a shell and dd, and nothing is installed there.",
    keys: &[
        required("host", Text(&NONEMPTY), "Its name or address."),
        key("user", Text(&NONEMPTY), "Who logs in there and may read the disks. Default: `root`."),
        key("port", Whole(1, 65_535), "Its port. Default: 22."),
        required(
            "key",
            Text(&PATH),
            "The file of the private key, relative to the first plan file. There is no password.",
        ),
        required(
            "known_hosts",
            Text(&PATH),
            "The file with the host's own key, in the form of `ssh-keyscan`: nothing else is trusted.",
        ),
        key(
            "freeze",
            Amount(A::Duration(SECOND, DAY)),
            "The file systems of the disks are frozen while they are read, so long at most; never of a disk that the \
             machine itself runs from.",
        ),
        key(
            "snapshot",
            Choice(&[
                word("auto", "where the volume group has room (the default)"),
                word("never", "of nothing; no command that changes anything runs on the machine"),
                word("required", "of every LVM volume in use on the disks, or nothing is read"),
            ]),
            "LVM volumes are read from snapshots, which are taken on the machine and removed again.",
        ),
        key(
            "snapshot_size",
            Amount(A::Size(MIB, 1024 * TIB)),
            "Room that each snapshot gets in its volume group; else a tenth of its volume.",
        ),
        key(
            "inconsistent",
            Choice(&[
                word("refuse", "the capture fails and its chunks are kept for the agent's capture (the default)"),
                word("accept", "the image is taken as it is, and marked"),
            ]),
            "What about an image of a disk that was written while it was read.",
        ),
    ],
};

static AGENT_SOURCE: Object = Object {
    name: "agent-source",
    what: "`agent`",
    doc: "A machine that boots into the agent; at least one of these finds it.",
    keys: &[
        key("mac", Text(&MAC), "A network adapter of it."),
        key("uuid", Text(&NONEMPTY), "The UUID that its firmware has (SMBIOS)."),
        key("serial", Text(&NONEMPTY), "The serial number that its firmware has (SMBIOS)."),
    ],
};

static DISK: Object = Object {
    name: "disk",
    what: "a source disk",
    doc: "A disk file or a block device.",
    keys: &[
        required(
            "path",
            Text(&PATH),
            "The disk file or block device, relative to the first plan file. Of a machine in the agent: \
             `serial:NUMBER`, or `any` for the only disk of its size.",
        ),
        key("format", FORMAT, "Its format; left out, the file's own signature decides."),
        key("size", Amount(A::Size(512, 1024 * TIB)), "Its size; needed of a machine in the agent or behind ssh."),
        key("live", Text(&NONEMPTY), "With `agent` and `ssh`: the device that ssh reads, such as `/dev/sda`."),
    ],
};

const FORMAT: super::shape::Shape = Choice(&[
    word("raw", "bytes as they are; also block devices"),
    word("qcow2", "QEMU copy-on-write; compressed and layered ones, too"),
    word("vmdk", "VMware: sparse, flat, split or stream-optimised"),
    word("ova", "a disk of an appliance: `path: box.ova`, or `path: box.ova/disk2.vmdk` if it has several"),
    word("vhd", "Microsoft and Xen, fixed or dynamic"),
    word("vhdx", "Microsoft, fixed or dynamic"),
]);
const TARGET_FORMAT: super::shape::Shape = Choice(&[
    word("raw", "bytes as they are"),
    word("qcow2", "QEMU copy-on-write"),
    word("vmdk", "VMware"),
    word("vhd", "Microsoft and Xen"),
    word("vhdx", "Microsoft"),
]);
const FIRMWARE: super::shape::Shape = Choice(&[word("bios", "legacy BIOS"), word("uefi", "UEFI")]);

static INVENTORY: Object = Object {
    name: "inventory",
    what: "`inventory`",
    doc: "Declared facts of the source machine.",
    keys: &[
        key(
            "document",
            Text(&PATH),
            "The inventory document (`replant inventory`) that says what is not declared here, relative to the first \
             plan file.",
        ),
        key("memory", Amount(A::Size(16 * MIB, 64 * TIB)), "Its memory."),
        key("cpus", Whole(1, 4096), "Its processors."),
        key("firmware", FIRMWARE, "Its firmware."),
        key("nics", List(&Obj(&NIC), 0), "Its network adapters, in order."),
        key("utilisation", Obj(&UTILISATION), "What it uses, as measured, for `replant assess`."),
        key("facts", Obj(&FACTS), "Further facts that rules read; left out, unknown."),
    ],
};

static NIC: Object = Object {
    name: "nic",
    what: "a network adapter",
    doc: "A network adapter.",
    keys: &[
        required("mac", Text(&MAC), "Its MAC address, which the virtual machine takes over."),
        key("name", Text(&NONEMPTY), "The interface's name in the source, such as `eth0`."),
    ],
};

static WORKLOAD: Object = Object {
    name: "workload",
    what: "`workload`",
    doc: "What the machine is used for.",
    keys: &[
        key(
            "role",
            Choice(&[
                word("production", "serves people (the default)"),
                word("test", "a test machine"),
                word("training", "a training machine"),
            ]),
            "Production, or test and training.",
        ),
        key("description", Text(&FREE), "Free text for reports."),
    ],
};

const MEMORY: super::shape::Shape = Amount(A::Size(16 * MIB, 64 * TIB));
const HOST_DOC: &str = "The host that runs it.";
const MEMORY_DOC: &str = "Its memory; left out, the source's.";
const CPUS_DOC: &str = "Its virtual processors; left out, the source's.";
const FIRMWARE_DOC: &str = "Its firmware; left out, the source's, or what the boot disk shows.";
const DISKS_DOC: &str = "How its disk files are made.";
const NETWORK_DOC: &str = "The network its adapters are connected to at the end; the provider gives it meaning.";
const DEPLOY_BY: super::shape::Shape = Choice(&[
    word("host", "the disk files, here (the default)"),
    word("agent", "the agent in the virtual machine, which fetches the images through the controller"),
]);
const DEPLOY_DOC: &str = "Who writes its disks; `agent` is for those that cannot be written from here.";
const BUDGET_DOC: &str = "The budget that its deploys share with others, by name.";
const SETTINGS_DOC: &str = "Settings for the provider's templates.";

static TARGET: Object = Object {
    name: "target",
    what: "`target`",
    doc: "The virtual machine to be.",
    keys: &[
        key("host", Text(&NAME), HOST_DOC),
        key("vm_name", Text(&FILE_NAME), "Its name on the host; left out, the machine's."),
        key("memory", MEMORY, MEMORY_DOC),
        key("cpus", Whole(1, 4096), CPUS_DOC),
        key("firmware", FIRMWARE, FIRMWARE_DOC),
        key("disks", Obj(&TARGET_DISKS), DISKS_DOC),
        key("deploy", DEPLOY_BY, DEPLOY_DOC),
        key("network", Text(&NONEMPTY), NETWORK_DOC),
        key("budget", BUDGET_NAME, BUDGET_DOC),
        key("settings", Settings, SETTINGS_DOC),
    ],
};

static TARGET_DEFAULTS: Object = Object {
    name: "target-defaults",
    what: "`target` in `defaults`",
    doc: "The virtual machines to be; a name belongs to one machine only.",
    keys: &[
        key("host", Text(&NAME), HOST_DOC),
        key("memory", MEMORY, MEMORY_DOC),
        key("cpus", Whole(1, 4096), CPUS_DOC),
        key("firmware", FIRMWARE, FIRMWARE_DOC),
        key("disks", Obj(&TARGET_DISKS), DISKS_DOC),
        key("deploy", DEPLOY_BY, DEPLOY_DOC),
        key("network", Text(&NONEMPTY), NETWORK_DOC),
        key("budget", BUDGET_NAME, BUDGET_DOC),
        key("settings", Settings, SETTINGS_DOC),
    ],
};

static TARGET_DISKS: Object = Object {
    name: "target-disks",
    what: "`disks` of a target",
    doc: "How the virtual machine's disk files are made.",
    keys: &[
        key("format", TARGET_FORMAT, "Their format, one that the host's provider takes. Default: `qcow2`."),
        key(
            "allocation",
            Choice(&[
                word("dynamic", "space is taken as it is written (the default)"),
                word("fixed", "all space is taken at once"),
            ]),
            "Whether space is taken at once.",
        ),
    ],
};

static CAPTURE: Object = Object {
    name: "capture",
    what: "`capture`",
    doc: "How disks are captured.",
    keys: &[
        key(
            "compression",
            Choice(&[word("zstd", "compressed where it pays (the default)"), word("none", "never compressed")]),
            "Whether chunks are compressed.",
        ),
        key("limit", Amount(A::Rate(65_536)), "At most this fast, per disk."),
        key("budget", BUDGET_NAME, "The budget that they share with others, by name."),
        key(
            "read",
            Choice(&[
                word("used", "only blocks that file systems use, and whatever is not recognised (the default)"),
                word("whole", "everything, deleted data included"),
            ]),
            "What is read of a disk.",
        ),
        key(
            "on_read_error",
            Choice(&[
                word("fail", "the capture fails and names them (the default)"),
                word("zero-and-report", "they become zeros, and the image and a warning name them"),
            ]),
            "What happens to bytes that the disk does not give.",
        ),
    ],
};

static GUEST: Object = Object {
    name: "guest",
    what: "`guest`",
    doc: "How the operating system is converted.",
    keys: &[
        key(
            "convert",
            Choice(&[
                word("auto", "converted in the agent before the first boot (the default)"),
                word("none", "the disks are left as captured"),
            ]),
            "Whether the operating system is converted.",
        ),
        key(
            "root",
            Text(&NONEMPTY),
            "The root file system (`UUID=...`, `LABEL=...`, `/dev/disk0p1`) if there are several.",
        ),
        key(
            "initramfs",
            Choice(&[
                word("auto", "by an overlay; where none can be made, by the guest's own tool (the default)"),
                word("overlay", "by an overlay only: no program of the guest runs"),
                word("rebuild", "by the guest's own tool, in the restored system"),
            ]),
            "How the initramfs of a Linux gets the target's drivers.",
        ),
        key("serial_console", Flag, "Whether the kernel's console is put on the serial port. Default: `false`."),
        key("skip", List(&Text(&NONEMPTY), 0), "Edits that are left out, by id."),
        key(
            "addresses",
            List(&Obj(&READDRESS), 0),
            "Addresses that become others on the target's network, wherever the guest's network configuration names them.",
        ),
        key("keys", List(&Obj(&LUKS_KEY), 0), "Keys of encrypted volumes, by reference."),
        key(
            "run",
            List(&Obj(&GUEST_SCRIPT), 0),
            "Scripts of your own, in order; those for another system are left out.",
        ),
    ],
};

static GUEST_SCRIPT: Object = Object {
    name: "guest-script",
    what: "a script of `guest.run`",
    doc: "A script that runs in the guest.",
    keys: &[
        required(
            "when",
            Choice(&[
                word("before", "in the restored system while it is off, before it is converted (Linux)"),
                word("after", "the same, after it was converted (Linux)"),
                word("first-boot", "when it starts for the first time on the target"),
            ]),
            "When it runs.",
        ),
        required("script", Text(&PATH), "Its file, relative to the first plan file."),
        key("timeout", Amount(A::Duration(SECOND, 30 * DAY)), "Longest time that it may take. Default: `10m`."),
    ],
};

static READDRESS: Object = Object {
    name: "readdress",
    what: "an address that changes",
    doc: "An address of the source's network, and what takes its place.",
    keys: &[
        required("from", Text(&NONEMPTY), "The old address, such as `10.0.0.5/24` or `10.0.0.1`."),
        required("to", Text(&NONEMPTY), "The new one; with a prefix if the network's size changes."),
    ],
};

static LUKS_KEY: Object = Object {
    name: "luks-key",
    what: "a key of an encrypted volume",
    doc: "The key of a LUKS container.",
    keys: &[
        required("luks", Text(&NONEMPTY), "The container's UUID; `any` for every container."),
        required("key", OneOf(&SECRET), "The passphrase or key file."),
    ],
};

static POST_DEPLOY: Object = Object {
    name: "post-deploy",
    what: "`post_deploy`",
    doc: "The declared end state.",
    keys: &[
        key(
            "action",
            Choice(&[
                word("start", "the virtual machine runs (the default)"),
                word("stop", "it is off"),
                word("agent", "it stays in the agent"),
            ]),
            "What the virtual machine does when the migration has ended.",
        ),
        key("wait_for", Text(&NONEMPTY), "Wait until the console shows this text."),
        key(
            "probes",
            List(&Text(&NONEMPTY), 0),
            "Signs of life that the machine must give: `ping:HOST`, `tcp:HOST:PORT`, `http://HOST[:PORT]/PATH`.",
        ),
        key("timeout", Amount(A::Duration(SECOND, 30 * DAY)), "How long to wait for it. Default: `5m`."),
    ],
};

static WAVE: Object = Object {
    name: "wave",
    what: "a wave",
    doc: "Machines that migrate together.",
    keys: &[
        required("name", Text(&NAME), "Its name, unique in the plan."),
        required("machines", List(&Text(&GLOB), 1), "Its machines: names, or globs such as `web*`."),
        key("max_failures", WholeOrPercent, "This many machines may fail before nothing new starts."),
    ],
};
