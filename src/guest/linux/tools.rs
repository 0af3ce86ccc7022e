//! Tools of the hypervisor that the guest came from: their services are masked, so that they do not fail or wait on the
//! new one. The packages stay; removing them is the guest's own package manager's work.

use super::super::{FileChange, GuestTree, TreeError};

/// Services by name, with whose they are.
const SERVICES: &[(&str, &str)] = &[
    ("open-vm-tools", "VMware"),
    ("vmtoolsd", "VMware"),
    ("vmware-tools", "VMware"),
    ("vmware-tools-thinprint", "VMware"),
    ("vgauthd", "VMware"),
    ("vgauth", "VMware"),
    ("run-vmblock\\x2dfuse.mount", "VMware"),
    ("vboxadd", "VirtualBox"),
    ("vboxadd-service", "VirtualBox"),
    ("vboxadd-x11", "VirtualBox"),
    ("vboxservice", "VirtualBox"),
    ("virtualbox-guest-utils", "VirtualBox"),
    ("hypervkvpd", "Hyper-V"),
    ("hypervvssd", "Hyper-V"),
    ("hypervfcopyd", "Hyper-V"),
    ("hv-kvp-daemon", "Hyper-V"),
    ("hv-vss-daemon", "Hyper-V"),
    ("hv-fcopy-daemon", "Hyper-V"),
    ("hv_kvp_daemon", "Hyper-V"),
    ("hv_vss_daemon", "Hyper-V"),
    ("hv_fcopy_daemon", "Hyper-V"),
    ("xe-linux-distribution", "XenServer"),
    ("xe-daemon", "XenServer"),
    ("xen-guest-agent", "XenServer"),
    ("xendomains", "Xen"),
    ("prltoolsd", "Parallels"),
    ("prl-x11", "Parallels"),
];

/// Folders of the unit files that packages bring.
const UNIT_FOLDERS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// The tools that are installed, by service, with whose they are and whether they are switched on.
pub fn installed(tree: &GuestTree) -> Result<Vec<(String, &'static str, bool)>, TreeError> {
    let mut found = Vec::new();
    for (name, whose) in SERVICES {
        let unit = unit_name(name);
        let mut here = false;
        for folder in UNIT_FOLDERS.into_iter().chain(["/etc/systemd/system"]) {
            here |= tree.exists(&format!("{folder}/{unit}"))?;
        }
        let masked = tree.link(&format!("/etc/systemd/system/{unit}"))?.as_deref() == Some("/dev/null");
        let started = starts(tree, name)?;
        let script = tree.exists(&format!("/etc/init.d/{name}"))?;
        if (here && !masked) || script || !started.is_empty() {
            found.push(((*name).to_owned(), *whose, !masked && (here || !started.is_empty())));
        }
    }
    Ok(found)
}

/// One mask per service that is installed and not masked yet, and one link less per runlevel that starts it.
pub fn plan(tree: &GuestTree) -> Result<Vec<FileChange>, TreeError> {
    let mut changes = Vec::new();
    for (name, whose) in SERVICES {
        let why = format!("{whose}'s guest tools have no hypervisor to talk to any more");
        let unit = unit_name(name);
        let mut installed = false;
        for folder in UNIT_FOLDERS.into_iter().chain(["/etc/systemd/system"]) {
            installed |= tree.exists(&format!("{folder}/{unit}"))?;
        }
        let path = format!("/etc/systemd/system/{unit}");
        let before = tree.link(&path)?;
        // A unit file of the administrator's own is not replaced.
        let own_file = before.is_none() && tree.exists(&path)?;
        let systemd = tree.exists("/usr/lib/systemd/systemd")? || tree.exists("/lib/systemd/systemd")?;
        let script = tree.exists(&format!("/etc/init.d/{name}"))?;
        if (installed || (systemd && script)) && !own_file && before.as_deref() != Some("/dev/null") {
            changes.push(FileChange::linked("tools", &path, before, "/dev/null", why.clone()));
        }
        if !systemd && !installed {
            for link in starts(tree, name)? {
                let target = tree.link(&link)?.unwrap_or_default();
                changes.push(FileChange::removed("tools", &link, format!("link to {target}").as_bytes(), why.clone()));
            }
        }
        // Upstart.
        let job = format!("/etc/init/{name}.conf");
        let manual = format!("/etc/init/{name}.override");
        if !systemd && tree.exists(&job)? && !tree.exists(&manual)? {
            changes.push(FileChange::whole("tools", &manual, None, "manual\n", why));
        }
    }
    Ok(changes)
}

fn unit_name(name: &str) -> String {
    if name.ends_with(".mount") { name.to_owned() } else { format!("{name}.service") }
}

/// The links of System V runlevels (and of OpenRC's) that start the service.
fn starts(tree: &GuestTree, name: &str) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    for base in ["/etc", "/etc/rc.d"] {
        for level in ["S", "0", "1", "2", "3", "4", "5", "6"] {
            let folder = format!("{base}/rc{level}.d");
            for link in tree.list(&folder)? {
                let starts = link.strip_prefix('S').map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
                if starts == Some(name) {
                    found.push(format!("{folder}/{link}"));
                }
            }
        }
    }
    for level in ["boot", "default", "sysinit"] {
        let link = format!("/etc/runlevels/{level}/{name}");
        if tree.link(&link)?.is_some() {
            found.push(link);
        }
    }
    Ok(found)
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

    #[test]
    fn runlevels_of_old_systems_start_them_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        for path in ["etc/rc3.d", "etc/rc.d/rc5.d", "etc/init.d", "etc/init"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("etc/init.d/vmware-tools"), "").unwrap();
        std::fs::write(folder.path().join("etc/init/open-vm-tools.conf"), "").unwrap();
        for link in ["etc/rc3.d/S03vmware-tools", "etc/rc.d/rc5.d/S99vmware-tools"] {
            std::os::unix::fs::symlink("../init.d/vmware-tools", folder.path().join(link)).unwrap();
        }
        std::fs::write(folder.path().join("etc/rc3.d/S10sshd"), "").unwrap();
        assert_eq!(installed(&tree).unwrap(), [("vmware-tools".to_owned(), "VMware", true)]);
        let changes = plan(&tree).unwrap();
        assert_eq!(changes.len(), 3, "{changes:?}");
        for change in &changes {
            tree.write(change).unwrap();
        }
        assert_eq!(plan(&tree).unwrap(), []);
        assert!(folder.path().join("etc/init.d/vmware-tools").exists(), "what the link led to stays");
        assert!(folder.path().join("etc/rc3.d/S10sshd").exists());
    }
}
