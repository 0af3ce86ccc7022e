//! The interfaces that a guest's configuration knows, whatever stack it is written for.

use serde::{Deserialize, Serialize};

use super::super::super::{GuestTree, TreeError};
use super::{ifcfg, ifupdown, ini, netplan};

/// A program that configures the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkStack {
    /// Debian's ifupdown: `/etc/network/interfaces`.
    Ifupdown,
    /// Red Hat's network scripts: `ifcfg-*` files.
    Ifcfg,
    /// SUSE's wicked: `ifcfg-*` files of its own.
    Wicked,
    /// NetworkManager's keyfiles.
    NetworkManager,
    /// Ubuntu's netplan.
    Netplan,
    /// systemd-networkd.
    Networkd,
}

/// What kind of interface it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// An adapter.
    #[default]
    Ethernet,
    /// Several adapters as one.
    Bond,
    /// A tagged network on another interface.
    Vlan,
    /// A bridge between interfaces.
    Bridge,
    /// Anything else, such as a tunnel.
    Other,
}

/// An interface as the guest configures it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name; empty if it is matched by its MAC address only.
    pub name: String,
    /// Who configures it.
    pub stack: NetworkStack,
    /// In which file.
    pub file: String,
    /// What it is.
    pub kind: LinkKind,
    /// The MAC address that the configuration goes by.
    pub mac: Option<String>,
    /// Whether it asks for an address.
    pub dhcp: bool,
    /// Static addresses with their prefix, such as `10.0.0.5/24`.
    pub addresses: Vec<String>,
    /// Gateways.
    pub gateways: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Interfaces below it: the adapters of a bond, the ports of a bridge, the carrier of a VLAN.
    pub below: Vec<String>,
}

impl Interface {
    /// An interface of which nothing but its place is known.
    pub(super) fn new(name: impl Into<String>, stack: NetworkStack, file: &str) -> Self {
        Self {
            name: name.into(),
            stack,
            file: file.to_owned(),
            kind: LinkKind::Ethernet,
            mac: None,
            dhcp: false,
            addresses: Vec::new(),
            gateways: Vec::new(),
            dns: Vec::new(),
            below: Vec::new(),
        }
    }
}

/// Every file that configures the network, with the stack that reads it.
pub(super) fn files(tree: &GuestTree) -> Result<Vec<(NetworkStack, String, Vec<u8>)>, TreeError> {
    use NetworkStack::{Ifcfg, Ifupdown, Netplan, NetworkManager, Networkd, Wicked};
    let mut found = Vec::new();
    let mut add = |stack, path: String| -> Result<(), TreeError> {
        if let Some(bytes) = tree.read(&path)? {
            found.push((stack, path, bytes));
        }
        Ok(())
    };
    add(Ifupdown, "/etc/network/interfaces".to_owned())?;
    type Wanted = fn(&str) -> bool;
    let folders: [(NetworkStack, &str, Wanted); 7] = [
        (Ifupdown, "/etc/network/interfaces.d", |name| !name.ends_with('~') && !name.starts_with('.')),
        (Ifcfg, "/etc/sysconfig/network-scripts", is_network_script),
        (Wicked, "/etc/sysconfig/network", is_network_script),
        (NetworkManager, "/etc/NetworkManager/system-connections", |name| !name.starts_with('.')),
        (Netplan, "/etc/netplan", |name| name.ends_with(".yaml")),
        (Networkd, "/etc/systemd/network", |name| name.ends_with(".network") || name.ends_with(".netdev")),
        (Wicked, "/etc/wicked/ifconfig", |name| name.ends_with(".xml")),
    ];
    for (stack, folder, wanted) in folders {
        for name in tree.list(folder)?.into_iter().filter(|name| wanted(name)) {
            add(stack, format!("{folder}/{name}"))?;
        }
    }
    Ok(found)
}

/// `ifcfg-eth0`, `route-eth0`, and neither backups nor the loopback's.
fn is_network_script(name: &str) -> bool {
    let known = ["ifcfg-", "route-", "route6-", "ifroute-", "rule-"].iter().any(|prefix| name.starts_with(prefix));
    let backup = [".bak", ".orig", ".rpmnew", ".rpmsave", ".old", "~"].iter().any(|suffix| name.ends_with(suffix));
    known && !backup
}

/// The interfaces of every stack, the loopback left out.
pub fn interfaces(tree: &GuestTree) -> Result<Vec<Interface>, TreeError> {
    let mut found = Vec::new();
    for (stack, path, bytes) in files(tree)? {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        match stack {
            NetworkStack::Ifupdown => found.extend(ifupdown::interfaces(&path, &text)),
            NetworkStack::Ifcfg | NetworkStack::Wicked => {
                if name.starts_with("ifcfg-") {
                    found.extend(ifcfg::interface(stack, &path, &text));
                }
            }
            NetworkStack::NetworkManager => found.extend(ini::keyfile(&path, &text)),
            NetworkStack::Networkd => {
                if path.ends_with(".network") {
                    found.extend(ini::networkd(&path, &text));
                }
            }
            NetworkStack::Netplan => found.extend(netplan::interfaces(&path, &text)),
        }
    }
    found.retain(|interface| interface.name != "lo");
    Ok(found)
}

/// A MAC address in one spelling; `None` if it is none.
pub(super) fn mac(text: &str) -> Option<String> {
    let text = text.trim().trim_matches(['"', '\'']).replace('-', ":").to_ascii_lowercase();
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    (text.split(':').count() == 6 && text.split(':').all(is_pair)).then_some(text)
}

/// `10.0.0.5/24` from an address and a mask in either form; the address alone if there is no mask.
pub(super) fn with_mask(address: &str, mask: Option<&str>) -> String {
    let bits = mask.and_then(|mask| match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => Some(u32::from(mask).count_ones()),
        Err(_) => mask.parse().ok(),
    });
    match bits {
        Some(bits) if !address.contains('/') => format!("{address}/{bits}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stack_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let at = folder.path().join(path);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        };
        write(
            "etc/network/interfaces",
            "auto lo\niface lo inet loopback\n# comment\nauto eth0\niface eth0 inet static\n  address 10.0.0.5\n  netmask 255.255.255.0\n  gateway 10.0.0.1\n  dns-nameservers 10.0.0.2 10.0.0.3\niface eth0.7 inet dhcp\niface br0 inet manual\n  bridge_ports eth1 eth2\niface bond0 inet manual\n  bond-slaves eth3 \\\n eth4\n",
        );
        write(
            "etc/sysconfig/network-scripts/ifcfg-ens192",
            "DEVICE=\"ens192\"\nHWADDR=00:50:56:AB:CD:EF\nBOOTPROTO=none\nIPADDR=10.1.0.5\nPREFIX=24\nGATEWAY=10.1.0.1\nDNS1=10.1.0.2\n",
        );
        write(
            "etc/sysconfig/network-scripts/ifcfg-bond0",
            "DEVICE=bond0\nTYPE=Bond\nBONDING_MASTER=yes\nBOOTPROTO=dhcp\n",
        );
        write("etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='static'\nIPADDR='10.2.0.5/24'\n");
        write(
            "etc/NetworkManager/system-connections/wired.nmconnection",
            "[connection]\nid=wired\ntype=ethernet\ninterface-name=enp1s0\n\n[ethernet]\nmac-address=00:50:56:00:00:01\n\n[ipv4]\nmethod=manual\naddress1=10.3.0.5/24,10.3.0.1\ndns=10.3.0.2;10.3.0.3;\n",
        );
        write(
            "etc/netplan/01.yaml",
            "network:\n  version: 2\n  ethernets:\n    eno1:\n      addresses: [10.4.0.5/24]\n      routes:\n        - to: default\n          via: 10.4.0.1\n      nameservers: { addresses: [10.4.0.2] }\n    byaddr:\n      match: { macaddress: \"00:50:56:00:00:02\" }\n      set-name: lan0\n      dhcp4: true\n  vlans:\n    v5: { id: 5, link: eno1 }\n",
        );
        write(
            "etc/systemd/network/20-wired.network",
            "[Match]\nName=enp5s0\n\n[Network]\nAddress=10.5.0.5/24\nAddress=10.5.0.6/24\nGateway=10.5.0.1\nDNS=10.5.0.2\n",
        );
        let found = interfaces(&GuestTree::new(folder.path())).unwrap();
        let by = |name: &str| found.iter().find(|i| i.name == name).unwrap_or_else(|| panic!("{name}: {found:#?}"));
        let eth0 = found.iter().find(|i| i.name == "eth0" && i.stack == NetworkStack::Ifupdown).unwrap();
        assert_eq!(
            (eth0.addresses.clone(), eth0.gateways.clone()),
            (vec!["10.0.0.5/24".into()], vec!["10.0.0.1".into()])
        );
        assert_eq!(eth0.dns, ["10.0.0.2", "10.0.0.3"]);
        assert_eq!((by("eth0.7").kind, by("eth0.7").below.clone()), (LinkKind::Vlan, vec!["eth0".to_owned()]));
        assert_eq!((by("br0").kind, by("br0").below.len()), (LinkKind::Bridge, 2));
        assert_eq!(
            (by("bond0").kind, by("bond0").below.clone()),
            (LinkKind::Bond, vec!["eth3".to_owned(), "eth4".to_owned()])
        );
        assert_eq!(by("ens192").mac.as_deref(), Some("00:50:56:ab:cd:ef"));
        assert_eq!(by("ens192").addresses, ["10.1.0.5/24"]);
        let wicked = found.iter().find(|i| i.stack == NetworkStack::Wicked).unwrap();
        assert_eq!((wicked.name.as_str(), wicked.addresses.clone()), ("eth0", vec!["10.2.0.5/24".to_owned()]));
        assert_eq!(
            (by("enp1s0").addresses.clone(), by("enp1s0").gateways.clone()),
            (vec!["10.3.0.5/24".into()], vec!["10.3.0.1".into()])
        );
        assert_eq!(
            (by("eno1").gateways.clone(), by("eno1").dns.clone()),
            (vec!["10.4.0.1".to_owned()], vec!["10.4.0.2".to_owned()])
        );
        assert_eq!((by("lan0").mac.as_deref(), by("lan0").dhcp), (Some("00:50:56:00:00:02"), true));
        assert_eq!((by("v5").kind, by("v5").below.clone()), (LinkKind::Vlan, vec!["eno1".to_owned()]));
        assert_eq!(by("enp5s0").addresses, ["10.5.0.5/24", "10.5.0.6/24"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(iface |\n|address |\\[ipv4\\]|=|network:|ethernets:|  |\\PC){0,60}") {
            ifupdown::interfaces("/x", &text);
            ifcfg::interface(NetworkStack::Ifcfg, "/x", &text);
            ini::keyfile("/x", &text);
            ini::networkd("/x", &text);
            netplan::interfaces("/x", &text);
        }
    }
}
