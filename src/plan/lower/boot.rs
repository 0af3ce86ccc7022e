//! `netboot:` of a plan, `power:` of a machine.

use std::net::Ipv4Addr;

use camino::Utf8Path;

use super::access::At;
use super::store::secret;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::boot::{IpmiAccess, Netboot, Power, RedfishAccess};

const HTTP_PORT: u32 = 8069;
const CONTROLLER_PORT: u32 = 7443;

/// The network boot service: what the first file that has it says.
pub(super) fn netboot(roots: &[At<'_>], found: &mut Diagnostics) -> Option<Netboot> {
    let declared = roots.iter().find_map(|root| root.get("netboot"))?;
    let proxy = declared.get("mode").and_then(At::text) == Some("proxy");
    let range = match (declared.get("range"), proxy) {
        (Some(range), true) => {
            found.push(
                Diagnostic::warning("plan.unused", "the range of `netboot` is not used")
                    .at(range.span(), "another server gives out the addresses")
                    .help("take `range` out, or write `mode: dhcp`"),
            );
            None
        }
        (None, false) => {
            found.push(
                Diagnostic::error("plan.missing-key", "`netboot` needs the addresses that it gives out")
                    .at(declared.headline(), "`range` is missing")
                    .help("write `range: 10.0.0.100-10.0.0.200`, or `mode: proxy` where another server gives them out"),
            );
            return None;
        }
        (Some(range), false) => Some(addresses(range, found)?),
        (None, true) => None,
    };
    let port = |key: &str, default: u32| u16::try_from(declared.get(key).and_then(At::whole).unwrap_or(default)).ok();
    let (http_port, controller_port) = (port("http_port", HTTP_PORT)?, port("controller_port", CONTROLLER_PORT)?);
    if http_port == controller_port {
        found.push(
            Diagnostic::error("plan.value", format!("port {http_port} is to serve boot files and agents"))
                .at(declared.headline(), "`http_port` and `controller_port` are the same")
                .help("give one of them another port"),
        );
    }
    Some(Netboot {
        interface: declared.get("interface")?.text()?.to_owned(),
        range,
        http_port,
        controller_port,
        console: declared.get("console").and_then(At::text).map(str::to_owned),
        emergency_shell: declared.get("emergency_shell").and_then(At::flag).unwrap_or(false),
    })
}

fn addresses(range: At<'_>, found: &mut Diagnostics) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (first, last) = range.text()?.split_once('-')?;
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Some((first, last)),
        _ => {
            found.push(
                Diagnostic::error("plan.value", "`range` of `netboot` is no range of addresses")
                    .at(range.span(), "the first is not an address, or not before the last")
                    .help("write it as 10.0.0.100-10.0.0.200"),
            );
            None
        }
    }
}

/// How the machine is switched; by a person if nothing is said.
pub(super) fn power(at: Option<At<'_>>, folder: &Utf8Path) -> Power {
    let text = |at: At<'_>, key: &str| at.get(key).and_then(At::text).map(str::to_owned);
    let redfish = |at: At<'_>| {
        Some(Power::Redfish(RedfishAccess {
            url: text(at, "url")?,
            user: text(at, "user")?,
            password: secret(at.get("password")?, folder)?,
            certificate: text(at, "certificate")?,
        }))
    };
    let ipmi = |at: At<'_>| {
        Some(Power::Ipmi(IpmiAccess {
            host: text(at, "host")?,
            cipher: at.get("cipher").and_then(At::whole),
            user: text(at, "user")?,
            password: secret(at.get("password")?, folder)?,
        }))
    };
    // What is incomplete has been reported, and no such plan is used.
    at.and_then(|at| at.get("redfish").and_then(redfish).or_else(|| at.get("ipmi").and_then(ipmi)))
        .unwrap_or(Power::Manual)
}
