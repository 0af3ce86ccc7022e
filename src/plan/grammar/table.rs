//! The plan language itself: every key is here, in `source` or in `target`, once.

use super::boot::{NETBOOT, POWER};
use super::capacity::{CAPACITY, PLACEMENT, SIZING, UTILISATION};
use super::facts::{FACTS, HOST_FACTS, RULES};
use super::shape::Shape::{
    Amount, Choice, List, Named, Object as Obj, ObjectOr, OneOf, Settings, Text, Whole, WholeOrPercent,
};
use super::shape::{Amount as A, Object, key, required, word};
use super::source::{CAPTURE, SOURCE};
use super::target::{GUEST, POST_DEPLOY, TARGET, TARGET_DEFAULTS};
use super::text::{FREE, GLOB, HOURS, MAC, NAME, NONEMPTY, PATH, VARIABLE};

pub(super) const MIB: u64 = 1 << 20;

pub(super) const TIB: u64 = 1 << 40;

pub(super) const SECOND: u64 = 1_000;

pub(super) const DAY: u64 = 86_400 * SECOND;

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

pub(super) static STORE: Object = Object {
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

pub(super) static BUDGET: Object = Object {
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

pub(super) const BUDGET_NAME: super::shape::Shape = Text(&NAME);

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

pub(super) static HOST: Object = Object {
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

pub(super) static DEFAULTS: Object = Object {
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

pub(super) const ON_FAILURE: super::shape::Shape = Choice(&[
    word("keep", "what was made stays, and `replant apply` resumes (the default)"),
    word("rollback", "what the machine's tasks made is undone"),
]);

pub(super) const ON_FAILURE_DOC: &str = "What happens when a task fails.";

pub(super) static MACHINE: Object = Object {
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

pub(super) const FIRMWARE: super::shape::Shape = Choice(&[word("bios", "legacy BIOS"), word("uefi", "UEFI")]);

pub(super) static INVENTORY: Object = Object {
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

pub(super) static NIC: Object = Object {
    name: "nic",
    what: "a network adapter",
    doc: "A network adapter.",
    keys: &[
        required("mac", Text(&MAC), "Its MAC address, which the virtual machine takes over."),
        key("name", Text(&NONEMPTY), "The interface's name in the source, such as `eth0`."),
    ],
};

pub(super) static WORKLOAD: Object = Object {
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

pub(super) static WAVE: Object = Object {
    name: "wave",
    what: "a wave",
    doc: "Machines that migrate together.",
    keys: &[
        required("name", Text(&NAME), "Its name, unique in the plan."),
        required("machines", List(&Text(&GLOB), 1), "Its machines: names, or globs such as `web*`."),
        key("max_failures", WholeOrPercent, "This many machines may fail before nothing new starts."),
    ],
};
