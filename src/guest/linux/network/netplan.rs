//! netplan's YAML.

use serde_yaml::Value;

use super::interface::{Interface, LinkKind, NetworkStack, mac};

/// The interfaces of one file; a file that is no YAML has none.
pub(super) fn interfaces(path: &str, text: &str) -> Vec<Interface> {
    let Ok(document) = serde_yaml::from_str::<Value>(text) else { return Vec::new() };
    let mut found = Vec::new();
    for (section, kind) in [
        ("ethernets", LinkKind::Ethernet),
        ("bonds", LinkKind::Bond),
        ("bridges", LinkKind::Bridge),
        ("vlans", LinkKind::Vlan),
        ("tunnels", LinkKind::Other),
    ] {
        let Some(Value::Mapping(entries)) = document.get("network").and_then(|network| network.get(section)) else {
            continue;
        };
        for (name, value) in entries {
            let Some(name) = name.as_str() else { continue };
            let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            let matched = value.get("match");
            let mut interface =
                Interface::new(text("set-name").unwrap_or_else(|| name.to_owned()), NetworkStack::Netplan, path);
            interface.kind = kind;
            interface.mac = matched.and_then(|m| m.get("macaddress")).and_then(Value::as_str).and_then(mac);
            if text("set-name").is_none()
                && let Some(matched) = matched
            {
                // The entry's name is a label then.
                interface.name = matched.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            }
            interface.dhcp = ["dhcp4", "dhcp6"].iter().any(|key| value.get(key).and_then(Value::as_bool) == Some(true));
            for address in list(value.get("addresses")) {
                // An address may carry options: `- 10.0.0.5/24: { label: x }`.
                let written = address
                    .as_str()
                    .map(str::to_owned)
                    .or_else(|| address.as_mapping()?.iter().next()?.0.as_str().map(str::to_owned));
                interface.addresses.extend(written);
            }
            interface.gateways.extend(["gateway4", "gateway6"].iter().filter_map(|key| text(key)));
            for route in list(value.get("routes")) {
                let to = route.get("to").and_then(Value::as_str).unwrap_or_default();
                if matches!(to, "default" | "0.0.0.0/0" | "::/0") {
                    interface.gateways.extend(route.get("via").and_then(Value::as_str).map(str::to_owned));
                }
            }
            let servers = value.get("nameservers").and_then(|servers| servers.get("addresses"));
            interface.dns.extend(list(servers).iter().filter_map(|server| server.as_str().map(str::to_owned)));
            interface.below.extend(text("link"));
            interface
                .below
                .extend(list(value.get("interfaces")).iter().filter_map(|name| name.as_str().map(str::to_owned)));
            found.push(interface);
        }
    }
    found
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_sequence).map_or(&[], Vec::as_slice)
}
