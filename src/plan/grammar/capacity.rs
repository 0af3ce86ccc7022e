//! The part of the plan language that sizing and placement read.

use super::shape::Shape::{Amount, Choice, List, Object as Obj, Text, Whole};
use super::shape::{Amount as A, Object, Shape, key, required, word};
use super::text::NAME;

const TIB: u64 = 1 << 40;
const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

const SIZE: Shape = Amount(A::Size(0, 1024 * 1024 * TIB));
const SPEED: Shape = Amount(A::Rate(125));
const SHARE: Shape = Amount(A::Percent(0, 10_000));
const CLOCK: Shape = Amount(A::Frequency(1_000_000, 100_000_000_000));

pub(super) static UTILISATION: Object = Object {
    name: "utilisation",
    what: "`utilisation`",
    doc: "What the source uses, as measured.",
    keys: &[
        key("observed", Amount(A::Duration(HOUR, 3660 * DAY)), "How long it was observed."),
        key(
            "load",
            Choice(&[
                word("constant", "about the same every day (the default)"),
                word("periodic", "with peaks every month or two"),
                word("seasonal", "with seasons"),
            ]),
            "How its load repeats; it tells how long to observe.",
        ),
        key("memory", SIZE, "Peak memory of its workload."),
        key(
            "memory_peak",
            Choice(&[word("sustained", "the peak lasts"), word("spike", "the peak is short")]),
            "Whether that peak lasts.",
        ),
        key("frequency", CLOCK, "Clock rate of one of its processors."),
        key("cpu", SHARE, "Highest sustained use, all processors together being `100%`."),
        key(
            "performance",
            Amount(A::Percent(100, 1_000_000)),
            "How much of the target's clock does the work of the source's. Default: `100%`, processors alike.",
        ),
        key("network", List(&Obj(&NETWORK_USE), 0), "The load of its network adapters."),
        key("disk", Obj(&DISK_USE), "Its disks, all together."),
    ],
};

static NETWORK_USE: Object = Object {
    name: "network-use",
    what: "the load of a network adapter",
    doc: "The load of one network adapter.",
    keys: &[
        required("speed", SPEED, "The adapter's speed."),
        required("peak", SHARE, "Its peak use."),
        key(
            "over",
            Choice(&[
                word("shared", "over an adapter that virtual machines share (the default)"),
                word("dedicated", "over an adapter of its own"),
                word("internal", "over an isolated network between the host and its virtual machines"),
            ]),
            "Where the load goes in the virtual machine.",
        ),
    ],
};

static DISK_USE: Object = Object {
    name: "disk-use",
    what: "`disk` of `utilisation`",
    doc: "A machine's disks, all together.",
    keys: &[
        key("size", SIZE, "Bytes that the machine sees."),
        key("used", SIZE, "Bytes in use."),
        key("snapshots", Whole(0, 1024), "Snapshots to be kept; each may grow to the disks' size. Default: 0."),
        key(
            "io",
            Choice(&[word("light", "not busy (the default)"), word("heavy", "busy: a database, a mail store")]),
            "How busy they are.",
        ),
    ],
};

pub(super) static CAPACITY: Object = Object {
    name: "capacity",
    what: "`capacity`",
    doc: "What a host has.",
    keys: &[
        key("memory", SIZE, "Installed memory."),
        key("system_memory", SIZE, "Memory of its own operating system. Default: `1GiB`."),
        key("cores", Whole(1, 65_536), "Processor cores."),
        key("frequency", CLOCK, "Clock rate of a core."),
        key("storage", SIZE, "Space for the disks of virtual machines."),
        key("nics", List(&Obj(&HOST_NIC), 0), "Network adapters."),
        key("in_use", Obj(&IN_USE), "What virtual machines that are no part of the plan take."),
    ],
};

static HOST_NIC: Object = Object {
    name: "host-nic",
    what: "a network adapter of a host",
    doc: "A network adapter of a host.",
    keys: &[
        required("speed", SPEED, "Its speed."),
        key(
            "role",
            Choice(&[
                word("vms", "virtual machines use it (the default)"),
                word("host", "the host alone uses it; no virtual network is bound to it"),
            ]),
            "Who uses it.",
        ),
    ],
};

static IN_USE: Object = Object {
    name: "in-use",
    what: "`in_use`",
    doc: "What virtual machines that are no part of the plan take of a host.",
    keys: &[
        key("memory", SIZE, "Memory, overhead included."),
        key("frequency", Amount(A::Frequency(0, 1_000_000_000_000_000)), "Processor reservations."),
        key("network", Amount(A::Rate(0)), "Peak network load."),
        key("storage", SIZE, "Disk space."),
    ],
};

pub(super) static SIZING: Object = Object {
    name: "sizing",
    what: "`sizing`",
    doc: "How virtual machines are sized on a host.",
    keys: &[
        key("vm_overhead", SIZE, "Memory that one virtual machine costs beyond its own."),
        key("vm_memory_limit", SIZE, "Most memory of one virtual machine."),
        key("vm_cpus", Whole(1, 4096), "Most processors of one virtual machine."),
        key("memory_headroom", SHARE, "Memory kept beyond the sum. Default: `25%`."),
        key("cpu_reserve", SHARE, "Share of the processors that is kept, one core at most. Default: `25%`."),
        key("network_efficiency", SHARE, "Share of an adapter's speed that is really to be had. Default: `75%`."),
        key("storage_headroom", SHARE, "Disk space kept beyond the sum. Default: `25%`."),
    ],
};

pub(super) static PLACEMENT: Object = Object {
    name: "placement",
    what: "`placement`",
    doc: "Which machines one shares a host with.",
    keys: &[
        key("together", Text(&NAME), "Machines of one such group share a host."),
        key("apart", Text(&NAME), "No two machines of one such group share a host."),
    ],
};
