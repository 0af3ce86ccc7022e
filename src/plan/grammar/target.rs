//! The plan language: what a machine becomes, and what is done to its system.

use super::shape::Shape::{Amount, Choice, Flag, List, Object as Obj, OneOf, Settings, Text, Whole};
use super::shape::{Amount as A, Object, key, required, word};
use super::table::{BUDGET_NAME, DAY, FIRMWARE, MIB, SECOND, SECRET, TIB};
use super::text::{FILE_NAME, NAME, NONEMPTY, PATH};

pub(super) const TARGET_FORMAT: super::shape::Shape = Choice(&[
    word("raw", "bytes as they are"),
    word("qcow2", "QEMU copy-on-write"),
    word("vmdk", "VMware"),
    word("vhd", "Microsoft and Xen"),
    word("vhdx", "Microsoft"),
]);

pub(super) const MEMORY: super::shape::Shape = Amount(A::Size(16 * MIB, 64 * TIB));

pub(super) const HOST_DOC: &str = "The host that runs it.";

pub(super) const MEMORY_DOC: &str = "Its memory; left out, the source's.";

pub(super) const CPUS_DOC: &str = "Its virtual processors; left out, the source's.";

pub(super) const FIRMWARE_DOC: &str = "Its firmware; left out, the source's, or what the boot disk shows.";

pub(super) const DISKS_DOC: &str = "How its disk files are made.";

pub(super) const NETWORK_DOC: &str =
    "The network its adapters are connected to at the end; the provider gives it meaning.";

pub(super) const DEPLOY_BY: super::shape::Shape = Choice(&[
    word("host", "the disk files, here (the default)"),
    word("agent", "the agent in the virtual machine, which fetches the images through the controller"),
]);

pub(super) const DEPLOY_DOC: &str = "Who writes its disks; `agent` is for those that cannot be written from here.";

pub(super) const BUDGET_DOC: &str = "The budget that its deploys share with others, by name.";

pub(super) const SETTINGS_DOC: &str = "Settings for the provider's templates.";

pub(super) static TARGET: Object = Object {
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

pub(super) static TARGET_DEFAULTS: Object = Object {
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

pub(super) static TARGET_DISKS: Object = Object {
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

pub(super) static GUEST: Object = Object {
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

pub(super) static GUEST_SCRIPT: Object = Object {
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

pub(super) static READDRESS: Object = Object {
    name: "readdress",
    what: "an address that changes",
    doc: "An address of the source's network, and what takes its place.",
    keys: &[
        required("from", Text(&NONEMPTY), "The old address, such as `10.0.0.5/24` or `10.0.0.1`."),
        required("to", Text(&NONEMPTY), "The new one; with a prefix if the network's size changes."),
    ],
};

pub(super) static LUKS_KEY: Object = Object {
    name: "luks-key",
    what: "a key of an encrypted volume",
    doc: "The key of a LUKS container.",
    keys: &[
        required("luks", Text(&NONEMPTY), "The container's UUID; `any` for every container."),
        required("key", OneOf(&SECRET), "The passphrase or key file."),
    ],
};

pub(super) static POST_DEPLOY: Object = Object {
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
