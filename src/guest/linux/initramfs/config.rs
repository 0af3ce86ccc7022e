//! The guest's own configuration of its initramfs: its next rebuild keeps the drivers.

use super::super::super::edit::Draft;
use super::super::super::{FileChange, GuestTree, SkipList, Text, TreeError};
use super::modules::module_name;

const WHY: &str = "the guest's next rebuild of its initramfs keeps the drivers";
const ID: &str = "initramfs.config";
const COMMENT: &str = "# The disks of the machine that this guest was moved to.";

/// A change for every tool that is installed.
pub fn plan(tree: &GuestTree, drivers: &[&str], skip: &SkipList) -> Result<Vec<FileChange>, TreeError> {
    let mut changes = Vec::new();
    if skip.skips(ID) || drivers.is_empty() {
        return Ok(changes);
    }
    if tree.exists("/etc/initramfs-tools")? {
        let path = "/etc/initramfs-tools/modules";
        changes.extend(initramfs_tools(path, &tree.read(path)?.unwrap_or_default(), drivers));
    }
    if tree.exists("/etc/dracut.conf.d")? || tree.exists("/etc/dracut.conf")? {
        let path = "/etc/dracut.conf.d/90-replant.conf";
        let text = format!("{COMMENT}\nadd_drivers+=\" {} \"\n", drivers.join(" "));
        let before = tree.read(path)?;
        if before.as_deref() != Some(text.as_bytes()) {
            changes.push(FileChange::whole(ID, path, before.as_deref(), &text, WHY));
        }
    }
    for (path, editor) in [
        ("/etc/mkinitcpio.conf", mkinitcpio as fn(&str, &[u8], &[&str]) -> Option<FileChange>),
        ("/etc/sysconfig/kernel", suse),
        ("/etc/mkinitfs/mkinitfs.conf", mkinitfs),
    ] {
        if let Some(bytes) = tree.read(path)? {
            changes.extend(editor(path, &bytes, drivers));
        }
    }
    Ok(changes)
}

/// `/etc/initramfs-tools/modules`: a driver a line.
fn initramfs_tools(path: &str, bytes: &[u8], drivers: &[&str]) -> Option<FileChange> {
    let text = Text::from_bytes(bytes);
    let listed = |name: &str| {
        text.lines().any(|line| module_name(line.split_whitespace().next().unwrap_or("")) == module_name(name))
    };
    let missing: Vec<&str> = drivers.iter().copied().filter(|name| !listed(name)).collect();
    if missing.is_empty() {
        return None;
    }
    let mut draft = Draft::new(path, bytes);
    draft.append(ID, WHY, &format!("{COMMENT}\n{}", missing.join("\n")));
    draft.finish()
}

/// `MODULES=(ext4)` of mkinitcpio.
fn mkinitcpio(path: &str, bytes: &[u8], drivers: &[&str]) -> Option<FileChange> {
    words_in(path, bytes, "MODULES=", drivers)
}

/// `INITRD_MODULES="..."` of SUSE's mkinitrd; newer ones have the line and do not read it.
fn suse(path: &str, bytes: &[u8], drivers: &[&str]) -> Option<FileChange> {
    words_in(path, bytes, "INITRD_MODULES=", drivers)
}

/// `features="ata base ext4"` of Alpine's mkinitfs.
fn mkinitfs(path: &str, bytes: &[u8], _: &[&str]) -> Option<FileChange> {
    words_in(path, bytes, "features=", &["virtio"])
}

/// Adds the words that are missing to the quoted or bracketed list behind `name`.
fn words_in(path: &str, bytes: &[u8], name: &str, words: &[&str]) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    draft.lines(ID, WHY, |line| {
        let value = line.strip_prefix(name)?;
        let (open, close) = match value.chars().next()? {
            '(' => ('(', ')'),
            quote @ ('"' | '\'') => (quote, quote),
            _ => return None,
        };
        let inner = value.strip_prefix(open)?;
        let end = inner.find(close)?;
        let held: Vec<String> = inner[..end].split_whitespace().map(module_name).collect();
        let missing: Vec<&str> = words.iter().copied().filter(|word| !held.contains(&module_name(word))).collect();
        if missing.is_empty() {
            return None;
        }
        let separator = if inner[..end].is_empty() || inner[..end].ends_with(' ') { "" } else { " " };
        Some(format!("{name}{open}{}{separator}{}{}", &inner[..end], missing.join(" "), &inner[end..]))
    });
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;

    fn new(change: Option<FileChange>) -> Option<String> {
        match change?.content {
            Content::Whole(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_tool_keeps_the_drivers() {
        let drivers = ["virtio_blk", "virtio_pci"];
        assert_eq!(
            new(mkinitcpio("/x", b"# vim\nMODULES=(ext4)\nHOOKS=(base)\n", &drivers)).unwrap(),
            "# vim\nMODULES=(ext4 virtio_blk virtio_pci)\nHOOKS=(base)\n"
        );
        assert_eq!(new(mkinitcpio("/x", b"MODULES=()\n", &drivers)).unwrap(), "MODULES=(virtio_blk virtio_pci)\n");
        assert_eq!(
            new(suse("/x", b"INITRD_MODULES=\"ahci virtio-pci\"\n", &drivers)).unwrap(),
            "INITRD_MODULES=\"ahci virtio-pci virtio_blk\"\n"
        );
        assert_eq!(
            new(mkinitfs("/x", b"features=\"ata base\"\n", &drivers)).unwrap(),
            "features=\"ata base virtio\"\n"
        );
        assert_eq!(
            new(initramfs_tools("/x", b"# mine\next4", &drivers)).unwrap(),
            format!("# mine\next4\n{COMMENT}\nvirtio_blk\nvirtio_pci\n")
        );
    }

    proptest::proptest! {
        #[test]
        fn twice_is_once(bytes in proptest::collection::vec(0u8.., 0..60), head in "(MODULES=|\\(|\"|\n| |virtio_blk){0,8}") {
            let bytes = [head.as_bytes(), &bytes].concat();
            for editor in [mkinitcpio as fn(&str, &[u8], &[&str]) -> Option<FileChange>, initramfs_tools] {
                if let Some(FileChange { content: Content::Whole(new), .. }) = editor("/x", &bytes, &["virtio_blk"]) {
                    proptest::prop_assert_eq!(editor("/x", &new, &["virtio_blk"]), None);
                }
            }
        }
    }
}
