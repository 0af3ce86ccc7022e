//! Network identity: which interfaces a guest configures, with which stack; each adapter keeps its name, found by its MAC
//! address; addresses change only where the plan says so.
//!
//! What configures an adapter (ifupdown, ifcfg files, NetworkManager, netplan, systemd-networkd, wicked) goes by its name, so
//! bonds, VLANs, bridges, routes and name servers stay as they are once the name is kept.

mod ifcfg;
mod ifupdown;
mod ini;
mod interface;
mod netplan;
mod pin;
mod readdress;

pub use interface::{Interface, LinkKind, NetworkStack, interfaces};
pub use pin::{Pins, TargetNic, links, pin};
pub use readdress::{AddressMap, AddressMapError, readdress};
