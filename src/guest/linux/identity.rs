//! What must not change the machine's identity at its first boot on the target: cloud-init, and SELinux labels of files
//! that we wrote.

use super::super::label::is_labelled;
use super::super::{FileChange, GuestTree, SkipList, TreeError};

const CLOUD_INIT: &str = "/etc/cloud/cloud-init.disabled";
const RELABEL: &str = "/.autorelabel";

/// cloud-init would take the target for a new instance: new ssh host keys, a new host name, a new network configuration.
pub fn cloud_init(tree: &GuestTree, skip: &SkipList) -> Result<Option<FileChange>, TreeError> {
    if skip.skips("cloud-init") || !tree.exists("/etc/cloud/cloud.cfg")? || tree.exists(CLOUD_INIT)? {
        return Ok(None);
    }
    Ok(Some(FileChange::whole(
        "cloud-init",
        CLOUD_INIT,
        None,
        "# The machine was moved and is configured: remove this file to let cloud-init run again.\n",
        "cloud-init would take the target for a new instance and replace ssh host keys, host name and network",
    )))
}

/// Families of distributions whose layouts are known, by the words of `ID` and `ID_LIKE` in os-release, and by files from before it.
const FAMILIES: [&str; 12] =
    ["debian", "ubuntu", "rhel", "fedora", "centos", "rocky", "almalinux", "ol", "suse", "opensuse", "arch", "alpine"];
const FAMILY_FILES: [&str; 5] =
    ["/etc/debian_version", "/etc/redhat-release", "/etc/SuSE-release", "/etc/arch-release", "/etc/alpine-release"];

/// What to say of a distribution that nobody has tried: it is converted by what its files name, like any other.
pub fn unknown_distribution(tree: &GuestTree) -> Result<Option<String>, TreeError> {
    for path in FAMILY_FILES {
        if tree.exists(path)? {
            return Ok(None);
        }
    }
    let mut release = tree.read("/etc/os-release")?;
    if release.is_none() {
        release = tree.read("/usr/lib/os-release")?;
    }
    let text = String::from_utf8_lossy(&release.unwrap_or_default()).into_owned();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    let plain = |value: &str| value.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let (id, like) = (plain(field("ID")), plain(field("ID_LIKE")));
    let known = |word: &str| FAMILIES.iter().any(|family| word == *family || word.starts_with(&format!("{family}-")));
    if like.split_whitespace().chain([id.as_str()]).any(known) {
        return Ok(None);
    }
    let name = if id.is_empty() { "without an `ID` in its os-release".to_owned() } else { format!("`{id}`") };
    Ok(Some(format!(
        "the distribution ({name}) is of none of the families Debian, Red Hat, SUSE, Arch and Alpine: the files that are known from \
         them are changed, and whether that is all shows when it starts; add `guest.run` scripts for what is missing"
    )))
}

/// A relabelling at the first boot, only where SELinux is on and a changed file's folder has no label to copy.
pub fn relabel(tree: &GuestTree, changes: &[FileChange], skip: &SkipList) -> Result<Option<FileChange>, TreeError> {
    if skip.skips("selinux") || tree.exists(RELABEL)? || selinux_mode(tree)?.is_none_or(|mode| mode == "disabled") {
        return Ok(None);
    }
    for change in changes {
        let target = tree.resolve(&change.path)?;
        // The firmware's partition has no labels, in the source neither.
        if change.path.starts_with("/boot/efi/") || change.path.starts_with("/efi/") {
            continue;
        }
        let mut from = target.as_path();
        while !from.exists() {
            match from.parent() {
                Some(parent) => from = parent,
                None => break,
            }
        }
        if !is_labelled(from) {
            return Ok(Some(FileChange::whole(
                "selinux",
                RELABEL,
                None,
                "",
                format!("{} has no SELinux label to keep, so labels are set at the first boot", change.path),
            )));
        }
    }
    Ok(None)
}

/// `enforcing`, `permissive` or `disabled`; none without SELinux.
pub fn selinux_mode(tree: &GuestTree) -> Result<Option<String>, TreeError> {
    let Some(bytes) = tree.read("/etc/selinux/config")? else { return Ok(None) };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let value = text.lines().rev().find_map(|line| line.trim().strip_prefix("SELINUX=").map(str::to_owned));
    Ok(value.map(|value| value.trim().to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_init_is_kept_from_its_work_once() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let none = SkipList::default();
        assert_eq!(cloud_init(&tree, &none).unwrap(), None);
        std::fs::create_dir_all(folder.path().join("etc/cloud")).unwrap();
        std::fs::write(folder.path().join("etc/cloud/cloud.cfg"), "").unwrap();
        let change = cloud_init(&tree, &none).unwrap().unwrap();
        tree.write(&change).unwrap();
        assert_eq!(cloud_init(&tree, &none).unwrap(), None);
    }

    #[test]
    fn labels_are_set_again_only_where_there_are_none_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let none = SkipList::default();
        let changes = [FileChange::whole("x", "/etc/x", None, "", "")];
        assert_eq!(relabel(&tree, &changes, &none).unwrap(), None, "no SELinux");
        std::fs::create_dir_all(folder.path().join("etc/selinux")).unwrap();
        std::fs::write(folder.path().join("etc/selinux/config"), "# x\nSELINUX=enforcing\n").unwrap();
        let change = relabel(&tree, &changes, &none).unwrap().expect("this folder has no label");
        tree.write(&change).unwrap();
        assert_eq!(relabel(&tree, &changes, &none).unwrap(), None);
        std::fs::remove_file(folder.path().join(".autorelabel")).unwrap();
        assert_eq!(relabel(&tree, &[], &none).unwrap(), None, "nothing was changed");
        std::fs::write(folder.path().join("etc/selinux/config"), "SELINUX=disabled\n").unwrap();
        assert_eq!(relabel(&tree, &changes, &none).unwrap(), None);
    }
}
