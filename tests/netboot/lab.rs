//! [`BootLab`]: a network namespace with a bridge and taps, `replant netboot serve` in it, and machines on it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_root, require_tool};

/// The one device that the services of these tests know.
pub const MAC: &str = "52:54:00:00:00:01";
/// Longest wait for anything: a machine on an overloaded host.
pub const PATIENCE: Duration = Duration::from_secs(240);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A private network; gone when dropped, with everything in it.
pub struct BootLab {
    pub site: TestSite,
    namespaces: Vec<String>,
    children: Vec<Child>,
}

impl BootLab {
    /// A namespace with the bridge `br0` (10.77.0.1/24) and the tap `tap0`.
    pub fn new() -> Self {
        require_root();
        for (tool, package) in [
            ("ip", "iproute2"),
            ("dnsmasq", "dnsmasq-base"),
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("busybox", "busybox-static"),
        ] {
            require_tool_anywhere(tool, package);
        }
        let name = format!("rpl{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { site: TestSite::new(), namespaces: vec![name.clone()], children: Vec::new() };
        shell(&format!(
            "ip netns add {name}; ip -n {name} link set lo up; ip -n {name} link add br0 type bridge; \
             ip -n {name} address add 10.77.0.1/24 dev br0; ip -n {name} link set br0 up; \
             ip netns exec {name} ip tuntap add tap0 mode tap; ip -n {name} link set tap0 master br0 up"
        ));
        lab
    }

    /// The namespace of the bridge.
    pub fn namespace(&self) -> &str {
        &self.namespaces[0]
    }

    /// Another host on the bridge, in a namespace of its own, with the interface `eth0`.
    pub fn neighbour(&mut self, mac: &str, address: Option<&str>) -> String {
        let (ours, theirs) = (self.namespace().to_owned(), format!("{}n{}", self.namespace(), self.namespaces.len()));
        self.namespaces.push(theirs.clone());
        let address =
            address.map_or(String::new(), |address| format!("ip -n {theirs} address add {address} dev eth0;"));
        shell(&format!(
            "ip netns add {theirs}; ip -n {ours} link add v{n} type veth peer name eth0 address {mac} netns {theirs}; \
             ip -n {ours} link set v{n} master br0 up; {address} ip -n {theirs} link set eth0 up",
            n = self.namespaces.len()
        ));
        theirs
    }

    /// Another place on the bridge to plug a machine in.
    pub fn tap(&mut self, name: &str) {
        let ours = self.namespace().to_owned();
        shell(&format!(
            "ip netns exec {ours} ip tuntap add {name} mode tap; ip -n {ours} link set {name} master br0 up"
        ));
    }

    /// A command in a namespace.
    pub fn inside(namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }

    /// Runs a process until the lab is gone.
    pub fn keep(&mut self, mut command: Command) {
        self.children.push(command.spawn().expect("the process starts"));
    }

    /// `replant netboot serve` with these words; it answers when this returns.
    pub fn serve(&self, words: &[&str]) -> Service {
        let mut command = Self::inside(self.namespace(), env!("CARGO_BIN_EXE_replant"));
        command.args(["--json", "netboot", "serve", "--interface", "br0", "--order", "console=ttyS0"]);
        command.arg("--agent").arg(agent()).arg("--state").arg(self.site.join("state")).args(words);
        let log = fs::File::create(self.site.join("serve.err")).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("replant starts");
        let mut said = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("its output is text");
        assert!(line.contains("serving"), "{line}{}", self.site.read("serve.err"));
        Service { child: Some(child), said }
    }

    /// Powers a machine on: one adapter on `tap0`, which it boots from first, and a disk that prints `DISK-BOOTED`.
    pub fn power_on(&self, console: &str, extra: &[&str]) -> Machine {
        let disk = self.site.write("disk.raw", boot_sector());
        let console = self.site.join(console);
        let mut command = Self::inside(self.namespace(), "qemu-system-x86_64");
        command.args(["-accel", "tcg,tb-size=256", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]);
        command.args(["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no"]);
        command.args(["-drive", &format!("if=none,id=d,format=raw,file={}", disk.display())]);
        command.args(["-device", "virtio-blk-pci,drive=d,bootindex=2"]);
        command.args(["-serial", &format!("file:{}", console.display())]).args(extra);
        let child = command.stdin(Stdio::null()).spawn().expect("QEMU starts");
        Machine { child, console }
    }
}

impl Drop for BootLab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for namespace in &self.namespaces {
            let _ = Command::new("ip").args(["netns", "delete", namespace]).status();
        }
    }
}

/// A running `replant netboot serve`.
pub struct Service {
    child: Option<Child>,
    said: BufReader<ChildStdout>,
}

impl Service {
    /// Stops it as a person would, and returns what it said since its start.
    pub fn stop(mut self) -> String {
        let mut child = self.child.take().expect("it runs until now");
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.said, &mut rest).unwrap();
        assert!(child.wait().unwrap().success(), "{rest}");
        rest
    }

    /// Kills it without a chance to clean up.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("it runs until now");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A machine that is on; its power is cut when this is dropped.
pub struct Machine {
    child: Child,
    console: PathBuf,
}

impl Machine {
    /// Waits until the console shows the text.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            let off = self.child.try_wait().unwrap().is_some();
            let console = String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).replace('\0', "");
            if console.contains(text) {
                return;
            }
            let tail: String =
                console.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
            assert!(!off, "the machine went off without showing `{text}`:\n{tail}");
            assert!(begun.elapsed() < PATIENCE, "`{text}` is not shown:\n{tail}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The agent with Debian's cloud kernel, built once for all tests.
pub fn agent() -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let cache = base.join("end-to-end/agent");
    fs::create_dir_all(&cache).unwrap();
    let lock = fs::File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    let out = base.join("netboot-agent");
    let site = TestSite::new();
    let out_word = out.display().to_string();
    let output = site
        .command(&["agent", "build", "--out", &out_word])
        .env("REPLANT_CACHE", &cache)
        .output()
        .expect("replant starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// A boot sector that prints `DISK-BOOTED` on the first serial port and stops.
pub fn boot_sector() -> Vec<u8> {
    // xor ax,ax; mov ds,ax; mov dx,0x3f8; mov si,text; next: lodsb; test al,al; jz end; out dx,al; jmp next; end: hlt; jmp end
    let mut sector = vec![
        0x31, 0xc0, 0x8e, 0xd8, 0xba, 0xf8, 0x03, 0xbe, 0x15, 0x7c, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8,
        0xf4, 0xeb, 0xfd,
    ];
    sector.extend(b"DISK-BOOTED\r\n\0");
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    sector
}

/// As [`require_tool`], also where only root looks.
pub fn require_tool_anywhere(tool: &str, package: &str) {
    if !["/usr/sbin", "/sbin"].iter().any(|folder| Path::new(folder).join(tool).is_file()) {
        require_tool(tool, package);
    }
}

pub fn shell(script: &str) -> String {
    let script = format!("PATH=$PATH:/usr/sbin:/sbin; {script}");
    let output = Command::new("sh").args(["-ec", &script]).output().expect("sh runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks for an address as a machine with the neighbour's MAC would: whether it got one.
pub fn gets_address(namespace: &str) -> bool {
    let mut command = BootLab::inside(namespace, "busybox");
    command.args(["udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "3", "-T", "1", "-s", "/bin/true"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("udhcpc runs").success()
}

/// Whether the long forms are asked for.
pub fn long() -> bool {
    std::env::var_os("REPLANT_TEST_LONG").is_some()
}
