//! Other addresses on the target's network: wherever the guest's network configuration names an old address, as its own,
//! as a gateway, a route or a name server, it names the new one.

use std::fmt;
use std::net::IpAddr;

use super::super::super::edit::Draft;
use super::super::super::{FileChange, GuestTree, TreeError};
use super::interface::{NetworkStack, files};

const ID: &str = "network.addresses";
const WHY: &str = "the plan's `guest.addresses` gives the machine another address on the target's network";

/// Old addresses with the new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressMap(Vec<(Prefixed, Prefixed)>);

/// An address, with the length of its network's prefix where it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefixed {
    address: IpAddr,
    prefix: Option<u8>,
}

/// Why an address of the map is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no pair of addresses such as `10.0.0.5/24 10.1.0.5/24`: {problem}")]
pub struct AddressMapError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for Prefixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            Some(prefix) => write!(f, "{}/{prefix}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

impl Prefixed {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| prefix <= longest).then_some(Self { address, prefix })
    }

    /// `255.255.255.0`.
    fn mask(self) -> Option<String> {
        let (IpAddr::V4(_), Some(prefix)) = (self.address, self.prefix) else { return None };
        Some(std::net::Ipv4Addr::from(bits(prefix)).to_string())
    }

    /// The network's own address and its broadcast address.
    fn ends(self) -> Option<(String, String)> {
        let (IpAddr::V4(address), Some(prefix)) = (self.address, self.prefix) else { return None };
        let (address, mask) = (u32::from(address), bits(prefix));
        let text = |bits: u32| std::net::Ipv4Addr::from(bits).to_string();
        Some((text(address & mask), text(address | !mask)))
    }
}

fn bits(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl AddressMap {
    /// From pairs `OLD NEW`, each an address with or without `/PREFIX`.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = &'a str>) -> Result<Self, AddressMapError> {
        let mut map = Vec::new();
        for text in pairs {
            let error = |problem| AddressMapError { text: text.to_owned(), problem };
            let (old, new) = text.split_once(' ').ok_or_else(|| error("two are needed"))?;
            let old = Prefixed::parse(old.trim()).ok_or_else(|| error("the first is not an address"))?;
            let new = Prefixed::parse(new.trim()).ok_or_else(|| error("the second is not an address"))?;
            if old.address.is_ipv4() != new.address.is_ipv4() {
                return Err(error("one is IPv4 and the other IPv6"));
            }
            if map.iter().any(|(known, _): &(Prefixed, Prefixed)| known.address == old.address) {
                return Err(error("the first is there twice"));
            }
            map.push((old, new));
        }
        // Were a new address the old one of another pair, converting twice would not equal converting once.
        if let Some((_, new)) = map
            .iter()
            .find(|(own, new)| map.iter().any(|(old, _)| old.address == new.address && old.address != own.address))
        {
            return Err(AddressMapError {
                text: new.to_string(),
                problem: "it is also the old address of another pair",
            });
        }
        Ok(Self(map))
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn get(&self, address: IpAddr) -> Option<(Prefixed, Prefixed)> {
        self.0.iter().find(|(old, _)| old.address == address).copied()
    }
}

/// Every change that the new addresses need, and what was not found.
pub fn readdress(tree: &GuestTree, map: &AddressMap) -> Result<(Vec<FileChange>, Vec<String>), TreeError> {
    if map.is_empty() {
        return Ok(Default::default());
    }
    let mut found: Vec<(Option<NetworkStack>, String, Vec<u8>)> =
        files(tree)?.into_iter().map(|(stack, path, bytes)| (Some(stack), path, bytes)).collect();
    for path in ["/etc/hosts", "/etc/resolv.conf", "/etc/sysconfig/network", "/etc/sysconfig/network/routes"] {
        // A link is written by a program, from what we change elsewhere.
        if tree.link(path)?.is_none()
            && let Some(bytes) = tree.read(path)?
        {
            found.push((None, path.to_owned(), bytes));
        }
    }
    let mut changes = Vec::new();
    let mut seen = Vec::new();
    for (stack, path, bytes) in found {
        changes.extend(file(&path, &bytes, stack, map, &mut seen));
    }
    let missing = map.0.iter().filter(|(old, new)| !seen.contains(&old.address) && !seen.contains(&new.address));
    let warnings = missing
        .map(|(old, _)| format!("`guest.addresses`: no network configuration of the guest names {}", old.address))
        .collect();
    Ok((changes, warnings))
}

fn file(
    path: &str,
    bytes: &[u8],
    stack: Option<NetworkStack>,
    map: &AddressMap,
    seen: &mut Vec<IpAddr>,
) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    // Where the mask stands on a line of its own, it belongs to the address of the same file or stanza.
    let mut masks: Vec<Option<Prefixed>> = Vec::new();
    let mut stanza = None;
    for line in draft.text().lines() {
        if stack == Some(NetworkStack::Ifupdown) && line.trim_start().starts_with("iface ") {
            fill(&mut masks, stanza.take());
        }
        masks.push(None);
        if !line.trim_start().starts_with('#') {
            tokens(line, |range| {
                let address: IpAddr = line[range].parse().ok()?;
                if map.0.iter().any(|(old, new)| old.address == address || new.address == address) {
                    seen.push(address);
                }
                let with_prefixes = |(old, new): &(Prefixed, Prefixed)| old.prefix.is_some() && new.prefix.is_some();
                if let Some((_, new)) = map.get(address).filter(with_prefixes) {
                    stanza = Some(new);
                }
                None::<()>
            });
        }
    }
    fill(&mut masks, stanza);
    let mut number = 0;
    draft.lines(ID, WHY, |line| {
        let mask = masks.get(number).copied().flatten();
        number += 1;
        if line.trim_start().starts_with('#') {
            return None;
        }
        if let Some(new) = mask.and_then(|new| mask_line(line, stack, new)) {
            return Some(new);
        }
        replaced(line, map)
    });
    draft.finish()
}

/// The stanza that ends here has this new address.
fn fill(masks: &mut [Option<Prefixed>], new: Option<Prefixed>) {
    for mask in masks.iter_mut().rev() {
        if mask.is_some() {
            break;
        }
        *mask = new;
    }
}

/// A line that says the mask, the network or the broadcast address apart from the address.
fn mask_line(line: &str, stack: Option<NetworkStack>, new: Prefixed) -> Option<String> {
    let indent = &line[..line.len() - line.trim_start().len()];
    let (network, broadcast) = new.ends()?;
    let prefix = new.prefix?.to_string();
    let changed = match stack? {
        NetworkStack::Ifupdown => {
            let (key, value) = line.trim().split_once(char::is_whitespace)?;
            let value = value.trim();
            let new = match key {
                "netmask" if value.contains('.') => new.mask()?,
                "netmask" => prefix,
                "network" => network,
                "broadcast" if value.contains('.') => broadcast,
                _ => return None,
            };
            format!("{indent}{key} {new}")
        }
        NetworkStack::Ifcfg | NetworkStack::Wicked => {
            let (key, value) = line.trim().split_once('=')?;
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).map(String::from).unwrap_or_default();
            let new = match key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_') {
                "NETMASK" => new.mask()?,
                "PREFIX" | "PREFIXLEN" => prefix,
                "NETWORK" => network,
                "BROADCAST" => broadcast,
                _ => return None,
            };
            format!("{indent}{key}={quote}{new}{quote}")
        }
        _ => return None,
    };
    Some(changed)
}

/// The line with every old address replaced, and the prefix behind it where the map has one.
fn replaced(line: &str, map: &AddressMap) -> Option<String> {
    let mut out = String::new();
    let mut from = 0;
    tokens(line, |range| {
        if range.start < from {
            return None;
        }
        let address: IpAddr = line[range.clone()].parse().ok()?;
        let (_, new) = map.get(address)?;
        out.push_str(&line[from..range.start]);
        out.push_str(&new.address.to_string());
        from = range.end;
        let rest = &line[range.end..];
        if let (Some(prefix), Some(digits)) = (new.prefix, rest.strip_prefix('/')) {
            let len = digits.len() - digits.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            // `/10.0.0.1` is the end of a range or another address, no prefix.
            if len > 0 && !digits[len..].starts_with(|c: char| c.is_alphanumeric() || c == '.' || c == ':') {
                out.push_str(&format!("/{prefix}"));
                from += 1 + len;
            }
        }
        None::<()>
    });
    (from > 0).then(|| {
        out.push_str(&line[from..]);
        out
    })
}

/// Calls `f` for every run of characters that an address can be made of.
fn tokens<T>(line: &str, mut f: impl FnMut(std::ops::Range<usize>) -> Option<T>) {
    let of_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    let mut start = None;
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        match (start, of_address(c)) {
            (None, true) => start = Some(at),
            (Some(begin), false) => {
                // `route-10.0.0.5x` is no address.
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let apart = !line[..begin].ends_with(word) && !word(c);
                if apart {
                    f(begin..at);
                }
                start = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;

    fn map() -> AddressMap {
        AddressMap::parse(["10.0.0.5/24 192.168.7.9/22", "10.0.0.1 192.168.4.1", "fd00::5/64 fd77::9/64"]).unwrap()
    }

    fn converted(path: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join(&path[1..]);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(&at, text).unwrap();
        let tree = GuestTree::new(folder.path());
        let (changes, _) = readdress(&tree, &map()).unwrap();
        for change in &changes {
            tree.write(change).unwrap();
        }
        assert_eq!(readdress(&tree, &map()).unwrap().0, [], "converting twice equals converting once");
        std::fs::read_to_string(at).unwrap()
    }

    #[test]
    fn every_stack_gets_the_new_addresses() {
        assert_eq!(
            converted(
                "/etc/network/interfaces",
                "# was 10.0.0.5\niface eth0 inet static\n  address 10.0.0.5\n  netmask 255.255.255.0\n  broadcast 10.0.0.255\n  gateway 10.0.0.1\niface eth1 inet static\n  address 10.9.0.5\n  netmask 255.255.255.0\n  up ip route add 10.5.0.0/16 via 10.0.0.1\n"
            ),
            "# was 10.0.0.5\niface eth0 inet static\n  address 192.168.7.9\n  netmask 255.255.252.0\n  broadcast 192.168.7.255\n  gateway 192.168.4.1\niface eth1 inet static\n  address 10.9.0.5\n  netmask 255.255.255.0\n  up ip route add 10.5.0.0/16 via 192.168.4.1\n"
        );
        assert_eq!(
            converted(
                "/etc/sysconfig/network-scripts/ifcfg-eth0",
                "IPADDR=\"10.0.0.5\"\nPREFIX=24\nGATEWAY=10.0.0.1\nDNS1=10.0.0.55\n"
            ),
            "IPADDR=\"192.168.7.9\"\nPREFIX=22\nGATEWAY=192.168.4.1\nDNS1=10.0.0.55\n"
        );
        assert_eq!(
            converted(
                "/etc/NetworkManager/system-connections/a.nmconnection",
                "[ipv4]\naddress1=10.0.0.5/24,10.0.0.1\n[ipv6]\naddress1=fd00::5/64\n"
            ),
            "[ipv4]\naddress1=192.168.7.9/22,192.168.4.1\n[ipv6]\naddress1=fd77::9/64\n"
        );
        assert_eq!(
            converted(
                "/etc/netplan/a.yaml",
                "network:\n  ethernets:\n    eth0:\n      addresses: [10.0.0.5/24, \"fd00::5/64\"] # main\n      gateway4: 10.0.0.1\n"
            ),
            "network:\n  ethernets:\n    eth0:\n      addresses: [192.168.7.9/22, \"fd77::9/64\"] # main\n      gateway4: 192.168.4.1\n"
        );
        assert_eq!(
            converted("/etc/hosts", "127.0.0.1 localhost\n10.0.0.5 web01\n10.0.0.51 x\n"),
            "127.0.0.1 localhost\n192.168.7.9 web01\n10.0.0.51 x\n"
        );
    }

    #[test]
    fn senseless_maps_are_refused_and_unused_ones_are_told() {
        for (pairs, problem) in [
            (vec!["10.0.0.5"], "two are needed"),
            (vec!["10.0.0.5 x"], "the second is not"),
            (vec!["10.0.0.5/33 10.0.0.6"], "the first is not"),
            (vec!["10.0.0.5 fd00::1"], "IPv6"),
            (vec!["10.0.0.5 10.0.0.6", "10.0.0.5 10.0.0.7"], "twice"),
            (vec!["10.0.0.5 10.0.0.6", "10.0.0.6 10.0.0.7"], "old address of another"),
        ] {
            let error = AddressMap::parse(pairs.clone()).unwrap_err().to_string();
            assert!(error.contains(problem), "{pairs:?}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (changes, warnings) = readdress(&GuestTree::new(folder.path()), &map()).unwrap();
        assert_eq!((changes.len(), warnings.len()), (0, 3));
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_survived(text in "(10\\.0\\.0\\.5|10\\.0\\.0\\.1|/24|/|fd00::5| |\niface x inet static\n|netmask |\\PC){0,30}") {
            let once = file("/x", text.as_bytes(), Some(NetworkStack::Ifupdown), &map(), &mut Vec::new());
            if let Some(FileChange { content: Content::Whole(new), .. }) = once {
                let again = file("/x", &new, Some(NetworkStack::Ifupdown), &map(), &mut Vec::new());
                proptest::prop_assert_eq!(again, None);
            }
        }
    }
}
