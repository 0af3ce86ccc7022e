//! Each adapter keeps its name, found by its MAC address.

use serde::{Deserialize, Serialize};

use super::super::super::edit::Draft;
use super::super::super::{Content, FileChange, GuestTree, TreeError};
use super::interface::{Interface, LinkKind, interfaces, mac};

/// A network adapter of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNic {
    /// Its MAC address.
    pub mac: String,
    /// The name that it shall have; without one, the guest's own configuration is asked.
    pub name: Option<String>,
}

/// What is changed for the adapters' names.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// The changes.
    pub changes: Vec<FileChange>,
    /// What could not be decided.
    pub warnings: Vec<String>,
}

const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";
const ID: &str = "network.names";

/// Pins every adapter whose name is declared or follows from the guest's configuration.
pub fn pin(tree: &GuestTree, nics: &[TargetNic]) -> Result<Pins, TreeError> {
    let mut pins = Pins::default();
    let configured = interfaces(tree)?;
    let (named, warning) = names(tree, nics, &configured)?;
    pins.warnings.extend(warning);
    let mut by_links = false;
    for folder in ["/usr/lib/udev/rules.d", "/lib/udev/rules.d"] {
        by_links |= tree.exists(&format!("{folder}/80-net-setup-link.rules"))?;
    }
    let udev = tree.exists("/etc/udev")? || tree.exists("/lib/udev")? || tree.exists("/usr/lib/udev")?;
    if let Some(change) = rules(tree, &named, !by_links && udev)? {
        pins.changes.push(change);
    }
    if by_links {
        for (mac, name) in &named {
            pins.changes.extend(link(tree, mac, name)?);
        }
    }
    pins.changes.extend(modprobe(tree)?);
    Ok(pins)
}

/// `(MAC, name)` of adapters, and what has to be told about those that got none.
type Named = (Vec<(String, String)>, Option<String>);

/// `(MAC, name)` of every adapter that is to be pinned.
fn names(tree: &GuestTree, nics: &[TargetNic], configured: &[Interface]) -> Result<Named, TreeError> {
    let mut named: Vec<(String, String)> = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let known = known_to_udev(tree)?;
    for nic in nics {
        let Some(address) = mac(&nic.mac) else { continue };
        let by_configuration =
            || configured.iter().find(|own| own.mac.as_deref() == Some(&address) && own.kind == LinkKind::Ethernet);
        let by_udev = || known.iter().find(|(mac, _)| *mac == address).map(|(_, name)| name.clone());
        match (&nic.name, by_udev()) {
            (Some(name), _) => named.push((address, name.clone())),
            (None, Some(name)) => named.push((address, name)),
            (None, None) => match by_configuration() {
                // Matched by its address and by no name: the configuration finds it under any.
                Some(own) if own.name.is_empty() => {}
                Some(own) => named.push((address, own.name.clone())),
                None => open.push(address),
            },
        }
    }
    let mut free: Vec<String> = Vec::new();
    for interface in configured.iter().filter(|own| own.kind == LinkKind::Ethernet && own.mac.is_none()) {
        add_free(&mut free, &named, &interface.name);
    }
    for below in configured.iter().flat_map(|own| &own.below) {
        let is_adapter = configured.iter().all(|own| own.name != *below || own.kind == LinkKind::Ethernet);
        if is_adapter {
            add_free(&mut free, &named, below);
        }
    }
    match (&open[..], &free[..]) {
        ([address], [name]) => named.push((address.clone(), name.clone())),
        ([], _) | (_, []) => {}
        (open, free) => {
            let warning = format!(
                "the guest configures the network adapters {} and the plan does not say which of the target's adapters ({}) is which: write `name` beside each `mac` in `inventory.nics`",
                free.join(", "),
                open.join(", ")
            );
            return Ok((named, Some(warning)));
        }
    }
    Ok((named, None))
}

fn add_free(free: &mut Vec<String>, named: &[(String, String)], name: &str) {
    // A pattern such as `en*` matches whatever the adapter is called.
    let plain = is_name(name);
    if plain && !free.iter().any(|own| own == name) && !named.iter().any(|(_, own)| own == name) {
        free.push(name.to_owned());
    }
}

/// Whether the kernel would take it as an interface's name, and nothing in it means something to udev.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// `(MAC, name)` of rules and link files that the guest has.
fn known_to_udev(tree: &GuestTree) -> Result<Vec<(String, String)>, TreeError> {
    let mut known = Vec::new();
    let text = String::from_utf8_lossy(&tree.read(RULES)?.unwrap_or_default()).into_owned();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if let (Some(address), Some(name)) = (attribute(line).and_then(|v| mac(&v)), value(line, "NAME=")) {
            known.push((address, name));
        }
    }
    for file in tree
        .list("/etc/systemd/network")?
        .iter()
        .filter(|name| name.ends_with(".link") && !name.starts_with("10-replant-"))
    {
        let text = tree.read(&format!("/etc/systemd/network/{file}"))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let get = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key).map(str::to_owned));
        let address = get("MACAddress=").or_else(|| get("PermanentMACAddress="));
        if let (Some(address), Some(name)) = (address.and_then(|value| mac(&value)), get("Name=")) {
            known.push((address, name));
        }
    }
    Ok(known)
}

fn attribute(line: &str) -> Option<String> {
    ["ATTR{address}==", "SYSFS{address}==", "ATTRS{address}=="].iter().find_map(|key| value(line, key))
}

/// The quoted value behind `key`.
fn value(line: &str, key: &str) -> Option<String> {
    // `NAME=` must not be found in `ENV{X}NAME=`, nor `NAME==`.
    let mut from = 0;
    while let Some(found) = line[from..].find(key) {
        let (start, end) = (from + found, from + found + key.len());
        let begins = line[..start].chars().next_back().is_none_or(|c| c == ',' || c.is_whitespace());
        if begins && let Some(rest) = line[end..].strip_prefix('"') {
            return rest.split('"').next().map(str::to_owned);
        }
        from = end;
    }
    None
}

/// `70-persistent-net.rules`: what goes by the old slot or driver is freed from it; where udev knows no link files, the
/// names are added.
fn rules(tree: &GuestTree, named: &[(String, String)], add: bool) -> Result<Option<FileChange>, TreeError> {
    let held = tree.read(RULES)?;
    if held.is_none() && (!add || named.is_empty()) {
        return Ok(None);
    }
    let mut draft = Draft::new(RULES, &held.unwrap_or_default());
    let why = "the rule went by the old hardware's slot or driver";
    draft.lines("network.rules", why, |line| {
        if line.trim_start().starts_with('#') || !line.contains("NAME=") {
            return None;
        }
        let kept: Vec<&str> = line.split(", ").filter(|part| !is_of_old_hardware(part)).collect();
        if attribute(line).is_none() && kept.len() < line.split(", ").count() {
            // Nothing else says which adapter it is for.
            return Some(format!("# {line}"));
        }
        let new = kept.join(", ");
        (new != line).then_some(new)
    });
    if add {
        let have: Vec<(String, String)> = draft
            .text()
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .filter_map(|line| Some((mac(&attribute(line)?)?, value(line, "NAME=")?)))
            .collect();
        for (mac, name) in named.iter().filter(|pair| !have.contains(pair)) {
            let why = format!("the adapter {mac} is called {name} on any slot of the target");
            let line = format!(
                "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{{address}}==\"{mac}\", ATTR{{type}}==\"1\", NAME=\"{name}\""
            );
            draft.append(ID, &why, &line);
        }
    }
    Ok(draft.finish())
}

fn is_of_old_hardware(part: &str) -> bool {
    let part = part.trim();
    let slot = ["KERNELS==", "ID==", "BUS==", "ENV{ID_PATH}=="].iter().any(|key| part.starts_with(key));
    let driver = ["DRIVERS==", "DRIVER==", "ENV{ID_NET_DRIVER}=="].iter().any(|key| part.starts_with(key));
    slot || (driver && !part.contains("\"?*\"") && !part.contains("\"*\""))
}

/// `/etc/systemd/network/10-replant-NAME.link`.
fn link(tree: &GuestTree, mac: &str, name: &str) -> Result<Option<FileChange>, TreeError> {
    let path = format!("/etc/systemd/network/10-replant-{name}.link");
    let text = format!(
        "# Keeps the adapter's name from before the migration.\n[Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"
    );
    let before = tree.read(&path)?;
    if before.as_deref() == Some(text.as_bytes()) {
        return Ok(None);
    }
    let why = format!("the adapter {mac} is called {name} on any slot of the target");
    Ok(Some(FileChange::whole(ID, &path, before.as_deref(), &text, why)))
}

/// Link files of ours, by name: those that `changes` are to write, and those that are there already.
pub fn links(tree: &GuestTree, changes: &[FileChange]) -> Result<Vec<(String, Vec<u8>)>, TreeError> {
    const FOLDER: &str = "/etc/systemd/network/";
    let mut found = Vec::new();
    for change in changes {
        if let (Some(name), Content::Whole(bytes)) = (change.path.strip_prefix(FOLDER), &change.content) {
            found.push((name.to_owned(), bytes.clone()));
        }
    }
    for name in tree.list(FOLDER)?.into_iter().filter(|name| name.starts_with("10-replant-") && name.ends_with(".link"))
    {
        if !found.iter().any(|(own, _)| *own == name)
            && let Some(bytes) = tree.read(&format!("{FOLDER}{name}"))?
        {
            found.push((name, bytes));
        }
    }
    Ok(found)
}

/// `alias eth0 e1000` in the modprobe configuration of systems from before udev loaded drivers.
fn modprobe(tree: &GuestTree) -> Result<Vec<FileChange>, TreeError> {
    let mut paths = vec!["/etc/modprobe.conf".to_owned(), "/etc/modules.conf".to_owned()];
    paths.extend(tree.list("/etc/modprobe.d")?.into_iter().map(|name| format!("/etc/modprobe.d/{name}")));
    let mut changes = Vec::new();
    for path in paths {
        let Some(bytes) = tree.read(&path)? else { continue };
        let mut draft = Draft::new(&path, &bytes);
        let why = "the driver of the old adapter or disk has nothing to drive on the target";
        draft.lines("network.modprobe", why, |line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let ["alias", name, driver] = words[..] else { return None };
            let number =
                |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
            let new = match name {
                _ if number("eth") && *driver != *"bonding" => "virtio_net",
                _ if number("scsi_hostadapter") => "virtio_blk",
                _ => return None,
            };
            (driver != new).then(|| format!("alias {name} {new}"))
        });
        changes.extend(draft.finish());
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;

    const MAC: &str = "52:54:00:12:34:56";

    fn guest(files: &[(&str, &str)]) -> (tempfile::TempDir, GuestTree) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let at = folder.path().join(&path[1..]);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        }
        let tree = GuestTree::new(folder.path());
        (folder, tree)
    }

    fn nic(mac: &str, name: Option<&str>) -> TargetNic {
        TargetNic { mac: mac.into(), name: name.map(str::to_owned) }
    }

    fn text(change: &FileChange) -> String {
        match &change.content {
            Content::Whole(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    const LINKS: (&str, &str) = ("/usr/lib/udev/rules.d/80-net-setup-link.rules", "");

    #[test]
    fn declared_names_are_pinned_once() {
        let (_folder, tree) = guest(&[LINKS]);
        let nics = [nic(MAC, Some("eth0"))];
        let pins = pin(&tree, &nics).unwrap();
        assert_eq!(pins.changes[0].path, "/etc/systemd/network/10-replant-eth0.link");
        assert!(text(&pins.changes[0]).contains("MACAddress=52:54:00:12:34:56\n\n[Link]\nName=eth0\n"));
        tree.write(&pins.changes[0]).unwrap();
        assert_eq!(pin(&tree, &nics).unwrap().changes, []);
    }

    #[test]
    fn the_only_adapter_gets_the_only_name_that_is_configured() {
        let (_folder, tree) =
            guest(&[LINKS, ("/etc/network/interfaces", "iface enp0s3 inet static\n address 10.0.0.5/24\n")]);
        let pins = pin(&tree, &[nic("52-54-00-12-34-56", None)]).unwrap();
        assert_eq!(pins.changes[0].path, "/etc/systemd/network/10-replant-enp0s3.link");
        assert_eq!(pins.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_vlan_or_a_bond_names_its_carriers() {
        let (_folder, tree) = guest(&[LINKS, ("/etc/network/interfaces", "iface ens5.7 inet dhcp\n")]);
        assert_eq!(pin(&tree, &[nic(MAC, None)]).unwrap().changes[0].path, "/etc/systemd/network/10-replant-ens5.link");
        let (_folder, tree) =
            guest(&[LINKS, ("/etc/network/interfaces", "iface bond0 inet dhcp\n bond-slaves ens5 ens6\n")]);
        let pins = pin(&tree, &[nic(MAC, None), nic("52:54:00:00:00:01", None)]).unwrap();
        assert_eq!(pins.changes, []);
        assert!(
            pins.warnings[0].contains("ens5, ens6") && pins.warnings[0].contains("inventory.nics"),
            "{:?}",
            pins.warnings
        );
    }

    #[test]
    fn addresses_in_the_configuration_decide() {
        let ifcfg = "DEVICE=ens192\nHWADDR=52:54:00:12:34:56\n";
        let other = "DEVICE=ens224\nHWADDR=52:54:00:00:00:01\n";
        let (_folder, tree) = guest(&[
            LINKS,
            ("/etc/sysconfig/network-scripts/ifcfg-ens192", ifcfg),
            ("/etc/sysconfig/network-scripts/ifcfg-ens224", other),
        ]);
        let pins = pin(&tree, &[nic("52:54:00:00:00:01", None), nic(MAC, None)]).unwrap();
        let paths: Vec<&str> = pins.changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(
            paths,
            ["/etc/systemd/network/10-replant-ens224.link", "/etc/systemd/network/10-replant-ens192.link"]
        );
    }

    #[test]
    fn old_udev_gets_rules_and_loses_slots() {
        let held = "# PCI device\nSUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"e1000\", ATTR{address}==\"52:54:00:12:34:56\", ATTR{type}==\"1\", KERNEL==\"eth*\", NAME=\"eth0\"\nSUBSYSTEM==\"net\", KERNELS==\"0000:00:04.0\", NAME=\"eth1\"\n";
        let (_folder, tree) = guest(&[(RULES, held)]);
        let nics = [nic(MAC, None), nic("52:54:00:00:00:01", Some("eth1"))];
        let pins = pin(&tree, &nics).unwrap();
        assert_eq!(
            text(&pins.changes[0]),
            "# PCI device\nSUBSYSTEM==\"net\", ACTION==\"add\", ATTR{address}==\"52:54:00:12:34:56\", ATTR{type}==\"1\", KERNEL==\"eth*\", NAME=\"eth0\"\n# SUBSYSTEM==\"net\", KERNELS==\"0000:00:04.0\", NAME=\"eth1\"\nSUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{address}==\"52:54:00:00:00:01\", ATTR{type}==\"1\", NAME=\"eth1\"\n"
        );
        tree.write(&pins.changes[0]).unwrap();
        assert_eq!(pin(&tree, &nics).unwrap().changes, []);
    }

    #[test]
    fn drivers_by_alias_follow_the_hardware() {
        let (_folder, tree) =
            guest(&[("/etc/modprobe.conf", "alias eth0 e1000\nalias scsi_hostadapter mptspi\nalias bond0 bonding\n")]);
        let pins = pin(&tree, &[]).unwrap();
        assert_eq!(
            text(&pins.changes[0]),
            "alias eth0 virtio_net\nalias scsi_hostadapter virtio_blk\nalias bond0 bonding\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_rules_are_survived(text in "(SUBSYSTEM==\"net\"|, |NAME=\"|eth0\"|ATTR\\{address\\}==\"|52:54:00:12:34:56\"|KERNELS==\"|\n|\\PC){0,20}") {
            let (_folder, tree) = guest(&[(RULES, &text)]);
            let named = [(MAC.to_owned(), "eth0".to_owned())];
            if let Some(change) = rules(&tree, &named, true).unwrap() {
                tree.write(&change).unwrap();
                proptest::prop_assert_eq!(rules(&tree, &named, true).unwrap(), None);
            }
        }
    }
}
