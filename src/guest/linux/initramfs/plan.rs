//! What each initramfs of a guest needs.

use super::super::super::{DeviceNames, FileChange, GuestTree, SkipList, TreeError};
use super::config;
use super::error::InitramfsError;
use super::image::{Step, Wanted, image};
use super::modules::ModuleTree;
use super::rebuild::{InitramfsChoice, Rebuild};

/// What is changed so that the guest's kernels find their disks on the target.
#[derive(Clone, Debug, Default)]
pub struct InitramfsPlan {
    /// The changes.
    pub changes: Vec<FileChange>,
    /// What the guest's own tool makes anew, when the changes are made.
    pub rebuilds: Vec<Rebuild>,
    /// Kernels that will find their disks.
    pub releases: Vec<String>,
    /// Kernels that will not.
    pub unfit: Vec<String>,
    /// What people should know.
    pub warnings: Vec<String>,
}

/// Drivers that a target offers, and that a guest boots without.
const OPTIONAL: [&str; 4] = ["virtio_scsi", "virtio_net", "virtio_rng", "virtio_balloon"];

/// Looks at every initramfs in `/boot`. `drivers` are the target's drivers; `links` are files below `/etc/systemd/network`, by
/// name, that give adapters their names: udev inside the initramfs sees some adapters before the guest's own does. `choice`
/// says how an initramfs gets what it lacks.
pub fn plan(
    tree: &GuestTree,
    names: &DeviceNames<'_>,
    drivers: &[&str],
    links: &[(String, Vec<u8>)],
    (skip, choice): (&SkipList, InitramfsChoice),
) -> Result<InitramfsPlan, InitramfsError> {
    let wanted = Wanted { names, drivers, links, skip, choice };
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
        match kernel(tree, &modules, images, &wanted) {
            Ok(steps) => {
                for step in steps {
                    match step {
                        Step::Fits => {}
                        Step::Overlay(change) => plan.changes.push(change),
                        Step::Rebuild(rebuild) => plan.rebuilds.push(*rebuild),
                    }
                }
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

/// What one kernel's images need.
fn kernel(
    tree: &GuestTree,
    modules: &ModuleTree,
    images: Vec<String>,
    wanted: &Wanted<'_>,
) -> Result<Vec<Step>, InitramfsError> {
    let needed = wanted.drivers.iter().filter(|name| !OPTIONAL.contains(name));
    let absent: Vec<String> = needed.filter(|name| !modules.has(name)).map(|name| (*name).to_owned()).collect();
    if !absent.is_empty() {
        return Err(InitramfsError::NoDriver { release: modules.release.clone(), drivers: absent });
    }
    images.iter().map(|path| image(tree, path, modules, wanted)).collect()
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

#[cfg(test)]
mod tests {
    use super::super::super::super::cpio::{LINK, Writer};
    use super::super::listing::read_listing;
    use super::*;

    use crate::guest::Edit;
    use crate::guest::disks::tests::two_disks;

    const RELEASE: &str = "6.1.0-1-test";
    const CONFIG: &str = "/etc/initramfs-tools/modules";

    fn fitted(tree: &GuestTree, drivers: &[&str], skip: &SkipList) -> Result<InitramfsPlan, InitramfsError> {
        let disks = two_disks();
        plan(tree, &DeviceNames::new(&disks), drivers, &[], (skip, InitramfsChoice::Auto))
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
    fn where_no_overlay_can_be_made_the_guests_own_tool_is_to_run() {
        let disks = two_disks();
        let chosen = |tree: &GuestTree, choice, skip: &[&str]| {
            let skip = SkipList::new(skip.iter().map(|id| (*id).to_owned()));
            plan(tree, &DeviceNames::new(&disks), &["virtio_blk"], &[], (&skip, choice))
        };
        let path = format!("/boot/initrd.img-{RELEASE}");
        // A maker that nobody knows, and bytes that nobody can read.
        for image in [initrd("run_all.sh"), b"BZh91AY&SY".to_vec()] {
            let (folder, tree) = guest(&image);
            std::fs::create_dir_all(folder.path().join("usr/sbin")).unwrap();
            std::fs::write(folder.path().join("usr/sbin/mkinitramfs"), "").unwrap();
            let found = chosen(&tree, InitramfsChoice::Auto, &[]).unwrap();
            let rebuild = found.rebuilds.first().unwrap();
            assert_eq!((found.rebuilds.len(), rebuild.path.as_str()), (1, path.as_str()));
            assert_eq!(rebuild.words("/boot/n"), ["/usr/sbin/mkinitramfs", "-o", "/boot/n", RELEASE]);
            assert_eq!(found.changes.len(), 1, "the guest's list of modules comes first: {:?}", found.changes);
            assert!(chosen(&tree, InitramfsChoice::Overlay, &[]).is_err(), "no program of the guest runs");
            let skipped = chosen(&tree, InitramfsChoice::Auto, &["initramfs.drivers"]);
            assert!(skipped.is_err() || skipped.unwrap().rebuilds.is_empty());
        }
        let (folder, tree) = guest(&initrd("conf/modules"));
        let error = chosen(&tree, InitramfsChoice::Rebuild, &[]).unwrap_err();
        assert!(matches!(error, InitramfsError::NoTool { .. }), "{error}");
        assert!(error.to_string().contains("none of mkinitramfs, dracut, mkinitcpio, mkinitfs"), "{error}");
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        std::fs::write(folder.path().join("usr/bin/dracut"), "").unwrap();
        assert_eq!(chosen(&tree, InitramfsChoice::Rebuild, &[]).unwrap().rebuilds.len(), 1);
        assert_eq!(chosen(&tree, InitramfsChoice::Auto, &[]).unwrap().rebuilds, []);
    }

    #[test]
    fn names_of_adapters_hold_in_the_initramfs_too() {
        let (_folder, tree) = guest(&initrd("usr/lib/systemd/network/99-default.link"));
        let disks = two_disks();
        let links = [("10-replant-eth0.link".to_owned(), b"[Match]\n".to_vec())];
        let planned = || {
            plan(&tree, &DeviceNames::new(&disks), &[], &links, (&SkipList::default(), InitramfsChoice::Auto)).unwrap()
        };
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
