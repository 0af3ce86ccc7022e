//! A Debian that runs and is reached over ssh: from memory, or from volumes on its disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_root, require_tool};
use crate::end_to_end::run;

/// Longest wait for its sshd.
pub const PATIENCE: Duration = Duration::from_secs(900);

/// Kernel, initrd, keys and a disk with volumes, built once for all tests and processes; the script says what is there.
pub fn running_guest() -> PathBuf {
    require_root();
    for (tool, package) in [
        ("mmdebstrap", "mmdebstrap"),
        ("ssh", "openssh-client"),
        ("zstd", "zstd"),
        ("cpio", "cpio"),
        ("lvm", "lvm2"),
        ("sfdisk", "fdisk"),
        ("qemu-system-x86_64", "qemu-system-x86"),
    ] {
        require_tool(tool, package);
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end");
    std::fs::create_dir_all(&cache).expect("the cache folder can be made");
    let lock = File::create(cache.join("running-guest.lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let script = include_str!("make-running-guest.sh");
    let out = cache.join("running-guest");
    if !out.join("initrd").exists() || std::fs::read_to_string(out.join("made-by")).ok().as_deref() != Some(script) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/remote/make-running-guest.sh");
        run(Command::new("sh").arg(file).arg(&out));
        std::fs::write(out.join("made-by"), script).expect("it can be noted");
    }
    out
}

/// A machine that is on; killed when dropped.
pub struct Guest(Child);

impl Guest {
    /// Switches it on. `qemu` is the emulator, perhaps in a network namespace; `words` go to the kernel.
    pub fn start(
        qemu: &mut Command,
        network: &str,
        mac: &str,
        drive: &str,
        serial: &str,
        console: &Path,
        words: &str,
    ) -> Self {
        let parts = running_guest();
        qemu.args(["-machine", "pc", "-accel", "tcg,tb-size=256", "-cpu", "qemu64", "-m", "2048", "-smp", "1"]);
        qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-serial"])
            .arg(format!("file:{}", console.display()));
        qemu.args(["-netdev", network, "-device", &format!("virtio-net-pci,netdev=n,mac={mac}")]);
        qemu.args(["-drive", &format!("{drive},if=none,id=d,cache=unsafe")]);
        qemu.args(["-device", &format!("virtio-blk-pci,drive=d,serial={serial}")]);
        qemu.arg("-kernel").arg(parts.join("vmlinuz")).arg("-initrd").arg(parts.join("initrd"));
        let words =
            format!("console=ttyS0 net.ifnames=0 mitigations=off no_timer_check panic=5 systemd.show_status=1 {words}");
        qemu.args(["-append", words.trim()]).stdin(Stdio::null());
        Self(qemu.spawn().expect("qemu starts"))
    }
}

impl Guest {
    /// The emulator's process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has switched itself off.
    #[track_caller]
    pub fn goes_off(mut self) {
        let begun = Instant::now();
        while self.0.try_wait().expect("it can be looked at").is_none() {
            assert!(begun.elapsed() < PATIENCE, "the machine stays on");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended already if it was switched off.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the guest is reached by `ssh`.
pub struct Shell {
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The key that it lets in.
    pub key: PathBuf,
    /// The file with its own key.
    pub known_hosts: PathBuf,
    /// The network namespace to go from.
    pub namespace: Option<String>,
}

impl Shell {
    /// A way to a guest; its key is known from its making.
    pub fn new(site: &TestSite, host: &str, port: u16, namespace: Option<String>) -> Self {
        let parts = running_guest();
        let key = std::fs::read_to_string(parts.join("host_key.pub")).expect("it was made");
        let known_hosts = site.join("known_hosts");
        std::fs::write(&known_hosts, format!("[{host}]:{port} {key}{host} {key}")).expect("it can be written");
        Self { host: host.into(), port, key: parts.join("user_key"), known_hosts, namespace }
    }

    /// Runs a command there.
    pub fn try_run(&self, script: &str) -> Output {
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, "ssh"]);
                command
            }
            None => Command::new("ssh"),
        };
        let known = format!("UserKnownHostsFile={}", self.known_hosts.display());
        command.args(["-o", "BatchMode=yes", "-o", &known, "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"]);
        command.arg("-p").arg(self.port.to_string()).arg("-i").arg(&self.key);
        command.arg(format!("root@{}", self.host)).arg(script).stdin(Stdio::null());
        command.output().expect("ssh runs")
    }

    /// Runs a command there that must succeed; returns what it says.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.try_run(script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "`{script}` there: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until it lets us in.
    #[track_caller]
    pub fn wait(&self, console: &Path) {
        let begun = Instant::now();
        while !self.try_run("true").status.success() {
            let shown = std::fs::read(console).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "nobody answers:\n{}", String::from_utf8_lossy(&shown));
            std::thread::sleep(Duration::from_secs(1));
        }
        println!("sshd answers after {:.0} s", begun.elapsed().as_secs_f64());
    }

    /// Lets the machine write pairs from now on.
    pub fn begin_writing(&self) {
        self.run("systemd-run --quiet --unit pairs /usr/local/bin/write-pairs; sleep 2; test -s /run/write-pairs");
    }
}
