//! What each initramfs of a guest needs.

use std::collections::BTreeMap;

use super::super::super::edit::Draft;
use super::super::super::{Content, DeviceNames, Edit, FileChange, GuestTree, SkipList, TreeError};
use super::super::kernel_line::stable_devices;
use super::super::{fstab, storage};
use super::config;
use super::kind::InitramfsKind;
use super::listing::{Listing, ListingError, read_listing};
use super::modules::{ModuleTree, module_name};
use super::overlay::{held_modules, modules_folder, overlay};

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
    #[error("{path} lacks the drivers {} and was made by none of initramfs-tools, dracut, mkinitcpio and mkinitfs: add the drivers in the source, or leave the edit out with `guest.skip: [initramfs]`", missing.join(", "))]
    UnknownKind {
        /// The initramfs.
        path: String,
        /// What it lacks.
        missing: Vec<String>,
    },
    /// The list of modules names a file that is not there.
    #[error(
        "the guest's kernel {release} lists the module {module}, and its file is missing: install the kernel's package again in the source"
    )]
    NoModuleFile {
        /// The kernel.
        release: String,
        /// The module's path.
        module: String,
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

/// What is changed so that the guest's kernels find their disks on the target.
#[derive(Clone, Debug, Default)]
pub struct InitramfsPlan {
    /// The changes.
    pub changes: Vec<FileChange>,
    /// Kernels that will find their disks.
    pub releases: Vec<String>,
    /// Kernels that will not.
    pub unfit: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Drivers that a target offers, and that a guest boots without.
const OPTIONAL: [&str; 4] = ["virtio_scsi", "virtio_net", "virtio_rng", "virtio_balloon"];

/// Copies of the guest's configuration inside an initramfs, with what edits them.
type Embedded = (&'static str, fn(&str, &[u8], &DeviceNames<'_>) -> Option<FileChange>);
const EMBEDDED: &[Embedded] = &[
    ("etc/mdadm/mdadm.conf", |path, bytes, _| storage::mdadm(path, bytes).0),
    ("etc/mdadm.conf", |path, bytes, _| storage::mdadm(path, bytes).0),
    ("etc/lvm/lvm.conf", storage::lvm),
    ("conf/conf.d/resume", fstab::resume),
    ("conf/conf.d/zz-resume-auto", fstab::resume),
    ("cryptroot/crypttab", |_, bytes, names| fstab::crypttab(bytes, names).change),
    ("etc/crypttab", |_, bytes, names| fstab::crypttab(bytes, names).change),
    ("etc/cmdline.d/", command_line),
];

/// Words for the kernel that dracut keeps in its image.
fn command_line(path: &str, bytes: &[u8], names: &DeviceNames<'_>) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    draft.lines("initramfs.devices", "", |line| stable_devices(line, names));
    draft.finish()
}

fn embedded(path: &str) -> Option<&'static Embedded> {
    EMBEDDED.iter().find(|(own, _)| path == *own || (own.ends_with('/') && path.starts_with(own)))
}

/// Looks at every initramfs in `/boot`. `drivers` are the target's drivers; `links` are files below `/etc/systemd/network`, by
/// name, that give adapters their names: udev inside the initramfs sees some adapters before the guest's own does.
pub fn plan(
    tree: &GuestTree,
    names: &DeviceNames<'_>,
    drivers: &[&str],
    links: &[(String, Vec<u8>)],
    skip: &SkipList,
) -> Result<InitramfsPlan, InitramfsError> {
    let mut plan = InitramfsPlan::default();
    let mut in_need = Vec::new();
    let mut refused = Vec::new();
    for release in tree.list("/lib/modules")? {
        let Some(modules) = ModuleTree::read(tree, &release)? else { continue };
        let images = images(tree, &release)?;
        if images.is_empty() {
            if !modules.closure(drivers).is_empty() {
                in_need.push(release);
            }
            continue;
        }
        match kernel(tree, names, &modules, images, (drivers, links), skip) {
            Ok(changes) => {
                plan.changes.extend(changes);
                for name in drivers.iter().filter(|name| !modules.has(name)) {
                    plan.warnings.push(format!("the guest's kernel {release} has no driver {name}"));
                }
                plan.releases.push(release);
            }
            Err(error @ (InitramfsError::NoDriver { .. } | InitramfsError::UnknownKind { .. })) => {
                plan.unfit.push(release);
                refused.push(error);
            }
            Err(error) => return Err(error),
        }
    }
    if plan.releases.is_empty() {
        // The newest kernel's reason, as that is the one that boots.
        if let Some(error) = refused.pop() {
            return Err(error);
        }
        if !in_need.is_empty() {
            let drivers = drivers.iter().map(|name| (*name).to_owned()).collect();
            return Err(InitramfsError::NoInitramfs { releases: in_need, drivers });
        }
    }
    plan.warnings.extend(refused.iter().map(|error| format!("this kernel will not boot on the target: {error}")));
    plan.changes.extend(config::plan(tree, drivers, skip)?);
    Ok(plan)
}

/// The changes for one kernel's images.
fn kernel(
    tree: &GuestTree,
    names: &DeviceNames<'_>,
    modules: &ModuleTree,
    images: Vec<String>,
    (drivers, links): (&[&str], &[(String, Vec<u8>)]),
    skip: &SkipList,
) -> Result<Vec<FileChange>, InitramfsError> {
    let needed = drivers.iter().filter(|name| !OPTIONAL.contains(name));
    let absent: Vec<String> = needed.filter(|name| !modules.has(name)).map(|name| (*name).to_owned()).collect();
    if !absent.is_empty() {
        return Err(InitramfsError::NoDriver { release: modules.release.clone(), drivers: absent });
    }
    let mut changes = Vec::new();
    for path in images {
        changes.extend(image(tree, names, &path, modules, (drivers, links), skip)?);
    }
    Ok(changes)
}

/// The names under which distributions keep a kernel's initramfs.
pub fn images(tree: &GuestTree, release: &str) -> Result<Vec<String>, TreeError> {
    let mut found = Vec::new();
    let mut names = vec![
        format!("/boot/initrd.img-{release}"),
        format!("/boot/initramfs-{release}.img"),
        format!("/boot/initrd-{release}"),
        format!("/boot/initrd-{release}.img"),
        format!("/boot/initramfs-{release}"),
    ];
    // Arch names images by the kernel's package, Alpine by its flavour.
    if let Some(package) = tree.read(&format!("/lib/modules/{release}/pkgbase"))? {
        let package = String::from_utf8_lossy(&package).trim().to_owned();
        names.push(format!("/boot/initramfs-{package}.img"));
        names.push(format!("/boot/initramfs-{package}-fallback.img"));
    }
    if tree.exists("/etc/alpine-release")?
        && let Some((_, flavour)) = release.rsplit_once('-')
    {
        names.push(format!("/boot/initramfs-{flavour}"));
    }
    // kernel-install keeps them below the machine's id.
    if let Some(id) = tree.read("/etc/machine-id")? {
        let id = String::from_utf8_lossy(&id).trim().to_owned();
        if id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            names.extend(["/boot", "/boot/efi", "/efi"].map(|folder| format!("{folder}/{id}/{release}/initrd")));
        }
    }
    for path in names {
        if tree.exists(&path)? && !found.contains(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

fn image(
    tree: &GuestTree,
    names: &DeviceNames<'_>,
    path: &str,
    modules: &ModuleTree,
    (drivers, links): (&[&str], &[(String, Vec<u8>)]),
    skip: &SkipList,
) -> Result<Option<FileChange>, InitramfsError> {
    let bytes = tree.read(path)?.unwrap_or_default();
    let listing = read_listing(&bytes, &|name| InitramfsKind::reads(name) || embedded(name).is_some())
        .map_err(|error| InitramfsError::Listing { path: path.to_owned(), error })?;
    let mut edits = Vec::new();
    let mut extra = BTreeMap::new();
    if !skip.skips("initramfs.devices") {
        for (inside, content) in &listing.contents {
            let Some((_, editor)) = embedded(inside) else { continue };
            let Some(FileChange { content: Content::Whole(new), edits: changed, .. }) = editor(inside, content, names)
            else {
                continue;
            };
            edits.extend(changed.into_iter().map(|edit| Edit {
                id: "initramfs.devices".to_owned(),
                path: format!("{path}:{inside}"),
                before: edit.before,
                after: edit.after,
                why: "the initramfs has a copy of the configuration, and it names disks as the source did".to_owned(),
            }));
            extra.insert(inside.clone(), new);
        }
    }
    let held = held_modules(&listing, &modules_folder(&listing, &modules.release));
    let mut wanted = modules.closure(drivers);
    wanted.retain(|path| !held.contains(&module_name(path)));
    let mut files = BTreeMap::new();
    if !wanted.is_empty() && !skip.skips("initramfs.drivers") {
        let missing: Vec<String> = wanted.iter().map(|path| module_name(path)).collect();
        let Some(kind) = InitramfsKind::of(&listing) else {
            return Err(InitramfsError::UnknownKind { path: path.to_owned(), missing });
        };
        let loaded: Vec<&str> = drivers.iter().copied().filter(|name| modules.has(name)).collect();
        extra.extend(kind.load(&listing, &loaded));
        for module in wanted {
            let content = tree.read(&format!("/lib/modules/{}/{module}", modules.release))?;
            let content = content.ok_or_else(|| InitramfsError::NoModuleFile {
                release: modules.release.clone(),
                module: module.clone(),
            })?;
            files.insert(module, content);
        }
        let added = files.values().map(Vec::len).sum::<usize>();
        edits.push(Edit {
            id: "initramfs.drivers".to_owned(),
            path: path.to_owned(),
            before: Some(format!(
                "{} bytes made by {}, {} modules, without {}",
                bytes.len(),
                kind.name(),
                held.len(),
                missing.join(" ")
            )),
            after: Some(format!("{added} bytes of modules appended as an overlay archive: {}", missing.join(" "))),
            why: "without these drivers the kernel finds no disk on the target".to_owned(),
        });
    }
    for (inside, content) in new_links(&listing, links) {
        edits.push(Edit {
            id: "network.names".to_owned(),
            path: format!("{path}:{inside}"),
            before: None,
            after: Some(String::from_utf8_lossy(content).into_owned()),
            why: "udev in the initramfs names adapters whose driver is there, before the guest's own does".to_owned(),
        });
        extra.insert(inside, content.clone());
    }
    if files.is_empty() && extra.is_empty() {
        return Ok(None);
    }
    let overlaid = |error| InitramfsError::Overlay { path: path.to_owned(), error };
    let mut archive = overlay(&listing, modules, &files, extra).map_err(overlaid)?;
    if listing.ends_in_lz4 {
        // The kernel takes zeros for the end of an LZ4 stream; four are there after every alignment.
        archive.splice(0..0, [0; 4]);
    }
    let content = Content::Append { bytes: archive, align: 4 };
    Ok(Some(FileChange { path: path.to_owned(), content, edits }))
}

/// Link files that an initramfs lacks, by path; none if its udev names no adapters.
fn new_links<'a>(listing: &'a Listing, links: &'a [(String, Vec<u8>)]) -> impl Iterator<Item = (String, &'a Vec<u8>)> {
    let names_adapters = listing.entries.keys().any(|path| path.ends_with("/systemd/network/99-default.link"));
    let named = links.iter().map(|(name, content)| (format!("etc/systemd/network/{name}"), content));
    named.filter(move |(inside, _)| names_adapters && !listing.entries.contains_key(inside))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::Writer;
    use super::*;

    use crate::guest::disks::tests::two_disks;

    const RELEASE: &str = "6.1.0-1-test";
    const CONFIG: &str = "/etc/initramfs-tools/modules";

    fn fitted(tree: &GuestTree, drivers: &[&str], skip: &SkipList) -> Result<InitramfsPlan, InitramfsError> {
        let disks = two_disks();
        plan(tree, &DeviceNames::new(&disks), drivers, &[], skip)
    }

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
        let first = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
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
        let second = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
        assert_eq!(second.changes, [], "converting twice equals converting once");
    }

    use super::super::super::super::cpio::LINK;

    #[test]
    fn what_cannot_be_made_to_fit_is_refused() {
        let (_folder, tree) = guest(&initrd("run_all.sh"));
        let error = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::UnknownKind { .. }), "{error}");
        let error = fitted(&tree, &["vmw_pvscsi"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::NoDriver { .. }), "{error}");
        let (folder, tree) = guest(b"");
        std::fs::remove_file(folder.path().join(format!("boot/initrd.img-{RELEASE}"))).unwrap();
        let error = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap_err();
        assert!(matches!(error, InitramfsError::NoInitramfs { .. }), "{error}");
    }

    #[test]
    fn names_of_adapters_hold_in_the_initramfs_too() {
        let (_folder, tree) = guest(&initrd("usr/lib/systemd/network/99-default.link"));
        let disks = two_disks();
        let links = [("10-replant-eth0.link".to_owned(), b"[Match]\n".to_vec())];
        let planned = || plan(&tree, &DeviceNames::new(&disks), &[], &links, &SkipList::default()).unwrap();
        let changes = planned().changes;
        let edits: Vec<&Edit> = changes.iter().flat_map(|change| &change.edits).collect();
        let inside = format!("/boot/initrd.img-{RELEASE}:etc/systemd/network/10-replant-eth0.link");
        assert!(edits.iter().any(|edit| edit.id == "network.names" && edit.path == inside), "{edits:#?}");
        for change in &changes {
            tree.write(change).unwrap();
        }
        assert_eq!(planned().changes, []);
    }

    #[test]
    fn skipped_edits_are_left_out() {
        let (_folder, tree) = guest(&initrd("conf/modules"));
        let skip = SkipList::new(["initramfs".to_owned()]);
        assert_eq!(fitted(&tree, &["virtio_blk"], &skip).unwrap().changes, []);
    }

    #[test]
    fn a_kernel_without_drivers_is_no_reason_to_stop_if_another_has_them() {
        let (folder, tree) = guest(&initrd("conf/modules"));
        let old = folder.path().join("usr/lib/modules/2.6.18-old");
        std::fs::create_dir_all(&old).unwrap();
        std::fs::write(old.join("modules.dep"), "kernel/ext3.ko:\n").unwrap();
        std::fs::write(folder.path().join("boot/initrd.img-2.6.18-old"), initrd("conf/modules")).unwrap();
        let found = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
        assert_eq!((found.releases, found.unfit), (vec![RELEASE.to_owned()], vec!["2.6.18-old".to_owned()]));
        assert!(found.warnings[0].contains("2.6.18-old has no driver virtio_blk"), "{:?}", found.warnings);
    }

    #[test]
    fn copies_of_the_configuration_inside_are_changed_too() {
        let mut writer = Writer::new(Vec::new());
        for folder in ["conf", "conf/conf.d", "etc", "etc/mdadm"] {
            writer.folder(folder, 0o755).unwrap();
        }
        writer.file("conf/modules", 0o644, b"").unwrap();
        writer.file("conf/conf.d/resume", 0o644, b"RESUME=/dev/sda5\n").unwrap();
        writer.file("etc/mdadm/mdadm.conf", 0o644, b"ARRAY /dev/md0 UUID=1:2 devices=/dev/sda1,/dev/sdb1\n").unwrap();
        let (_folder, tree) = guest(&writer.finish().unwrap());
        let first = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
        assert_eq!(first.changes[0].edits.len(), 3, "{:?}", first.changes[0].edits);
        tree.write(&first.changes[0]).unwrap();
        let bytes = tree.read(&format!("/boot/initrd.img-{RELEASE}")).unwrap().unwrap();
        let listing = read_listing(&bytes, &|_| true).unwrap();
        assert_eq!(listing.contents["conf/conf.d/resume"], b"RESUME=UUID=aaaa-5\n");
        assert_eq!(listing.contents["etc/mdadm/mdadm.conf"], b"ARRAY /dev/md0 UUID=1:2\n");
        assert_eq!(
            fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap().changes.len(),
            1,
            "the guest's own list"
        );
    }

    #[test]
    fn images_of_dracut_and_mkinitcpio_get_drivers() {
        for (marker, name, list) in [
            ("usr/lib/dracut/x", format!("initramfs-{RELEASE}.img"), "etc/cmdline.d/99-replant.conf"),
            ("init_functions", "initramfs-linux.img".to_owned(), "config"),
        ] {
            let mut writer = Writer::new(Vec::new());
            writer.file("config", 0o644, b"MODULES=\"\"\n").unwrap();
            writer.file(marker, 0o644, b"").unwrap();
            let packed = zstd::encode_all(&writer.finish().unwrap()[..], 1).unwrap();
            let (folder, tree) = guest(b"");
            std::fs::remove_file(folder.path().join(format!("boot/initrd.img-{RELEASE}"))).unwrap();
            std::fs::write(folder.path().join("usr/lib/modules").join(RELEASE).join("pkgbase"), "linux\n").unwrap();
            std::fs::write(folder.path().join("boot").join(&name), packed).unwrap();
            let first = fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap();
            for change in &first.changes {
                tree.write(change).unwrap();
            }
            let listing = read_listing(&tree.read(&format!("/boot/{name}")).unwrap().unwrap(), &|_| true).unwrap();
            assert!(String::from_utf8_lossy(&listing.contents[list]).contains("virtio_blk"), "{name}");
            assert_eq!(fitted(&tree, &["virtio_blk"], &SkipList::default()).unwrap().changes, [], "{name}");
        }
    }
}
