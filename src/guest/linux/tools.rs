//! Tools of the hypervisor that the guest came from: their services are masked, so that they do not fail or wait on the
//! new one. The packages stay; removing them is the guest's own package manager's work.

use super::super::{Content, Edit, FileChange, GuestTree, TreeError};

/// Services by unit name, with whose they are.
const SERVICES: &[(&str, &str)] = &[
    ("open-vm-tools.service", "VMware"),
    ("vmtoolsd.service", "VMware"),
    ("vmware-tools.service", "VMware"),
    ("vgauthd.service", "VMware"),
    ("vboxadd.service", "VirtualBox"),
    ("vboxadd-service.service", "VirtualBox"),
    ("virtualbox-guest-utils.service", "VirtualBox"),
    ("xe-linux-distribution.service", "XenServer"),
    ("prltoolsd.service", "Parallels"),
];

/// One mask per service that is installed and not masked yet.
pub fn plan(tree: &GuestTree) -> Result<Vec<FileChange>, TreeError> {
    let mut changes = Vec::new();
    for (unit, whose) in SERVICES {
        let mut installed = false;
        for folder in ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"] {
            installed |= tree.exists(&format!("{folder}/{unit}"))?;
        }
        let path = format!("/etc/systemd/system/{unit}");
        let before = tree.link(&path)?;
        // A unit file of the administrator's own is not replaced.
        let own_file = before.is_none() && tree.exists(&path)?;
        if !installed || own_file || before.as_deref() == Some("/dev/null") {
            continue;
        }
        changes.push(FileChange {
            path: path.clone(),
            content: Content::Link("/dev/null".to_owned()),
            edits: vec![Edit {
                id: "tools".to_owned(),
                path,
                before,
                after: Some("/dev/null".to_owned()),
                why: format!("{whose}'s guest tools have no hypervisor to talk to any more"),
            }],
        });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_tools_are_masked_once() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        assert_eq!(plan(&tree).unwrap(), []);
        let units = folder.path().join("usr/lib/systemd/system");
        std::fs::create_dir_all(&units).unwrap();
        std::fs::write(units.join("open-vm-tools.service"), "[Unit]\n").unwrap();
        let changes = plan(&tree).unwrap();
        assert_eq!(changes.len(), 1);
        tree.write(&changes[0]).unwrap();
        assert_eq!(plan(&tree).unwrap(), []);
    }
}
