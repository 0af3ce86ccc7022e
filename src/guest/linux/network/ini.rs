//! Files of sections and keys: NetworkManager's keyfiles and systemd-networkd's.

use super::interface::{Interface, LinkKind, NetworkStack, mac};

/// `(section, key, value)` of every line that has them, comments left out.
fn keys(text: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once('=') {
            found.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// A connection of NetworkManager.
pub(super) fn keyfile(path: &str, text: &str) -> Option<Interface> {
    let keys = keys(text);
    let get = |section: &str, key: &str| {
        keys.iter().find(|(own, name, _)| own == section && name == key).map(|(_, _, value)| value.clone())
    };
    let kind = match get("connection", "type")?.as_str() {
        "ethernet" | "802-3-ethernet" => LinkKind::Ethernet,
        "bond" | "team" => LinkKind::Bond,
        "bridge" => LinkKind::Bridge,
        "vlan" => LinkKind::Vlan,
        "loopback" => return None,
        _ => LinkKind::Other,
    };
    let mut interface =
        Interface::new(get("connection", "interface-name").unwrap_or_default(), NetworkStack::NetworkManager, path);
    interface.kind = kind;
    interface.mac = ["ethernet", "802-3-ethernet"].iter().find_map(|section| mac(&get(section, "mac-address")?));
    interface.dhcp = ["ipv4", "ipv6"].iter().any(|family| get(family, "method").is_some_and(|method| method == "auto"));
    for (section, key, value) in &keys {
        if section != "ipv4" && section != "ipv6" {
            continue;
        }
        let is_address =
            key.strip_prefix("address").is_some_and(|rest| rest.is_empty() || rest.bytes().all(|b| b.is_ascii_digit()));
        match key.as_str() {
            _ if is_address => {
                let mut parts = value.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
                interface.addresses.extend(parts.next().map(str::to_owned));
                interface.gateways.extend(parts.next().map(str::to_owned));
            }
            "gateway" => interface.gateways.push(value.clone()),
            "dns" => interface.dns.extend(value.split([';', ',']).filter(|part| !part.is_empty()).map(str::to_owned)),
            _ => {}
        }
    }
    interface.below.extend(get("vlan", "parent"));
    Some(interface)
}

/// A `.network` file of systemd-networkd.
pub(super) fn networkd(path: &str, text: &str) -> Vec<Interface> {
    let keys = keys(text);
    let mut base = Interface::new("", NetworkStack::Networkd, path);
    let mut names = Vec::new();
    for (section, key, value) in &keys {
        let words = || value.split_whitespace().map(str::to_owned);
        match (section.as_str(), key.as_str()) {
            ("Match", "Name") => names.extend(words()),
            ("Match", "MACAddress" | "PermanentMACAddress") => base.mac = words().find_map(|word| mac(&word)),
            ("Network" | "Address", "Address") => base.addresses.push(value.clone()),
            ("Network", "Gateway") => base.gateways.push(value.clone()),
            ("Route", "Gateway") => base.gateways.push(value.clone()),
            ("Network", "DNS") => base.dns.extend(words()),
            ("Network", "DHCP") => base.dhcp = matches!(value.as_str(), "yes" | "true" | "ipv4" | "ipv6" | "both"),
            _ => {}
        }
    }
    if names.is_empty() {
        return if base.mac.is_some() { vec![base] } else { Vec::new() };
    }
    names.into_iter().map(|name| Interface { name, ..base.clone() }).collect()
}
