//! The agent as it is built from Debian packages, and a whole guest step in a VM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Finished, TestSite, require_tool};

/// Packages are downloaded once for all tests.
fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end/agent")
}

pub(super) fn build(site: &TestSite, words: &[&str]) -> Finished {
    for (tool, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        require_tool(tool, package);
    }
    fs::create_dir_all(cache()).unwrap();
    let lock = fs::File::create(cache().join("lock")).unwrap();
    lock.lock().unwrap();
    let mut arguments = vec!["agent", "build"];
    arguments.extend(words);
    let output = site.command(&arguments).env("REPLANT_CACHE", cache()).output().expect("replant starts");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn the_same_inputs_make_the_same_agent_and_are_not_built_twice() {
    let site = TestSite::new();
    build(&site, &["--out", "one", "--check"]).expect(10);
    assert!(build(&site, &["--out", "one"]).expect(0).stdout.contains("agent built"));
    build(&site, &["--out", "one", "--check"]).expect(0);
    assert!(build(&site, &["--out", "one"]).expect(0).stdout.contains("agent unchanged"));
    assert!(build(&site, &["--out", "two"]).expect(0).stdout.contains("agent built"));
    for file in ["vmlinuz", "agent.img", "agent.json"] {
        assert!(
            fs::read(site.join("one").join(file)).unwrap() == fs::read(site.join("two").join(file)).unwrap(),
            "{file}"
        );
    }
    let image = site.join("two/agent.img");
    let mut bytes = fs::read(&image).unwrap();
    bytes[1000] ^= 1;
    fs::write(&image, bytes).unwrap();
    build(&site, &["--out", "two", "--check"]).expect(11);
    assert!(build(&site, &["--out", "two"]).expect(0).stdout.contains("agent built"), "a damaged agent is built again");
}

const START: &str = r#"#!/bin/sh
set -eu
cd "${0%/*}"
[ "$1" = agent ]
exec qemu-system-x86_64 -accel tcg,tb-size=256 -m 384 -nodefaults -display none -daemonize -no-reboot \
    -kernel "$2" -initrd "$3" -append "$4" -netdev user,id=n,ipv6=off -device virtio-net-pci,netdev=n \
    $(for disk in disk?.raw; do disk=${disk%.raw}
        echo "-drive if=none,id=$disk,format=raw,file=$disk.raw,cache=unsafe -device virtio-blk-pci,drive=$disk,serial=$disk"
    done) \
    -pidfile qemu.pid -qmp unix:qmp.sock,server=on,wait=off \
    -chardev socket,id=c,path=console.sock,server=on,wait=off,logfile=console.log -serial chardev:c
"#;

pub(super) const SEQUENCE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<sequence xmlns="urn:replant:sequence:1" id="small_deploy-vm" description="A small guest">
  <step id="geometry" command="disk.geometry"><parameter name="disk">disk0</parameter></step>
  <step id="detect" command="guest.detect">ROOT</step>
  <step id="convert" command="guest.convert"><parameter name="driver">virtio_blk</parameter></step>
  <step id="flush" command="disk.flush"/>
</sequence>
"#;

/// A VM folder whose disk holds a small Linux tree on its first partition, without a kernel of its own.
pub(super) fn small_vm(site: &TestSite) {
    for (tool, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("mke2fs", "e2fsprogs"), ("sfdisk", "fdisk")] {
        let path = std::env::var("PATH").unwrap_or_default();
        let found = format!("{path}:/usr/sbin:/sbin").split(':').any(|folder| Path::new(folder).join(tool).is_file());
        assert!(found, "this test needs `{tool}`: apt-get install {package} (tests/run.sh installs it)");
    }
    site.write("root/etc/fstab", "# mine\n/dev/sda1 / ext4 defaults 0 1\n");
    site.write("root/etc/os-release", "PRETTY_NAME=\"Small Linux\"\n");
    site.write("root/sbin/init", "#!/bin/sh\n");
    site.write("root/boot/grub/grub.cfg", "linux /vmlinuz root=/dev/sda1 ro\n");
    site.write("vm/start.sh", START);
    let script = "PATH=$PATH:/usr/sbin:/sbin\n\
        mke2fs -q -t ext4 -U 11111111-2222-3333-4444-555555555555 -d root part 30M >/dev/null 2>&1\n\
        truncate -s 32M vm/disk0.raw\n\
        printf 'label: dos\\nstart=2048,type=83\\n' | sfdisk -q vm/disk0.raw\n\
        dd if=part of=vm/disk0.raw bs=1M seek=1 conv=notrunc status=none";
    shell(site, script);
}

pub(super) fn shell(site: &TestSite, script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).current_dir(site.path()).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A file of the guest, read without mounting.
pub(super) fn guest_file(site: &TestSite, path: &str) -> String {
    shell(
        site,
        &format!("PATH=$PATH:/usr/sbin:/sbin; debugfs -R 'cat {path}' 'vm/disk0.raw?offset=1048576' 2>/dev/null"),
    )
}

pub(super) fn convert(site: &TestSite, words: &[&str]) -> Finished {
    let mut arguments = vec!["--json", "guest", "convert", "--machine", "small", "--vm-folder", "vm"];
    arguments.extend(["--agent", "agent", "--sequence", "sequence.xml"]);
    arguments.extend(words);
    site.replant(&arguments)
}

#[test]
fn a_guest_step_in_a_vm_changes_the_disk_reports_it_and_leaves_the_vm_off() {
    let site = TestSite::new();
    small_vm(&site);
    build(&site, &["--out", "agent"]).expect(0);

    let wrong = SEQUENCE.replace("ROOT", "<parameter name=\"root\">LABEL=elsewhere</parameter>");
    site.write("sequence.xml", wrong);
    let failed = convert(&site, &[]).expect(1);
    assert!(failed.stderr.contains("LABEL=elsewhere") && failed.stderr.contains("Small Linux"), "{}", failed.stderr);
    assert!(site.replant(&["vm", "status", "--folder", "vm"]).expect(0).stdout.contains("off"));
    assert!(guest_file(&site, "/etc/fstab").contains("/dev/sda1"), "a refused conversion changes nothing");

    site.write("sequence.xml", SEQUENCE.replace("ROOT", ""));
    convert(&site, &["--check"]).expect(10);
    let done = convert(&site, &[]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("the report is JSON");
    let edits = report["edits"].as_array().expect("a list of edits");
    assert_eq!(edits.len(), 2, "{edits:?}");
    assert_eq!(edits[0]["before"], "/dev/sda1 / ext4 defaults 0 1");
    assert_eq!(report["facts"]["guest.system"], "Small Linux");
    let uuid = "UUID=11111111-2222-3333-4444-555555555555";
    assert_eq!(guest_file(&site, "/etc/fstab"), format!("# mine\n{uuid} / ext4 defaults 0 1\n"));
    assert_eq!(guest_file(&site, "/boot/grub/grub.cfg"), format!("linux /vmlinuz root={uuid} ro\n"));
    assert!(site.replant(&["vm", "status", "--folder", "vm"]).expect(0).stdout.contains("off"));
    convert(&site, &["--check"]).expect(0);
    convert(&site, &["--undo"]).expect(0);
    convert(&site, &["--check"]).expect(10);
}

#[test]
fn an_inspection_becomes_a_document_and_the_edits_of_a_plan() {
    let site = TestSite::new();
    small_vm(&site);
    build(&site, &["--out", "agent"]).expect(0);
    let done = site.replant(&["inspect", "vm/disk0.raw", "--agent", "agent", "--facts", "facts", "--name", "small"]);
    let said = done.expect(0).stdout;
    assert!(said.contains("Small Linux on /dev/disk0p1"), "{said}");
    let document = fs::read_to_string(site.join("facts/small.xml")).unwrap();
    for part in ["Small Linux", "inspection", "UUID=11111111-2222-3333-4444-555555555555", "GRUB 2"] {
        assert!(document.contains(part), "{part}: {document}");
    }
    site.write("vms/.keep", "");
    site.write(
        "plan.yaml",
        "replant: 1\nname: small\nstore: { encryption: none }\n\
         hosts: { local: { provider: qemu, settings: { folder: vms } } }\n\
         machines:\n  - name: small\n    source: { disks: [{ path: vm/disk0.raw }] }\n    target: { host: local, memory: 256MiB, cpus: 1 }\n",
    );
    let words = ["--json", "plan", "plan.yaml", "--detail", "--inspect"];
    let output = site.command(&words).env("REPLANT_CACHE", cache()).output().expect("replant starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let plan: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"));
    let edits = plan["guests"][0]["edits"].as_array().unwrap_or_else(|| panic!("{plan:#}"));
    let fstab = edits.iter().find(|edit| edit["path"] == "/etc/fstab").unwrap_or_else(|| panic!("{edits:#?}"));
    assert_eq!(fstab["before"], "/dev/sda1 / ext4 defaults 0 1");
}
