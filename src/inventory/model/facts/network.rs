//! Network adapters.

use crate::inventory::model::Fact;
use crate::inventory::model::section::section;
use crate::inventory::model::value::words;
use crate::units::ByteRate;

words! {
    /// How an adapter gets its addresses.
    Addressing {
        /// From a DHCP server.
        Dhcp = "dhcp",
        /// Written down on the machine.
        Static = "static",
    }
}

words! {
    /// What an adapter is.
    NicKind {
        /// Ethernet hardware.
        Ethernet = "ethernet",
        /// Radio.
        Wireless = "wireless",
        /// InfiniBand.
        Infiniband = "infiniband",
        /// Several adapters as one.
        Bond = "bond",
        /// A bridge.
        Bridge = "bridge",
        /// A VLAN of another adapter.
        Vlan = "vlan",
        /// Software alone: a tunnel, a tap.
        Virtual = "virtual",
        /// Another one.
        Other = "other",
    }
}

section! {
    /// A network adapter.
    Nic as "nic" by (name, mac) {
        /// The name it has on the machine: `eth0`, `Ethernet0`.
        name / "name": Option<Fact<String>>,
        /// Its MAC address, lower case with colons.
        mac / "mac": Option<Fact<String>>,
        /// What it is.
        kind / "kind": Option<Fact<NicKind>>,
        /// Its model.
        model / "model": Option<Fact<String>>,
        /// PCI vendor and device, `8086:100e`.
        pci_id / "pci_id": Option<Fact<String>>,
        /// The driver it uses.
        driver / "driver": Option<Fact<String>>,
        /// Its speed.
        speed / "speed": Option<Fact<ByteRate>>,
        /// Whether it is connected.
        connected / "connected": Option<Fact<bool>>,
        /// Whether the default route leads over it.
        primary / "primary": Option<Fact<bool>>,
        /// Whether the machine can boot from the network with it.
        boot / "boot": Option<Fact<bool>>,
        /// What configures it on the machine: `netplan`, `networkmanager`, `ifupdown`.
        configured_by / "configured_by": Option<Fact<String>>,
        /// How it gets its addresses.
        addressing / "addressing": Option<Fact<Addressing>>,
        /// Its addresses with their prefix length: `192.0.2.17/24`.
        addresses / "address": Vec<Fact<String>>,
        /// Its gateways.
        gateways / "gateway": Vec<Fact<String>>,
        /// Name servers.
        name_servers / "name_server": Vec<Fact<String>>,
        /// The virtual network or port group it is connected to.
        network / "network": Option<Fact<String>>,
        /// Its VLAN.
        vlan / "vlan": Option<Fact<u32>>,
        /// The adapters that it is made of.
        parts / "part": Vec<Fact<String>>,
    }
}

section! {
    /// The network.
    Network as "network" by () {
        /// Adapters, in the machine's order.
        nics / "nic": Vec<Nic>,
    }
}
