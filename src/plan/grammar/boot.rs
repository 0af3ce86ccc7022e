//! `netboot:` of a plan, `power:` of a machine.

use super::shape::Shape::{self, Choice, Flag, Object as Obj, OneOf, Text, Whole, WordOr};
use super::shape::{Object, key, required, word};
use super::table::SECRET;
use super::text::{FINGERPRINT, HOST_PORT, HTTPS, INTERFACE, NONEMPTY, RANGE, SERIAL_PORT};

pub(super) static NETBOOT: Object = Object {
    name: "netboot",
    what: "`netboot`",
    doc: "How machines boot from the network into the agent.",
    keys: &[
        required("interface", Text(&INTERFACE), "The interface on the boot network; no other is listened on."),
        key(
            "mode",
            Choice(&[
                word("dhcp", "we give out the addresses: nobody else serves DHCP there (the default)"),
                word("proxy", "another server gives out the addresses, we say what to boot"),
            ]),
            "Which part of DHCP is ours.",
        ),
        key("range", Text(&RANGE), "The addresses that are given out in mode `dhcp`."),
        key("http_port", Whole(1, 65_535), "Where boot files are served by plain HTTP. Default: 8069."),
        key(
            "controller_port",
            Whole(1, 65_535),
            "Where agents reach the controller that `apply` brings along. Default: 7443.",
        ),
        key(
            "console",
            Text(&SERIAL_PORT),
            "The serial port that the agent shows its console on, besides the screen: `ttyS0`, `ttyS1,115200`.",
        ),
        key(
            "emergency_shell",
            Flag,
            "Whether a machine whose agent has failed opens a shell, with its disks, for whoever stands before it. \
             Default: false.",
        ),
    ],
};

pub(super) const POWER: Shape =
    WordOr(&[word("manual", "we tell a person what to do, and wait (the default)")], &POWER_ACCESS);

static POWER_ACCESS: Object = Object {
    name: "power",
    what: "`power`",
    doc: "How the machine's power is switched.",
    keys: &[
        key("redfish", Obj(&REDFISH), "By its Redfish service, the usual REST interface of servers."),
        key("ipmi", Obj(&IPMI), "By IPMI over the network, through `ipmitool`."),
    ],
};

static REDFISH: Object = Object {
    name: "redfish",
    what: "`redfish`",
    doc: "A Redfish service.",
    keys: &[
        required("url", Text(&HTTPS), "`https://HOST`, or one system of it: `https://HOST/redfish/v1/Systems/1`."),
        required("user", Text(&NONEMPTY), "The user."),
        required("password", OneOf(&SECRET), "Where the password comes from."),
        required(
            "certificate",
            Text(&FINGERPRINT),
            "SHA-256 of the service's certificate; `replant power MACHINE certificate` shows it.",
        ),
    ],
};

static IPMI: Object = Object {
    name: "ipmi",
    what: "`ipmi`",
    doc: "An IPMI service.",
    keys: &[
        required("host", Text(&HOST_PORT), "Its address, with a port if it is not 623."),
        key("cipher", Whole(3, 17), "The cipher suite, for services that cannot be asked for it; usually 3 or 17."),
        required("user", Text(&NONEMPTY), "The user."),
        required("password", OneOf(&SECRET), "Where the password comes from."),
    ],
};
