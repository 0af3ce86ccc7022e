//! Network identity: each adapter keeps its name, found by its MAC address. What configures the adapter (ifupdown,
//! systemd-networkd, NetworkManager, netplan) goes by that name and stays as it is.

use super::super::{Content, Edit, FileChange, GuestTree, PinnedNic, TreeError};

/// One `.link` file per adapter whose name is known.
pub fn plan(tree: &GuestTree, nics: &[PinnedNic]) -> Result<Vec<FileChange>, TreeError> {
    let mut changes = Vec::new();
    for nic in nics {
        let path = format!("/etc/systemd/network/10-replant-{}.link", nic.name);
        let text = format!(
            "# Keeps the adapter's name from before the migration.\n[Match]\nMACAddress={}\n\n[Link]\nName={}\n",
            nic.mac, nic.name
        );
        let before = tree.read(&path)?;
        if before.as_deref() == Some(text.as_bytes()) {
            continue;
        }
        changes.push(FileChange {
            path: path.clone(),
            content: Content::Whole(text.clone().into_bytes()),
            edits: vec![Edit {
                id: "network.names".to_owned(),
                path,
                before: before.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
                after: Some(text),
                why: format!("the adapter {} is called {} on any slot of the target", nic.mac, nic.name),
            }],
        });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pinned_once() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let nics = [PinnedNic { mac: "52:54:00:12:34:56".into(), name: "eth0".into() }];
        let changes = plan(&tree, &nics).unwrap();
        tree.write(&changes[0]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("etc/systemd/network/10-replant-eth0.link")).unwrap();
        assert!(text.contains("MACAddress=52:54:00:12:34:56\n") && text.contains("Name=eth0\n"));
        assert_eq!(plan(&tree, &nics).unwrap(), []);
    }
}
