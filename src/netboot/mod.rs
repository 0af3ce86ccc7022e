//! Network boot: how a machine without an operating system that we could talk to gets into the agent, and back.
//!
//! ```text
//! firmware --DHCP--> dnsmasq --TFTP--> iPXE --HTTP--> /boot?mac=..&uuid=.. -> agent | local disk | ignore
//!                                                 \-> /files/vmlinuz, /files/agent.img
//! ```
//!
//! DHCP and TFTP are dnsmasq's, in a process that we start, watch and stop; unknown machines get no answer of any kind.
//! Who boots into what is a [`BootDirectory`]'s decision. Nothing here is secret but the one-time token in the command
//! line, and nothing here trusts: the agent proves its controller and itself over mutual TLS later.
//!
//! Machines that cannot boot from the network start the same agent from a medium, or from the Linux that runs
//! on them.

mod answer;
mod command_line;
mod dnsmasq;
mod http;
mod interface;
mod iso;
mod kexec;
mod probe;
mod request;
mod router_advert;
mod script;
mod service;
mod settings;

pub use answer::{BootAnswer, BootCount, BootDirectory, BootEntry, BootTable, BootWish, Decision, decide};
pub use command_line::{CommandLine, UnsafeWord};
pub use dnsmasq::DnsmasqError;
pub use http::{BootFiles, BootSite, router, serve};
pub use interface::{BootInterface, InterfaceError};
pub use iso::{IsoError, write_iso};
pub use kexec::{KexecError, KexecProbe, KexecTarget};
pub use probe::{ProbeError, probe};
pub use request::{BootRequest, RequestError};
pub use script::Scripts;
pub use service::{Forbidden, NetbootError, NetbootHealth, NetbootOptions, NetbootService};
pub use settings::{DhcpMode, NetbootSettings, SettingsError};
