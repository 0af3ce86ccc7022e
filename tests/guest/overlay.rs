//! The overlay on an initramfs that the usual tools made, judged by the usual tools: cpio unpacks it, modprobe finds its
//! way in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use replant::guest::{Content, ConvertOptions, GuestTree, SkipList, SystemDisks, plan};

use crate::common::{TestSite, require_tool};

const RELEASE: &str = "6.1.0-1-test";
const DEP: &str = "kernel/drivers/virtio/virtio.ko:\n\
    kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
    kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
    kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
    kernel/drivers/ata/ata_piix.ko:\n\
    kernel/fs/ext4/ext4.ko:\n";
const ALIAS: &str = "alias virtio:d00000002v* virtio_blk\nalias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci\n\
    alias fs-ext4 ext4\nalias fs-xfs xfs\n";

fn sh(script: &str, folder: &Path) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A guest below `guest/` whose initramfs, packed by `pack`, has ext4 and the old disk's driver only.
fn guest(site: &TestSite, pack: &str) -> GuestTree {
    let modules = format!("guest/usr/lib/modules/{RELEASE}");
    for line in DEP.lines() {
        let (path, _) = line.split_once(':').unwrap();
        site.write(&format!("{modules}/{path}"), format!("module {path}"));
    }
    site.write(&format!("{modules}/modules.dep"), DEP);
    site.write(&format!("{modules}/modules.alias"), ALIAS);
    site.write("guest/etc/initramfs-tools/modules", "ext4\n");
    symlink("usr/lib", site.join("guest/lib")).unwrap();
    let inside = format!("tree/usr/lib/modules/{RELEASE}");
    for path in ["kernel/drivers/ata/ata_piix.ko", "kernel/fs/ext4/ext4.ko"] {
        site.write(&format!("{inside}/{path}"), format!("module {path}"));
    }
    site.write("tree/conf/modules", "ext4\n");
    site.write("tree/init", "#!/bin/sh\n");
    symlink("usr/lib", site.join("tree/lib")).unwrap();
    fs::create_dir_all(site.join("guest/boot")).unwrap();
    sh(
        &format!(
            "cd tree && find . | sort | cpio -o -H newc -R 0:0 --quiet | {pack} > ../guest/boot/initrd.img-{RELEASE}"
        ),
        site.path(),
    );
    GuestTree::new(site.join("guest"))
}

#[test]
fn modprobe_finds_the_added_drivers_in_every_kind_of_initramfs() {
    for (tool, package) in [("cpio", "cpio"), ("zstd", "zstd"), ("xz", "xz-utils")] {
        require_tool(tool, package);
    }
    let modprobe = ["/sbin/modprobe", "/usr/sbin/modprobe"].into_iter().find(|path| Path::new(path).exists());
    let modprobe = modprobe.expect("this test needs modprobe: apt-get install kmod (tests/run.sh installs it)");
    for pack in ["cat", "gzip -1", "zstd -q -3", "xz --check=crc32 -1"] {
        let site = TestSite::new();
        let tree = guest(&site, pack);
        let options = ConvertOptions {
            drivers: vec!["virtio_pci".into(), "virtio_blk".into()],
            skip: SkipList::default(),
            ..ConvertOptions::default()
        };
        let path = site.join(format!("guest/boot/initrd.img-{RELEASE}"));
        let before = fs::read(&path).unwrap();
        let conversion = plan(&tree, &SystemDisks::default(), &options).unwrap();
        let appended = match &conversion.changes[0].content {
            Content::Append { bytes, align: 4 } => bytes.clone(),
            other => panic!("{other:?}"),
        };
        for change in &conversion.changes {
            tree.write(change).unwrap();
        }
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&before), "{pack}: what was there stays, byte for byte");
        assert!(after.ends_with(&appended) && (after.len() - appended.len()).is_multiple_of(4), "{pack}: aligned");
        let again = plan(&tree, &SystemDisks::default(), &options).unwrap();
        assert_eq!(again.changes, [], "{pack}: converting twice equals converting once");

        // As the kernel does it: the second archive is unpacked over what the first has made.
        fs::write(site.join("overlay"), &appended).unwrap();
        sh("cd tree && cpio -idmu --quiet < ../overlay", site.path());
        assert!(fs::symlink_metadata(site.join("tree/lib")).unwrap().is_symlink(), "{pack}: the link is kept");
        assert_eq!(site.read("tree/conf/modules"), "ext4\nvirtio_pci\nvirtio_blk\n");
        let shown = |name: &str| sh(&format!("{modprobe} -d tree -S {RELEASE} --show-depends {name}"), site.path());
        let blk = shown("virtio_blk");
        let names: Vec<&str> = blk.lines().filter_map(|line| line.trim().rsplit('/').next()).collect();
        assert_eq!(names, ["virtio.ko", "virtio_ring.ko", "virtio_blk.ko"], "{pack}");
        assert!(shown("ext4").contains("ext4.ko"), "{pack}: what the initramfs had is still known");
        let resolved = sh(&format!("{modprobe} -d tree -S {RELEASE} -R virtio:d00000002v00001AF4"), site.path());
        assert_eq!(resolved.trim(), "virtio_blk", "{pack}: udev finds the driver by the device's alias");
    }
}
