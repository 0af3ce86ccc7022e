//! An initramfs that no overlay can be made for, in a booted agent: made anew by a program of the guest, and what is said when
//! that program does not do its work. Its real tools are in the matrix.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::TestSite;

use super::agent::{SEQUENCE, build, convert, guest_file, shell, small_vm};

const RELEASE: &str = "6.1.0-1-test";
const IMAGE: &str = "/boot/initrd.img-6.1.0-1-test";
const BIN: &str =
    "for tool in sh cat cp echo find cpio grep mkdir ls sleep bzip2 bunzip2 rm; do ln -s busybox root/bin/$tool; done";

/// Collects what `/etc/initramfs-tools/modules` lists, as the real one does, where it is told to, and seeing no network.
const MAKES: &str = r#"#!/bin/sh -e
[ "$1" = -o ]; out=$2 release=$3
mkdir "$TMPDIR/tree"; cd "$TMPDIR/tree"
while read -r name; do
    case $name in '#'*) continue ;; esac
    mkdir -p "lib/modules/$release/kernel"
    cp "/lib/modules/$release/kernel/$name.ko" "lib/modules/$release/kernel/"
done < /etc/initramfs-tools/modules
! grep -q : /proc/net/dev || [ "$(grep -c : /proc/net/dev)" = 1 ]
echo collected > /tmp/notes
find . | cpio -o -H newc | bzip2 > "$out"
sleep 1000 &
"#;
/// Lists an image that is compressed in a way that we cannot read.
const LISTS: &str = "#!/bin/sh -e\nbunzip2 -c < \"$1\" | cpio -t\n";

/// A guest whose initramfs was made by nobody that is known, and that has this program to make another.
fn site(mkinitramfs: &str) -> TestSite {
    let site = TestSite::new();
    fs::create_dir_all(site.join("root/bin")).unwrap();
    fs::copy("/bin/busybox", site.join("root/bin/busybox")).expect("Debian package busybox-static");
    shell(&site, &format!("{BIN}; mkdir -p root/proc root/dev root/sys root/tmp root/var/tmp image/odd"));
    let modules = format!("root/lib/modules/{RELEASE}");
    for name in ["virtio", "virtio_blk"] {
        site.write(&format!("{modules}/kernel/{name}.ko"), name);
    }
    site.write(&format!("{modules}/modules.dep"), "kernel/virtio.ko:\nkernel/virtio_blk.ko: kernel/virtio.ko\n");
    site.write("root/etc/initramfs-tools/modules", "virtio\n");
    for (name, text) in [("mkinitramfs", mkinitramfs), ("lsinitramfs", LISTS)] {
        let path = format!("root/usr/sbin/{name}");
        site.write(&path, text);
        fs::set_permissions(site.join(&path), fs::Permissions::from_mode(0o755)).unwrap();
    }
    site.write("image/odd/init", "#!/bin/sh\n");
    fs::create_dir_all(site.join("root/boot")).unwrap();
    shell(&site, &format!("cd image && find . | cpio -o -H newc -R 0:0 --quiet > ../root{IMAGE}"));
    small_vm(&site);
    build(&site, &["--out", "agent"]).expect(0);
    site.write("sequence.xml", SEQUENCE.replace("ROOT", ""));
    site
}

fn list(site: &TestSite, folder: &str) -> String {
    shell(
        site,
        &format!("PATH=$PATH:/usr/sbin:/sbin; debugfs -R 'ls -p {folder}' 'vm/disk0.raw?offset=1048576' 2>/dev/null"),
    )
}

/// The old image, and nothing beside it, nor in the folder for what is temporary.
#[track_caller]
fn kept_as_it_was(site: &TestSite) {
    let old = shell(site, &format!("cat root{IMAGE}"));
    assert!(guest_file(site, IMAGE) == old, "the old initramfs is kept");
    let left = list(site, "/boot") + &list(site, "/var/tmp");
    assert!(!left.contains(".replant") && !left.contains("replant-initramfs"), "{left}");
}

#[test]
fn a_program_of_the_guest_makes_it_anew_and_once() {
    let site = site(MAKES);
    let overlay = "<parameter name=\"initramfs\">overlay</parameter><parameter name=\"driver\">";
    let only = SEQUENCE.replace("ROOT", "").replace("<parameter name=\"driver\">", overlay);
    site.write("sequence.xml", only);
    let said = convert(&site, &[]).expect(1).stderr;
    assert!(said.contains("made by none of initramfs-tools"), "no program of the guest runs: {said}");
    kept_as_it_was(&site);

    site.write("sequence.xml", SEQUENCE.replace("ROOT", ""));
    let done = convert(&site, &[]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("the report is JSON");
    let edits = report["edits"].as_array().expect("a list of edits");
    let made = edits.iter().find(|edit| edit["id"] == "initramfs.drivers").unwrap_or_else(|| panic!("{edits:#?}"));
    let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
    assert!(text("before").contains("made by an unknown tool, 0 modules, without virtio virtio_blk"), "{made}");
    assert!(text("after").contains("made anew by the guest's /usr/sbin/mkinitramfs"), "{made}");
    assert!(text("after").ends_with("2 modules, with virtio virtio_blk"), "{made}");
    let at = "PATH=$PATH:/usr/sbin:/sbin; debugfs -R 'dump";
    let listed = shell(
        &site,
        &format!("{at} {IMAGE} new' 'vm/disk0.raw?offset=1048576' 2>/dev/null; bunzip2 -c < new | cpio -t --quiet"),
    );
    assert!(listed.contains(&format!("lib/modules/{RELEASE}/kernel/virtio_blk.ko")), "{listed}");
    let left = list(&site, "/boot") + &list(&site, "/var/tmp") + &list(&site, "/tmp");
    for name in [".replant", "replant-initramfs", "notes"] {
        assert!(!left.contains(name), "nothing is left behind: {left}");
    }
}

#[test]
fn a_tool_that_fails_is_named_with_what_it_said_and_the_old_image_stays() {
    let fails = "#!/bin/sh\necho half > \"$2\"\necho cp: no such firmware >&2\nexit 3\n";
    let site = site(fails);
    let said = convert(&site, &[]).expect(1).stderr;
    for part in [IMAGE, "/usr/sbin/mkinitramfs", "exit status: 3", "no such firmware", "guest.skip: [initramfs]"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    kept_as_it_was(&site);
}

#[test]
fn a_tool_that_ends_well_without_the_driver_is_not_believed() {
    let site = site(
        &MAKES
            .replace("while read", "rm -f /x; echo virtio | while read")
            .replace(" < /etc/initramfs-tools/modules", ""),
    );
    let said = convert(&site, &[]).expect(1).stderr;
    for part in [IMAGE, "ended well", "still lacks virtio_blk", "old one is kept", "guest.skip: [initramfs]"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    kept_as_it_was(&site);
}
