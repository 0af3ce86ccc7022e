//! The plan language: where disks are read, and how they are captured.

use super::shape::Shape::{Amount, Choice, List, Object as Obj, Text, Whole};
use super::shape::{Amount as A, Object, key, required, word};
use super::table::{BUDGET_NAME, DAY, MIB, SECOND, TIB};
use super::text::{MAC, NONEMPTY, PATH};

pub(super) static SOURCE: Object = Object {
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

pub(super) static SSH_SOURCE: Object = Object {
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

pub(super) static AGENT_SOURCE: Object = Object {
    name: "agent-source",
    what: "`agent`",
    doc: "A machine that boots into the agent; at least one of these finds it.",
    keys: &[
        key("mac", Text(&MAC), "A network adapter of it."),
        key("uuid", Text(&NONEMPTY), "The UUID that its firmware has (SMBIOS)."),
        key("serial", Text(&NONEMPTY), "The serial number that its firmware has (SMBIOS)."),
    ],
};

pub(super) static DISK: Object = Object {
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

pub(super) const FORMAT: super::shape::Shape = Choice(&[
    word("raw", "bytes as they are; also block devices"),
    word("qcow2", "QEMU copy-on-write; compressed and layered ones, too"),
    word("vmdk", "VMware: sparse, flat, split or stream-optimised"),
    word("ova", "a disk of an appliance: `path: box.ova`, or `path: box.ova/disk2.vmdk` if it has several"),
    word("vhd", "Microsoft and Xen, fixed or dynamic"),
    word("vhdx", "Microsoft, fixed or dynamic"),
]);

pub(super) static CAPTURE: Object = Object {
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
