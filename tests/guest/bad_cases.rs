//! Guests that cannot be converted as they are, in a booted agent: what is said, and what helps.

use std::fs;

use crate::common::TestSite;

use super::agent::{SEQUENCE, build, convert, guest_file, shell, small_vm};

const PATHS: &str = "PATH=$PATH:/usr/sbin:/sbin\n";

fn site() -> TestSite {
    let site = TestSite::new();
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
