//! `ifcfg-NAME`: the network scripts of Red Hat's family and of SUSE's.

use super::interface::{Interface, LinkKind, NetworkStack, mac, with_mask};

/// The interface of one file.
pub(super) fn interface(stack: NetworkStack, path: &str, text: &str) -> Option<Interface> {
    let get = |name: &str| {
        let line = text.lines().rev().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        let value = line.trim().trim_matches(['"', '\'']).to_owned();
        (!value.is_empty()).then_some(value)
    };
    let named = path.rsplit('/').next()?.strip_prefix("ifcfg-")?;
    // An alias such as eth0:1 adds an address to eth0.
    let name = get("DEVICE").unwrap_or_else(|| named.to_owned());
    let name = name.split(':').next().unwrap_or_default().to_owned();
    let mut interface = Interface::new(name.clone(), stack, path);
    interface.mac = ["HWADDR", "LLADDR"].into_iter().find_map(|key| mac(&get(key)?));
    interface.dhcp = get("BOOTPROTO").is_some_and(|value| value.to_ascii_lowercase().starts_with("dhcp"));
    let suffixes = std::iter::once(String::new()).chain((0..16).flat_map(|n| [format!("{n}"), format!("_{n}")]));
    for suffix in suffixes {
        if let Some(address) = get(&format!("IPADDR{suffix}")) {
            let mask = ["PREFIX", "PREFIXLEN", "NETMASK"].iter().find_map(|key| get(&format!("{key}{suffix}")));
            interface.addresses.push(with_mask(&address, mask.as_deref()));
        }
    }
    interface.addresses.extend(get("IPV6ADDR"));
    interface.gateways.extend(get("GATEWAY"));
    interface.dns.extend((1..4).filter_map(|n| get(&format!("DNS{n}"))));
    let kind = get("TYPE").unwrap_or_default().to_ascii_lowercase();
    interface.kind = match () {
        () if kind == "bond" || get("BONDING_MASTER").is_some() || get("BONDING_OPTS").is_some() => LinkKind::Bond,
        () if kind == "bridge" || get("BRIDGE").is_some_and(|value| value == "yes") => LinkKind::Bridge,
        () if kind == "vlan" || get("VLAN").is_some() || get("ETHERDEVICE").is_some() => LinkKind::Vlan,
        () if matches!(kind.as_str(), "infiniband" | "wireless" | "tunnel" | "gre") => LinkKind::Other,
        () => LinkKind::Ethernet,
    };
    interface.below.extend(get("ETHERDEVICE").or_else(|| get("PHYSDEV")));
    if interface.kind == LinkKind::Vlan
        && interface.below.is_empty()
        && let Some((carrier, _)) = name.rsplit_once('.')
    {
        interface.below.push(carrier.to_owned());
    }
    interface.below.extend(
        (0..16).filter_map(|n| get(&format!("BONDING_SLAVE{n}")).or_else(|| get(&format!("BONDING_SLAVE_{n}")))),
    );
    interface.below.extend(get("BRIDGE_PORTS").iter().flat_map(|ports| ports.split_whitespace().map(str::to_owned)));
    Some(interface)
}
