//! How machines are booted and switched: `netboot:` of a plan, `power:` of a machine.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::model::SecretRef;

/// How network boot is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netboot {
    /// The interface on the boot network.
    pub interface: String,
    /// First and last address that we give out; `None` if another server gives out the addresses.
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// Where boot files are served by plain HTTP.
    pub http_port: u16,
    /// Where agents reach the controller that a run brings along.
    pub controller_port: u16,
    /// The serial port that the agent shows its console on, besides the screen.
    pub console: Option<String>,
    /// Whether a machine whose agent has failed opens a shell for whoever stands before it.
    pub emergency_shell: bool,
}

/// How a machine's power is switched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Power {
    /// By a person.
    Manual,
    /// By its Redfish service, the usual REST interface of servers.
    Redfish(RedfishAccess),
    /// By IPMI over the network.
    Ipmi(IpmiAccess),
}

/// Where a machine's Redfish service is, and how it lets us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedfishAccess {
    /// `https://HOST`, or the address of one system of it: `https://HOST/redfish/v1/Systems/1`.
    pub url: String,
    /// The user.
    pub user: String,
    /// Where the password comes from.
    pub password: SecretRef,
    /// `sha256:HEX` of the service's own certificate: no other is trusted.
    pub certificate: String,
}

/// Where a machine's IPMI service is, and how it lets us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpmiAccess {
    /// `HOST` or `HOST:PORT`.
    pub host: String,
    /// The cipher suite; `None` asks the service for its best.
    pub cipher: Option<u32>,
    /// The user.
    pub user: String,
    /// Where the password comes from.
    pub password: SecretRef,
}
