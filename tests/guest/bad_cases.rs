//! Guests that cannot be converted as they are, in a booted agent: what is said, and what helps.

use std::fs;

use crate::common::TestSite;

use super::agent::{SEQUENCE, build, convert, guest_file, shell, small_vm};

const PATHS: &str = "PATH=$PATH:/usr/sbin:/sbin\n";

fn site() -> TestSite {
    site_of(|_| {})
}

/// A small guest with what `more` puts below `root/`.
fn site_of(more: impl FnOnce(&TestSite)) -> TestSite {
    let site = TestSite::new();
    more(&site);
    small_vm(&site);
    build(&site, &["--out", "agent"]).expect(0);
    site.write("sequence.xml", SEQUENCE.replace("ROOT", ""));
    site
}

/// Converts, which must fail, and change nothing; what is said.
#[track_caller]
fn refused(site: &TestSite) -> String {
    let before = fs::read(site.join("vm/disk0.raw")).unwrap();
    let said = convert(site, &[]).expect(1).stderr;
    assert!(fs::read(site.join("vm/disk0.raw")).unwrap() == before, "a refused conversion changes nothing: {said}");
    said
}

/// The same where its file systems were mounted for writing already: what is in them is as it was.
#[track_caller]
fn refused_late(site: &TestSite) -> String {
    let files = |name: &str| {
        shell(
            site,
            &format!(
                "{PATHS}mkdir {name}; debugfs -R 'rdump / {name}' 'vm/disk0.raw?offset=1048576' >/dev/null 2>&1\n\
                 cd {name}; find . -type f | sort | xargs cksum; cd ..; rm -r {name}"
            ),
        )
    };
    let before = files("before");
    assert!(before.contains("./etc/fstab"), "{before}");
    let said = convert(site, &[]).expect(1).stderr;
    assert_eq!(files("after"), before, "a refused conversion changes nothing: {said}");
    said
}

#[test]
fn of_two_roots_the_plan_names_one() {
    let site = site();
    shell(
        &site,
        &format!(
            "{PATHS}mke2fs -q -t ext4 -U 99999999-2222-3333-4444-555555555555 -d root other 30M >/dev/null 2>&1\n\
             truncate -s 32M vm/disk1.raw; printf 'label: dos\\nstart=2048,type=83\\n' | sfdisk -q vm/disk1.raw\n\
             dd if=other of=vm/disk1.raw bs=1M seek=1 conv=notrunc status=none"
        ),
    );
    let said = refused(&site);
    for part in
        ["several file systems look like the root", "/dev/disk0p1", "/dev/disk1p1", "UUID=99999999", "guest.root"]
    {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    site.write("sequence.xml", SEQUENCE.replace("ROOT", "<parameter name=\"root\">/dev/disk0p1</parameter>"));
    convert(&site, &[]).expect(0);
    assert!(guest_file(&site, "/etc/fstab").contains("UUID=11111111"));
}

#[test]
fn without_a_root_it_says_what_is_there() {
    let site = site();
    shell(
        &site,
        &format!(
            "{PATHS}mkdir data; echo x > data/file; mke2fs -q -t ext4 -L DATA -d data part 30M >/dev/null 2>&1\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none"
        ),
    );
    let said = refused(&site);
    assert!(said.contains("holds a Linux system") && said.contains("/dev/disk0p1 ext4"), "{said}");
}

#[test]
fn a_damaged_file_system_and_a_sleeping_machine_are_left_alone() {
    let site = site();
    shell(
        &site,
        &format!(
            "{PATHS}debugfs -w -R 'ssv state 2' part >/dev/null 2>&1\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none"
        ),
    );
    let said = refused(&site);
    assert!(said.contains("/dev/disk0p1") && said.contains("damaged") && said.contains("fsck"), "{said}");
    shell(
        &site,
        &format!(
            "{PATHS}debugfs -w -R 'ssv state 1' part >/dev/null 2>&1\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none\n\
             truncate -s 16M vm/disk1.raw; mkswap vm/disk1.raw >/dev/null\n\
             printf 'S1SUSPEND\\0' | dd of=vm/disk1.raw bs=1 seek=4086 conv=notrunc status=none"
        ),
    );
    let said = refused(&site);
    assert!(said.contains("/dev/disk1") && said.contains("hibernated") && said.contains("shut it down"), "{said}");
}

/// A second partition behind the small guest's root.
fn add_partition(site: &TestSite, file: &str, kind: &str) {
    let table = format!("label: dos\\nstart=2048,size=61440,type=83\\nstart=65536,type={kind}\\n");
    shell(
        site,
        &format!(
            "{PATHS}truncate -s 56M vm/disk0.raw; printf '{table}' | sfdisk -q vm/disk0.raw\n\
             dd if={file} of=vm/disk0.raw bs=1M seek=32 conv=notrunc status=none"
        ),
    );
}

#[test]
fn a_kernel_without_the_targets_driver_is_refused_and_an_unknown_distribution_is_converted_with_a_warning() {
    let site = site_of(|site| {
        site.write("root/lib/modules/2.6.18-old/modules.dep", "kernel/fs/ext3.ko:\n");
        site.write("root/boot/initrd-2.6.18-old.img", "");
    });
    let said = refused_late(&site);
    for part in
        ["kernel 2.6.18-old has no driver virtio_blk", "install a kernel that has it", "guest.skip: [initramfs]"]
    {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    let skipping = "<parameter name=\"skip\">initramfs</parameter><parameter name=\"driver\">";
    site.write("sequence.xml", SEQUENCE.replace("ROOT", "").replace("<parameter name=\"driver\">", skipping));
    let words = ["guest", "convert", "--machine", "small", "--vm-folder", "vm", "--agent", "agent"];
    let said = site.replant(&[&words[..], &["--sequence", "sequence.xml"]].concat()).expect(0).stdout;
    assert!(said.contains("without an `ID`") && said.contains("none of the families Debian, Red Hat"), "{said}");
    assert!(guest_file(&site, "/etc/fstab").contains("UUID=11111111"));
}

#[test]
fn a_full_boot_is_seen_before_anything_is_changed() {
    let site = site_of(|site| {
        let modules = "root/lib/modules/6.1.0-1-test";
        site.write(&format!("{modules}/modules.dep"), "kernel/virtio_blk.ko:\n");
        // Bytes that no file system leaves out as zeros.
        site.write(&format!("{modules}/kernel/virtio_blk.ko"), "driver".repeat(1 << 20));
        site.write("image/conf/modules", "ext4\n");
        site.write("boot/.keep", "");
        shell(site, "cd image && find . | cpio -o -H newc -R 0:0 --quiet > ../boot/initrd.img-6.1.0-1-test");
    });
    site.write("root/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 /boot ext4 defaults 0 2\n");
    shell(
        &site,
        &format!(
            "{PATHS}rm -r root/boot/*; mke2fs -q -t ext4 -d root part 30M >/dev/null 2>&1\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none\n\
             mke2fs -q -t ext4 -d boot second 6M >/dev/null 2>&1"
        ),
    );
    add_partition(&site, "second", "83");
    let said = refused_late(&site);
    let needed = said.split("the change needs ").nth(1).and_then(|rest| rest.split(':').next());
    let needed: u64 = needed.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"));
    assert!(needed >= 6 << 20, "{said}");
    for part in ["/boot/initrd.img-6.1.0-1-test has ", "bytes free", "make room in the source", "guest.skip"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
}

#[test]
fn a_loader_for_32_bit_firmware_does_not_start_from_uefi_and_a_32_bit_guest_from_bios_is_converted() {
    let site = site_of(|site| {
        // The kernel and the programs of a 32-bit system; nothing of them is run.
        site.write("root/lib/modules/6.1.0-1-686-pae/modules.dep", "kernel/fs/ext4.ko:\n");
        site.write("root/lib/modules/6.1.0-1-686-pae/modules.builtin", "kernel/virtio_blk.ko\n");
        site.write("root/lib/ld-linux.so.2", "\x7fELF\x01\x01\x01");
    });
    site.write("root/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 /boot/efi vfat defaults 0 2\n");
    site.write("ia32.efi", "MZ");
    shell(
        &site,
        &format!(
            "{PATHS}mkdir -p root/boot/efi; mke2fs -q -t ext4 -d root part 30M >/dev/null 2>&1\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none\n\
             mkfs.vfat -C -i 12345678 second 8192 >/dev/null; mmd -i second ::/EFI ::/EFI/debian\n\
             mcopy -i second ia32.efi ::/EFI/debian/grubia32.efi"
        ),
    );
    add_partition(&site, "second", "ef");
    let uefi = "<parameter name=\"firmware\">uefi</parameter><parameter name=\"driver\">";
    site.write("sequence.xml", SEQUENCE.replace("ROOT", "").replace("<parameter name=\"driver\">", uefi));
    let said = refused_late(&site);
    for part in ["32-bit firmware only", "debian/grubia32.efi", "firmware: bios"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
    site.write("sequence.xml", SEQUENCE.replace("ROOT", ""));
    convert(&site, &[]).expect(0);
    assert!(guest_file(&site, "/etc/fstab").contains("UUID=1234-5678 /boot/efi vfat"));
}

#[test]
fn a_root_whose_files_cannot_be_read_is_named() {
    let site = site();
    // The marks say that it is clean; what they do not know of is a folder that was overwritten.
    shell(
        &site,
        &format!(
            "{PATHS}size=$(dumpe2fs -h part 2>/dev/null | awk '/^Block size/ {{ print $3 }}')\n\
             for block in $(debugfs -R 'blocks /etc' part 2>/dev/null); do\n\
             head -c $size /dev/urandom | dd of=part bs=$size seek=$block conv=notrunc status=none; done\n\
             dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none"
        ),
    );
    let said = convert(&site, &[]).expect(1).stderr;
    for part in ["/dev/disk0p1 (ext4)", "reading /etc/os-release", "fsck"] {
        assert!(said.contains(part), "`{part}` is missing: {said}");
    }
}

#[test]
fn an_encrypted_root_opens_with_its_key_only() {
    let site = site();
    site.write("key", "secret");
    site.write("root/etc/fstab", "# mine\n/dev/mapper/root / ext4 defaults 0 1\n");
    site.write("root/etc/crypttab", "# its container\nroot /dev/sda1 none luks\n");
    site.write("root/boot/grub/grub.cfg", "linux /vmlinuz root=/dev/mapper/root ro\n");
    // A container of LUKS, made without the kernel's help; qemu-img gives up where a busy machine spoils its measurement of
    // how fast a key is derived.
    let container = "--object secret,id=key,file=key -o key-secret=key,iter-time=10";
    shell(
        &site,
        &format!(
            "{PATHS}mke2fs -q -F -t ext4 -d root part 30M >/dev/null 2>&1\n\
             for try in $(seq 60); do\n\
             qemu-img convert -q -f raw -O luks {container} part container 2>said && break; done\n\
             truncate -s 40M vm/disk0.raw; printf 'label: dos\\nstart=2048,type=83\\n' | sfdisk -q vm/disk0.raw\n\
             dd if=container of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none"
        ),
    );
    let uuid = shell(&site, &format!("{PATHS}blkid -p -o value -s UUID container")).trim().to_owned();
    let said = refused(&site);
    assert!(said.contains("encrypted with LUKS") && said.contains(&uuid) && said.contains("guest.keys"), "{said}");
    site.write("wrong", "guess");
    let said = convert(&site, &["--luks-key", &format!("{uuid}=file:wrong")]).expect(1).stderr;
    assert!(said.contains(&uuid) && !said.contains("guess"), "{said}");

    convert(&site, &["--luks-key", &format!("{uuid}=file:key")]).expect(0);
    let opened = "--object secret,id=key,file=key --image-opts driver=luks,key-secret=key,file.filename=container";
    let read = |path: &str| {
        let open = format!("qemu-img convert -q {opened} -O raw part; debugfs -R 'cat {path}' part 2>/dev/null");
        shell(&site, &format!("{PATHS}dd if=vm/disk0.raw of=container bs=1M skip=1 status=none; {open}"))
    };
    assert_eq!(read("/etc/crypttab"), format!("# its container\nroot UUID={uuid} none luks\n"));
    assert!(read("/etc/fstab").contains("# mine\n/dev/mapper/root / ext4"));
}
