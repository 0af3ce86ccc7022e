//! What this host knows of its own adapters.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use crate::hardware::MacAddress;

/// The interface on the boot network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootInterface {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Our address on it.
    pub address: Ipv4Addr,
    /// Bits of the network's prefix.
    pub prefix: u8,
}

/// Why the interface cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// It is not there.
    #[error("there is no network interface `{name}`; there are {there}")]
    Absent {
        /// Its name.
        name: String,
        /// Those that are.
        there: String,
    },
    /// It has no address.
    #[error("the interface `{name}` has no IPv4 address: give it one, such as `ip address add 10.0.0.1/24 dev {name}`")]
    NoAddress {
        /// Its name.
        name: String,
    },
    /// `ip` cannot be run.
    #[error("`ip` cannot be run: install the Debian package iproute2")]
    Tool(#[source] std::io::Error),
    /// The range lies elsewhere.
    #[error("the range {first}-{last} is not in the network of `{name}` ({address}/{prefix})")]
    RangeElsewhere {
        /// First address.
        first: Ipv4Addr,
        /// Last address.
        last: Ipv4Addr,
        /// The interface.
        name: String,
        /// Its address.
        address: Ipv4Addr,
        /// Its prefix.
        prefix: u8,
    },
    /// The range holds what is not to be given out.
    #[error("the range {first}-{last} holds {taken}, which is {what}")]
    RangeTaken {
        /// First address.
        first: Ipv4Addr,
        /// Last address.
        last: Ipv4Addr,
        /// The address.
        taken: Ipv4Addr,
        /// What it is.
        what: &'static str,
    },
}

const NETWORKS: &str = "/sys/class/net";

impl BootInterface {
    /// Looks at it.
    pub fn look(name: &str) -> Result<Self, InterfaceError> {
        let names = interfaces();
        let index = names.contains(name).then(|| fs::read_to_string(Path::new(NETWORKS).join(name).join("ifindex")));
        let index = index.and_then(|text| text.ok()?.trim().parse().ok());
        let Some(index) = index else {
            let there: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            return Err(InterfaceError::Absent { name: name.to_owned(), there: there.join(", ") });
        };
        let output = Command::new("ip")
            .args(["-j", "-4", "address", "show", "dev", name])
            .output()
            .map_err(InterfaceError::Tool)?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut found = links.as_array().into_iter().flatten().flat_map(|link| link["addr_info"].as_array()).flatten();
        let found = found.find_map(|info| {
            let address = info["local"].as_str()?.parse().ok()?;
            Some((address, u8::try_from(info["prefixlen"].as_u64()?).ok().filter(|bits| (1..=30).contains(bits))?))
        });
        let (address, prefix) = found.ok_or_else(|| InterfaceError::NoAddress { name: name.to_owned() })?;
        Ok(Self { name: name.to_owned(), index, address, prefix })
    }

    /// The network's mask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// The network's own address.
    pub fn network(&self) -> Ipv4Addr {
        self.address & self.mask()
    }

    /// The address that reaches everybody on the network.
    pub fn broadcast(&self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    /// Whether the addresses can be given out here.
    pub fn accepts(&self, first: Ipv4Addr, last: Ipv4Addr) -> Result<(), InterfaceError> {
        let here = |address: Ipv4Addr| address & self.mask() == self.network();
        if !here(first) || !here(last) {
            let (name, address, prefix) = (self.name.clone(), self.address, self.prefix);
            return Err(InterfaceError::RangeElsewhere { first, last, name, address, prefix });
        }
        let reserved = [
            (self.address, "our own address"),
            (self.network(), "the network's own address"),
            (self.broadcast(), "the network's broadcast address"),
        ];
        match reserved.into_iter().find(|(address, _)| (first..=last).contains(address)) {
            Some((taken, what)) => Err(InterfaceError::RangeTaken { first, last, taken, what }),
            None => Ok(()),
        }
    }
}

fn interfaces() -> BTreeSet<String> {
    let entries = fs::read_dir(NETWORKS).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name != "lo").collect()
}

/// The addresses of this host's own adapters, bridges and virtual links among them.
pub fn own_macs() -> BTreeSet<MacAddress> {
    let address = |name: String| fs::read_to_string(Path::new(NETWORKS).join(name).join("address")).ok();
    interfaces().into_iter().filter_map(address).filter_map(|text| text.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_lie_in_the_network_and_leave_us_out() {
        let interface = BootInterface { name: "br0".into(), index: 1, address: Ipv4Addr::new(10, 7, 0, 1), prefix: 24 };
        let accepts = |first: &str, last: &str| interface.accepts(first.parse().unwrap(), last.parse().unwrap());
        assert!(accepts("10.7.0.100", "10.7.0.200").is_ok());
        assert!(matches!(accepts("10.7.0.100", "10.7.1.200"), Err(InterfaceError::RangeElsewhere { .. })));
        assert!(matches!(accepts("10.7.0.1", "10.7.0.9"), Err(InterfaceError::RangeTaken { .. })));
        assert!(matches!(accepts("10.7.0.200", "10.7.0.255"), Err(InterfaceError::RangeTaken { .. })));
        assert_eq!(interface.broadcast(), Ipv4Addr::new(10, 7, 0, 255));
    }

    #[test]
    fn an_absent_interface_is_named_with_those_that_are_there() {
        let error = BootInterface::look("no-such-interface").unwrap_err().to_string();
        assert!(error.contains("no-such-interface") && error.contains("there are"), "{error}");
    }
}
