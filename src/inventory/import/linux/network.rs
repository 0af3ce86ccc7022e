//! Adapters, their addresses and names.

use std::collections::HashMap;

use super::super::hardware::mac;
use super::{Output, pci_id};
use crate::inventory::model::{Addressing, Fact, Facts, Nic, NicKind, text};
use crate::units::ByteRate;

impl Output<'_> {
    pub(super) fn network(&self, facts: &mut Facts) {
        let primary = self.first("routes").and_then(|line| after(line, "dev"));
        let gateways: Vec<(&str, &str)> =
            self.lines("routes").iter().filter_map(|line| Some((after(line, "dev")?, after(line, "via")?))).collect();
        let servers: Vec<Fact<String>> =
            self.lines("resolv").iter().filter_map(|line| text(line.trim_start_matches("nameserver"))).collect();
        let mut addresses: HashMap<&str, Vec<(&str, bool)>> = HashMap::new();
        for line in self.lines("addresses") {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, name, family, address, ..] = words.as_slice()
                && family.starts_with("inet")
                && !words.contains(&"link")
            {
                addresses.entry(*name).or_default().push((*address, words.contains(&"dynamic")));
            }
        }
        let mut hardware: HashMap<&str, &str> = HashMap::new();
        let mut slave = "";
        for line in self.lines("bond-address") {
            match line.split_once(' ') {
                Some(("i", name)) => slave = name,
                Some(("a", address)) => _ = hardware.insert(slave, address),
                _ => {}
            }
        }
        for fields in self.fields("net") {
            let get = |at: usize| fields.get(at).copied().unwrap_or_default();
            let name = get(0);
            let kind = match (get(5), get(2), get(8).is_empty()) {
                ("bond", ..) => NicKind::Bond,
                ("bridge", ..) => NicKind::Bridge,
                ("vlan", ..) => NicKind::Vlan,
                ("wireless", ..) => NicKind::Wireless,
                (_, "32", _) => NicKind::Infiniband,
                (_, "1", false) => NicKind::Ethernet,
                (_, "1", true) => NicKind::Virtual,
                _ => NicKind::Other,
            };
            let own = addresses.get(name).map(Vec::as_slice).unwrap_or_default();
            let speed = get(3).parse::<u64>().ok().filter(|mbit| (1..10_000_000).contains(mbit));
            facts.network.nics.push(Nic {
                name: text(name),
                mac: mac(hardware.get(name).copied().unwrap_or_else(|| get(1))),
                kind: Some(Fact::of(kind)),
                pci_id: pci_id(get(6), get(7)).filter(|_| !get(8).starts_with("virtio")),
                driver: text(get(8)),
                speed: Fact::maybe(speed.map(|mbit| ByteRate(mbit * 125_000))),
                connected: Some(Fact::of(get(4) == "up")),
                primary: Some(Fact::of(primary == Some(name))),
                addressing: own
                    .first()
                    .map(|(_, dynamic)| Fact::of(if *dynamic { Addressing::Dhcp } else { Addressing::Static })),
                addresses: own.iter().filter_map(|(address, _)| text(address)).collect(),
                gateways: gateways.iter().filter(|(dev, _)| *dev == name).filter_map(|(_, via)| text(via)).collect(),
                name_servers: if primary == Some(name) { servers.clone() } else { Vec::new() },
                parts: get(9).split_whitespace().filter_map(text).collect(),
                ..Nic::default()
            });
        }
    }
}

fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    let mut words = line.split_whitespace();
    words.find(|one| *one == word)?;
    words.next()
}
