//! What each initramfs of a guest needs.

use std::collections::BTreeMap;

use super::super::super::{Content, Edit, FileChange, GuestTree, SkipList, Text, TreeError};
use super::listing::{ListingError, read_listing};
use super::modules::{ModuleTree, module_name};
use super::overlay::{LOADED_EARLY, held_modules, modules_folder, overlay};

/// Why a guest's initramfs cannot be made to fit.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file of the guest cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An initramfs cannot be read.
    #[error("{path} in the guest cannot be read")]
    Listing {
        /// The initramfs.
        path: String,
        /// Why.
        #[source]
        error: ListingError,
    },
    /// The kernel has no such driver at all.
    #[error("the guest's kernel {release} has no driver {}: install a kernel that has it in the source, or leave the edit out with `guest.skip: [initramfs]`", drivers.join(", "))]
    NoDriver {
        /// The kernel.
        release: String,
        /// The drivers.
        drivers: Vec<String>,
    },
    /// It was made by something that we do not know.
    #[error("{path} lacks the drivers {} and was not made by initramfs-tools, the only kind that is known: add the drivers in the source, or leave the edit out with `guest.skip: [initramfs]`", missing.join(", "))]
    UnknownKind {
        /// The initramfs.
        path: String,
        /// What it lacks.
        missing: Vec<String>,
    },
    /// A kernel needs an initramfs and there is none of a known name.
    #[error("no initramfs in /boot belongs to a kernel of the guest ({}), and the drivers {} are not built into it", releases.join(", "), drivers.join(", "))]
    NoInitramfs {
        /// The kernels.
        releases: Vec<String>,
        /// What must be loaded.
        drivers: Vec<String>,
    },
    /// The archive could not be built.
    #[error("the overlay of {path} cannot be built")]
    Overlay {
        /// The initramfs.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// What is changed so that every kernel of the guest finds its disks on the target.
#[derive(Clone, Debug, Default)]
pub struct InitramfsPlan {
    /// The changes.
    pub changes: Vec<FileChange>,
    /// Kernels that were looked at.
    pub releases: Vec<String>,
}

const CONFIG: &str = "/etc/initramfs-tools/modules";

/// Looks at every initramfs in `/boot`. `drivers` are the target's storage drivers.
pub fn plan(tree: &GuestTree, drivers: &[&str], skip: &SkipList) -> Result<InitramfsPlan, InitramfsError> {
    let mut plan = InitramfsPlan::default();
    let mut in_need = Vec::new();
    let mut served = false;
    for release in tree.list("/lib/modules")? {
        let Some(modules) = ModuleTree::read(tree, &release)? else { continue };
        let images = images(tree, &release)?;
        if images.is_empty() {
            if !modules.closure(drivers).is_empty() {
                in_need.push(release);
            }
            continue;
        }
        served = true;
        let absent: Vec<String> =
            drivers.iter().filter(|name| !modules.has(name)).map(|name| (*name).to_owned()).collect();
        if !absent.is_empty() {
            return Err(InitramfsError::NoDriver { release, drivers: absent });
        }
        if !skip.skips("initramfs.drivers") {
            for path in images {
                plan.changes.extend(image(tree, &path, &modules, drivers)?);
            }
        }
        plan.releases.push(release);
    }
    if !served && !in_need.is_empty() {
        let drivers = drivers.iter().map(|name| (*name).to_owned()).collect();
        return Err(InitramfsError::NoInitramfs { releases: in_need, drivers });
    }
    if !skip.skips("initramfs.config") && tree.exists("/etc/initramfs-tools")? {
        plan.changes.extend(config(&tree.read(CONFIG)?.unwrap_or_default(), drivers));
    }
    Ok(plan)
}

/// The names under which distributions keep a kernel's initramfs.
fn images(tree: &GuestTree, release: &str) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    for name in [format!("initrd.img-{release}"), format!("initramfs-{release}.img"), format!("initrd-{release}")] {
        let path = format!("/boot/{name}");
        if tree.exists(&path)? {
            found.push(path);
        }
    }
    Ok(found)
}

fn image(
    tree: &GuestTree,
    path: &str,
    modules: &ModuleTree,
    drivers: &[&str],
) -> Result<Option<FileChange>, InitramfsError> {
    let bytes = tree.read(path)?.unwrap_or_default();
    let listing = read_listing(&bytes, &|name| name == LOADED_EARLY)
        .map_err(|error| InitramfsError::Listing { path: path.to_owned(), error })?;
    let held = held_modules(&listing, &modules_folder(&listing, &modules.release));
    let wanted: Vec<String> =
        modules.closure(drivers).into_iter().filter(|path| !held.contains(&module_name(path))).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let missing: Vec<String> = wanted.iter().map(|path| module_name(path)).collect();
    if !listing.entries.contains_key("conf/initramfs.conf") && !listing.entries.contains_key(LOADED_EARLY) {
        return Err(InitramfsError::UnknownKind { path: path.to_owned(), missing });
    }
    let mut files = BTreeMap::new();
    for module in wanted {
        let content = tree.read(&format!("/lib/modules/{}/{module}", modules.release))?;
        files.insert(module, content.unwrap_or_default());
    }
    let bytes_of_modules = files.values().map(Vec::len).sum::<usize>();
    let archive = overlay(&listing, modules, &files, drivers)
        .map_err(|error| InitramfsError::Overlay { path: path.to_owned(), error })?;
    let edit = Edit {
        id: "initramfs.drivers".to_owned(),
        path: path.to_owned(),
        before: Some(format!("{} bytes, {} modules, without {}", bytes.len(), held.len(), missing.join(" "))),
        after: Some(format!(
            "{bytes_of_modules} bytes of modules appended as an overlay archive: {}",
            missing.join(" ")
        )),
        why: "without these drivers the kernel finds no disk on the target".to_owned(),
    };
    let content = Content::Append { bytes: archive, align: 4 };
    Ok(Some(FileChange { path: path.to_owned(), content, edits: vec![edit] }))
}

/// `/etc/initramfs-tools/modules`: the guest's next rebuild keeps the drivers.
fn config(bytes: &[u8], drivers: &[&str]) -> Option<FileChange> {
    let mut text = Text::from_bytes(bytes);
    let listed =
        |name: &str| text.lines().any(|line| module_name(line.split_whitespace().next().unwrap_or("")) == name);
    let missing: Vec<&str> = drivers.iter().copied().filter(|name| !listed(name)).collect();
    if missing.is_empty() {
        return None;
    }
    text.push_line("# The disks of the machine that this guest was moved to.");
    for name in &missing {
        text.push_line(name);
    }
    Some(FileChange {
        path: CONFIG.to_owned(),
        content: Content::Whole(text.to_bytes()),
        edits: vec![Edit {
            id: "initramfs.config".to_owned(),
            path: CONFIG.to_owned(),
            before: None,
            after: Some(missing.join("\n")),
            why: "the guest's next update-initramfs keeps the drivers".to_owned(),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::Writer;
    use super::*;

    const RELEASE: &str = "6.1.0-1-test";

    fn guest(initrd: &[u8]) -> (tempfile::TempDir, GuestTree) {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("usr/lib/modules").join(RELEASE);
        let write = |path: std::path::PathBuf, bytes: &[u8]| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        std::os::unix::fs::symlink("usr/lib", folder.path().join("lib")).unwrap();
        for name in ["virtio", "virtio_blk"] {
            write(modules.join(format!("kernel/{name}.ko")), name.as_bytes());
        }
        write(
            modules.join("modules.dep"),
            b"kernel/virtio.ko:\nkernel/virtio_blk.ko: kernel/virtio.ko\nkernel/ext4.ko:\n",
        );
        write(modules.join("modules.alias"), b"alias virtio:d2v* virtio_blk\n");
        write(folder.path().join(format!("boot/initrd.img-{RELEASE}")), initrd);
        write(folder.path().join("etc/initramfs-tools/modules"), b"# my list\next4");
        let tree = GuestTree::new(folder.path());
        (folder, tree)
    }

    fn initrd(extra: &str) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.link("lib", "usr/lib").unwrap();
        writer.folder(&format!("usr/lib/modules/{RELEASE}"), 0o755).unwrap();
        writer.file(&format!("usr/lib/modules/{RELEASE}/kernel/ext4.ko"), 0o644, b"ext4").unwrap();
        writer.file(extra, 0o644, b"ext4\n").unwrap();
        zstd::encode_all(&writer.finish().unwrap()[..], 1).unwrap()
    }

    #[test]
    fn missing_drivers_are_laid_over_and_kept_for_the_next_rebuild() {
        let (_folder, tree) = guest(&initrd("conf/modules"));
        let first = plan(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
        assert_eq!(first.changes.len(), 2);
        for change in &first.changes {
            tree.write(change).unwrap();
        }
        let bytes = tree.read(&format!("/boot/initrd.img-{RELEASE}")).unwrap().unwrap();
        let listing = read_listing(&bytes, &|_| true).unwrap();
        let file = |name: &str| String::from_utf8_lossy(&listing.contents[name]).into_owned();
        let folder = format!("usr/lib/modules/{RELEASE}");
        assert_eq!(file("conf/modules"), "ext4\nvirtio_blk\n");
        assert_eq!(file(&format!("{folder}/kernel/virtio_blk.ko")), "virtio_blk");
        assert_eq!(
            file(&format!("{folder}/modules.dep")),
            "kernel/ext4.ko:\nkernel/virtio.ko:\nkernel/virtio_blk.ko: kernel/virtio.ko\n"
        );
        assert_eq!(file(&format!("{folder}/modules.alias")), "alias virtio:d2v* virtio_blk\n");
        assert_eq!(listing.entries["lib"].mode & 0o170_000, LINK, "the link to usr/lib must stay a link");
        assert_eq!(
            tree.read(CONFIG).unwrap().unwrap(),
            b"# my list\next4\n# The disks of the machine that this guest was moved to.\nvirtio_blk\n"
        );
        let second = plan(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
        assert_eq!(second.changes, [], "converting twice equals converting once");
    }

    use super::super::super::super::cpio::LINK;

    #[test]
    fn what_cannot_be_made_to_fit_is_refused() {
        let (_folder, tree) = guest(&initrd("etc/dracut-something"));
        let error = plan(&tree, &["virtio_blk"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::UnknownKind { .. }), "{error}");
        let error = plan(&tree, &["vmw_pvscsi"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::NoDriver { .. }), "{error}");
        let (folder, tree) = guest(b"");
        std::fs::remove_file(folder.path().join(format!("boot/initrd.img-{RELEASE}"))).unwrap();
        let error = plan(&tree, &["virtio_blk"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::NoInitramfs { .. }), "{error}");
    }

    #[test]
    fn skipped_edits_are_left_out() {
        let (_folder, tree) = guest(&initrd("conf/modules"));
        let skip = SkipList::new(["initramfs".to_owned()]);
        assert_eq!(plan(&tree, &["virtio_blk"], &skip).unwrap().changes, []);
    }
}
