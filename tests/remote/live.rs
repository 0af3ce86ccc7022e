//! A disk of a running machine over ssh: a real sshd on the loopback, a real file system on a loop device.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::{BadDisk, Finished, TestSite, require_root, require_tool};
use crate::end_to_end::run;

const SIZE: u64 = 96 << 20;

/// An sshd that knows one key; it ends when dropped.
struct Sshd {
    child: Child,
    port: u16,
}

impl Sshd {
    fn start(site: &TestSite) -> Self {
        for (tool, package) in [("ssh", "openssh-client"), ("ssh-keygen", "openssh-client"), ("mkfs.ext4", "e2fsprogs")]
        {
            require_tool(tool, package);
        }
        assert!(Path::new("/usr/sbin/sshd").exists(), "this test needs sshd: apt-get install openssh-server");
        for name in ["host_key", "user_key", "other_key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(site.join(name)));
        }
        std::fs::create_dir_all("/run/sshd").expect("root may make it");
        std::fs::copy(site.join("user_key.pub"), site.join("authorized")).expect("the key can be copied");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        site.write(
            "sshd_config",
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n\
                 PidFile none\n",
                site.join("host_key").display(),
                site.join("authorized").display()
            ),
        );
        let known = |key: &str| format!("[127.0.0.1]:{port} {}", site.read(key));
        site.write("known_hosts", known("host_key.pub"));
        site.write("known_wrong", known("other_key.pub"));
        let log = File::create(site.join("sshd.log")).expect("a log");
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(site.join("sshd_config")).stdin(Stdio::null()).stderr(log);
        let child = command.spawn().expect("sshd starts");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "sshd does not listen:\n{}", site.read("sshd.log"));
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, port }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file as a block device with a file system, mounted if so asked.
struct Disk {
    file: PathBuf,
    device: String,
    mount: Option<PathBuf>,
}

impl Disk {
    fn new(site: &TestSite) -> Self {
        require_root();
        let (file, content) = (site.join("disk.raw"), site.join("content"));
        std::fs::create_dir_all(&content).expect("a folder");
        let mut noise = vec![0; 40 << 20];
        blake3::Hasher::new().update(b"files").finalize_xof().fill(&mut noise);
        std::fs::write(content.join("noise"), noise).expect("a file");
        File::create(&file).and_then(|file| file.set_len(SIZE)).expect("a file");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=0", "-d"]).arg(&content).arg(&file));
        let device = run(Command::new("losetup").args(["-f", "--show"]).arg(&file)).trim().to_owned();
        Self { file, device, mount: None }
    }

    fn mount(&mut self, site: &TestSite) -> PathBuf {
        // Below a mount that passes on what happens: a test beside this one may begin a network namespace, which keeps a copy
        // of all mounts, and a file system whose copy is mounted is not at rest.
        let passing = site.join("mounted");
        let point = passing.join("disk");
        std::fs::create_dir_all(&point).expect("a folder");
        run(Command::new("mount").arg("--bind").arg(&passing).arg(&passing));
        run(Command::new("mount").arg("--make-shared").arg(&passing));
        run(Command::new("mount").arg(&self.device).arg(&point));
        self.mount = Some(point.clone());
        point
    }

    fn unmount(&mut self) {
        if let Some(point) = self.mount.take() {
            run(Command::new("umount").arg(&point));
            run(Command::new("umount").arg(point.parent().expect("it lies in one that passes it on")));
        }
    }

    fn digest(&self) -> blake3::Hash {
        blake3::hash(&std::fs::read(&self.file).expect("the file can be read"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(point) = self.mount.take() {
            for point in point.ancestors().take(2) {
                let _ = Command::new("umount").arg("-l").arg(point).status();
            }
        }
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
    }
}

/// Somebody who writes a file on the disk again and again.
struct Writer(Arc<AtomicBool>, Option<JoinHandle<u64>>);

impl Writer {
    fn start(point: &Path) -> Self {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), point.join("log"));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the disk takes a file");
            let mut lines = 0;
            while !stopped.load(Ordering::Relaxed) {
                file.write_all(b"another line\n").and_then(|()| file.sync_all()).expect("it can be written");
                lines += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            lines
        });
        Self(stop, Some(thread))
    }

    fn end(mut self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().map_or(0, |thread| thread.join().expect("it has written"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn words(sshd: &Sshd, device: &str, more: &[&str]) -> Vec<String> {
    let (port, size) = (sshd.port.to_string(), SIZE.to_string());
    let words = [
        "source",
        "capture",
        "--json",
        "--store",
        "store",
        "--key",
        "file:.replant/store.key",
        "--machine",
        "live01",
        "--disk",
        "disk0",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--ssh-key",
        "user_key",
        "--identity",
        "ssh disk",
        "--device",
        device,
        "--size",
        &size,
    ];
    let known = if more.contains(&"--known-hosts") { &[][..] } else { &["--known-hosts", "known_hosts"][..] };
    [&words[..], known, more].concat().into_iter().map(str::to_owned).collect()
}

fn capture(site: &TestSite, sshd: &Sshd, device: &str, more: &[&str]) -> Finished {
    let words = words(sshd, device, more);
    site.replant(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn said(finished: &Finished) -> serde_json::Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

fn export(site: &TestSite) -> PathBuf {
    let _ = std::fs::remove_file(site.join("out.raw"));
    let key = ["--key", "file:.replant/store.key"];
    site.replant(&[&["image", "export", "live01/disk0", "out.raw", "--format", "raw"][..], &key].concat()).expect(0);
    site.join("out.raw")
}

fn site() -> TestSite {
    let site = TestSite::new();
    site.replant(&["init", "."]).expect(0);
    site
}

#[test]
fn a_disk_in_use_is_pre_copied_and_the_rest_is_short() {
    let site = site();
    let (sshd, mut disk) = (Sshd::start(&site), Disk::new(&site));
    let point = disk.mount(&site);
    let writer = Writer::start(&point);
    let finished = capture(&site, &sshd, &disk.device, &["--limit", "40MBps"]).expect(2);
    assert!(finished.stderr.contains("was written while it was read"), "{}", finished.stderr);
    let first = said(&finished);
    assert_eq!(first["consistent"], false);
    let shown = site.replant(&["image", "show", "live01/disk0", "--key", "file:.replant/store.key"]).expect(0);
    assert!(shown.stdout.contains("NOT CONSISTENT"), "{}", shown.stdout);
    assert!(writer.end() > 5, "somebody wrote meanwhile");
    disk.unmount();

    // What writes has ended: the second capture is consistent, and moves only what differs.
    let before = disk.digest();
    let second = said(&capture(&site, &sshd, &disk.device, &[]).expect(0));
    assert_eq!(second["consistent"], true, "{second}");
    let number = |value: &serde_json::Value, name: &str| value[name].as_u64().expect("a number");
    assert!(number(&first, "bytes_new") > 40 << 20);
    assert!(number(&second, "bytes_new") < 8 << 20, "{second}");
    assert_eq!(disk.digest(), before, "the source was not written");
    let out = export(&site);
    run(Command::new("e2fsck").args(["-fn"]).arg(&out));
    let noise = run(Command::new("debugfs").args(["-R", "stat /noise"]).arg(&out));
    assert!(noise.contains(&format!("Size: {}", 40 << 20)), "{noise}");
}

#[test]
fn a_frozen_file_system_is_one_state_and_goes_on_afterwards() {
    let site = site();
    let (sshd, mut disk) = (Sshd::start(&site), Disk::new(&site));
    let point = disk.mount(&site);
    let writer = Writer::start(&point);
    let frozen = said(&capture(&site, &sshd, &disk.device, &["--freeze", "5m"]).expect(0));
    assert_eq!(frozen["consistent"], true, "{frozen}");
    std::fs::write(point.join("after"), "it can be written again").expect("nothing stays frozen");
    assert!(writer.end() > 0);
    disk.unmount();
    run(Command::new("e2fsck").args(["-fn"]).arg(export(&site)));

    let wrong = capture(&site, &sshd, &disk.device, &["--known-hosts", "known_wrong"]).expect(75);
    assert!(wrong.stderr.contains("127.0.0.1"), "{}", wrong.stderr);
    let refused = capture(&site, &sshd, "/dev/no-such-disk", &[]).expect(1);
    assert!(refused.stderr.contains("/dev/no-such-disk is not there"), "{}", refused.stderr);
}

#[test]
fn a_capture_that_was_killed_goes_on_where_it_was_if_nothing_was_written() {
    let site = site();
    let (sshd, disk) = (Sshd::start(&site), Disk::new(&site));
    let words = words(&sshd, &disk.device, &["--limit", "8MBps"]);
    let mut child =
        site.command(&words.iter().map(String::as_str).collect::<Vec<_>>()).spawn().expect("replant starts");
    let stored = || {
        let packs = std::fs::read_dir(site.join("store/packs")).into_iter().flatten().flatten();
        packs.filter_map(|pack| Some(pack.metadata().ok()?.len())).sum::<u64>()
    };
    let begun = Instant::now();
    while stored() < 28 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{} bytes are stored", stored());
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let second = said(&capture(&site, &sshd, &disk.device, &[]).expect(0));
    assert!(second["bytes_resumed"].as_u64() > Some(8 << 20), "{second}");
    assert_eq!(second["consistent"], true, "{second}");
    assert!(std::fs::read(export(&site)).expect("the image's disk") == std::fs::read(&disk.file).expect("the disk"));
}

/// A volume group on a loop device, without device-mapper; its volumes are never active.
struct Group(String, String);

impl Group {
    fn new(site: &TestSite) -> Self {
        require_root();
        assert!(Path::new("/usr/sbin/lvm").exists(), "this test needs LVM: apt-get install lvm2");
        let file = site.join("pv.raw");
        File::create(&file).and_then(|file| file.set_len(SIZE)).expect("a file");
        let device = run(Command::new("losetup").args(["-f", "--show"]).arg(&file)).trim().to_owned();
        let group = Self(device, format!("rpl{}", std::process::id()));
        let Self(device, name) = &group;
        let lvm = |words: &str| {
            let mut command = Command::new("/usr/sbin/lvm");
            command.args(words.split(' ')).args(["--devices", device, "--driverloaded", "n"]);
            run(command.env("LVM_SUPPRESS_FD_WARNINGS", "1"));
        };
        lvm(&format!("pvcreate -q -y {device}"));
        lvm(&format!("vgcreate -q {name} {device}"));
        for (volume, size) in [("root", "16M"), ("data", "20M")] {
            lvm(&format!("lvcreate -q -an -Zn -Wn -y -L {size} -n {volume} {name}"));
        }
        lvm(&format!("lvextend -q -L +12M {name}/root"));
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

#[test]
fn volumes_are_found_by_the_tools_of_the_machine_and_their_fate_is_said_beforehand() {
    let site = site();
    let sshd = Sshd::start(&site);
    let group = Group::new(&site);
    let Group(device, name) = &group;
    let port = sshd.port.to_string();
    let known = ["--ssh-key", "user_key", "--known-hosts", "known_hosts"];
    let look = ["source", "look", "--host", "127.0.0.1", "--port", &port, "--device", device];
    let seen = site.replant(&[&look[..], &known].concat()).expect(0).stdout;
    for line in [format!("{name}/root, 28 MiB: as it is"), format!("{name}/data, 20 MiB: as it is")] {
        assert!(seen.contains(&line), "{line}: {seen}");
    }
    assert!(seen.contains(&format!("{name} has 44 MiB free")), "{seen}");
    // Nothing is active, so there is nothing to take a snapshot of; and nothing is left to remove.
    let taken = said(&capture(&site, &sshd, device, &[]).expect(0));
    assert_eq!(taken["consistent"], true, "{taken}");
    let release =
        ["source", "release", "--machine", "live01", "--disk", "disk0", "--host", "127.0.0.1", "--port", &port];
    let released = site.replant(&[&release[..], &known].concat()).expect(0).stdout;
    assert!(released.contains("no snapshot of live01/disk0 is left"), "{released}");
    // A disk without LVM cannot have snapshots, and says so; a plan that requires them is refused before it reads.
    let disk = Disk::new(&site);
    let refused = capture(&site, &sshd, &disk.device, &["--snapshot", "required"]).expect(1);
    assert!(refused.stderr.contains("no LVM volume lies on the disk"), "{}", refused.stderr);
}

#[test]
fn bad_sectors_behind_ssh_fail_the_capture_or_become_zeros_that_are_named() {
    require_root();
    let site = site();
    let sshd = Sshd::start(&site);
    let mut content = vec![0; SIZE as usize];
    blake3::Hasher::new().update(b"a medium").finalize_xof().fill(&mut content);
    site.write("good.raw", &content);
    // In different pages, the second and third in one.
    let bad = BadDisk::new(&site.join("good.raw"), &site.join("bad"), &[4099, 9000, 9003]);
    let device = bad.device.display().to_string();
    let failed = capture(&site, &sshd, &device, &[]).expect(1);
    assert!(failed.stderr.contains("bytes 2097152 to 2101248 of the disk cannot be read"), "{}", failed.stderr);
    assert!(failed.stderr.contains("on_read_error: zero-and-report"), "{}", failed.stderr);

    let finished = capture(&site, &sshd, &device, &["--on-read-error", "zero-and-report"]).expect(0);
    assert_eq!(said(&finished)["bytes_unreadable"], 8192, "{}", finished.stdout);
    assert!(finished.stderr.contains("8 KiB could not be read and are zeros"), "{}", finished.stderr);
    let shown = site.replant(&["image", "show", "live01/disk0", "--key", "file:.replant/store.key"]).expect(0);
    for offset in [2_097_152, 4_608_000] {
        let line = format!("4 KiB at byte {offset} could not be read and are zeros in the image");
        assert!(shown.stdout.contains(&line), "{line}: {}", shown.stdout);
        content[offset..offset + 4096].fill(0);
    }
    assert!(std::fs::read(export(&site)).expect("the image's disk") == content, "all else is there");
}

#[test]
fn a_plan_migrates_a_running_machine_and_refuses_two_of_them_at_once() {
    let site = site();
    let (sshd, disk) = (Sshd::start(&site), Disk::new(&site));
    require_tool("qemu-img", "qemu-utils");
    site.write(
        "plan.yaml",
        format!(
            "replant: 1\nname: live\n\
             store: {{ path: store, encryption: aes-256-gcm, key: {{ file: .replant/store.key }} }}\n\
             hosts:\n  local: {{ provider: qemu, settings: {{ folder: vms, accel: tcg }} }}\n\
             machines:\n  - name: live01\n    source:\n      \
             ssh: {{ host: 127.0.0.1, port: {}, key: user_key, known_hosts: known_hosts }}\n      \
             disks: [{{ path: {}, size: {SIZE} }}]\n    \
             inventory: {{ memory: 256MiB, cpus: 1, firmware: bios, nics: [{{ mac: \"52:54:00:aa:bb:02\" }}] }}\n    \
             target: {{ host: local, disks: {{ format: raw }} }}\n    guest: {{ convert: none }}\n    \
             post_deploy: {{ action: stop }}\n",
            sshd.port, disk.device
        ),
    );
    let before = disk.digest();
    let preview = site.replant(&["plan", "plan.yaml"]).expect(0).stdout;
    assert!(preview.contains("while it is in use: consistent or refused"), "{preview}");
    assert!(preview.contains("from snapshots where their group has a tenth of each free"), "{preview}");
    let looked = site.replant(&["plan", "plan.yaml", "--look"]).expect(0).stdout;
    assert!(looked.contains(&format!("live01, {}, as it is now:\n  nothing on it is in use", disk.device)), "{looked}");
    let stopped = site.replant(&["apply", "plan.yaml", "--yes"]).expect(5);
    assert!(stopped.stdout.contains("shut the source down"), "{}", stopped.stderr);
    drop(sshd);
    site.replant(&["apply", "plan.yaml", "--yes"]).expect(0);
    let vm = blake3::hash(&std::fs::read(site.join("vms/live01/disk0.raw")).expect("the VM's disk"));
    assert_eq!((vm, disk.digest()), (before, before), "the copy is the source, and the source was not written");

    // With the agent besides ssh, the pre-copy comes first.
    let warm = site.read("plan.yaml").replace("ssh: {", "agent: { mac: \"52:54:00:aa:bb:02\" }\n      ssh: {");
    let warm = warm.replace(&format!("path: {}", disk.device), &format!("path: \"serial:S0\", live: {}", disk.device));
    let warm = warm.replace("name: live01", "name: live02").replace("memory: 256MiB", "memory: 512MiB");
    site.write("warm.yaml", warm);
    let preview = site.replant(&["plan", "warm.yaml"]).expect(0).stdout;
    assert!(preview.contains("pre-copy 1 disk over ssh while the source works"), "{preview}");
    assert!(preview.contains("how long live02 is down after the pre-copy is known after"), "{preview}");
}
