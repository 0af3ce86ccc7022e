//! `/etc/network/interfaces`.

use super::interface::{Interface, LinkKind, NetworkStack, mac, with_mask};

/// The interfaces of one file.
pub(super) fn interfaces(path: &str, text: &str) -> Vec<Interface> {
    let joined = text.replace("\\\n", " ");
    let mut found: Vec<Interface> = Vec::new();
    let mut open = false;
    let mut address: Option<String> = None;
    let mut mask: Option<String> = None;
    for line in joined.lines() {
        let mut words = line.split_whitespace();
        let Some(keyword) = words.next().filter(|word| !word.starts_with('#')) else { continue };
        if keyword == "iface" {
            finish(&mut found, &mut address, &mut mask);
            let Some(name) = words.next() else { continue };
            // Several stanzas may add to one interface.
            let at = found.iter().position(|interface| interface.name == name);
            let mut interface =
                at.map_or_else(|| Interface::new(name, NetworkStack::Ifupdown, path), |at| found.remove(at));
            if let Some((carrier, id)) = name.rsplit_once('.')
                && id.parse::<u16>().is_ok()
            {
                interface.kind = LinkKind::Vlan;
                interface.below = vec![carrier.to_owned()];
            }
            let _family = words.next();
            interface.dhcp |= matches!(words.next(), Some("dhcp" | "auto"));
            found.push(interface);
            open = true;
            continue;
        }
        if matches!(keyword, "auto" | "mapping" | "source" | "source-directory" | "template")
            || keyword.starts_with("allow-")
        {
            finish(&mut found, &mut address, &mut mask);
            open = false;
            continue;
        }
        let Some(interface) = found.last_mut().filter(|_| open) else { continue };
        let rest: Vec<String> = words.map(str::to_owned).collect();
        let first = rest.first().cloned();
        match keyword {
            "address" => {
                if let Some(written) = address.take() {
                    interface.addresses.push(with_mask(&written, mask.take().as_deref()));
                }
                address = first;
            }
            "netmask" => mask = first,
            "gateway" => interface.gateways.extend(first),
            "dns-nameservers" | "dns-nameserver" => interface.dns.extend(rest),
            "hwaddress" => interface.mac = rest.iter().find_map(|word| mac(word)),
            "bond-slaves" | "bond_slaves" | "slaves" | "bond-ports" => {
                interface.kind = LinkKind::Bond;
                interface.below.extend(rest.into_iter().filter(|word| word != "none"));
            }
            "bridge_ports" | "bridge-ports" => {
                interface.kind = LinkKind::Bridge;
                interface.below.extend(rest.into_iter().filter(|word| word != "none"));
            }
            "vlan-raw-device" | "vlan_raw_device" => {
                interface.kind = LinkKind::Vlan;
                interface.below = first.into_iter().collect();
            }
            _ => {}
        }
    }
    finish(&mut found, &mut address, &mut mask);
    found
}

fn finish(found: &mut [Interface], address: &mut Option<String>, mask: &mut Option<String>) {
    if let (Some(interface), Some(address)) = (found.last_mut(), address.take()) {
        interface.addresses.push(with_mask(&address, mask.take().as_deref()));
    }
}
