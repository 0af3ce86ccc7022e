//! The source machine and the controller that it finds.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_tool};
use crate::end_to_end::run;

/// The agent, built once for all tests and processes.
pub fn agent() -> PathBuf {
    for (tool, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")] {
        require_tool(tool, package);
    }
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end");
    std::fs::create_dir_all(&cache).expect("the cache folder can be made");
    let lock = File::create(cache.join("agent-build.lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let out = cache.join("p2v-agent");
    let site = TestSite::new();
    let mut build = site.command(&["agent", "build", "--out"]);
    run(build.arg(&out).env("REPLANT_CACHE", cache.join("agent")));
    out
}

/// `replant serve` in a site; killed when dropped.
pub struct Controller {
    child: Child,
    /// Its port.
    pub port: u16,
}

impl Controller {
    /// Starts it on a port of the loopback; 0 takes a free one.
    pub fn start(site: &TestSite, port: u16) -> Self {
        let bind = format!("127.0.0.1:{port}");
        let mut command = site.command(&["serve", "--json", "--bind", &bind]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("replant starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it was piped");
        BufReader::new(output).read_line(&mut line).expect("it can be read");
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(said["unhealthy"], serde_json::json!([]));
        let address = said["address"].as_str().expect("it says where it listens");
        let port = address.rsplit_once(':').expect("an address has a port").1.parse().expect("a port is a number");
        Self { child, port }
    }

    /// Kills it without warning.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end, and proves that it does so orderly.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be asked");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The machine: an IDE disk, a VMware network adapter, its own identity.
pub struct Machine {
    child: Child,
    console: PathBuf,
}

/// Its network adapter.
pub const MAC: &str = "52:54:00:70:32:76";
/// Its first disk.
pub const DISK_SERIAL: &str = "SRCDISK0";

impl Machine {
    /// Boots it into the agent with these words of a boot order.
    pub fn boot(site: &TestSite, agent: &Path, disks: &[(PathBuf, &str)], order: &str) -> Self {
        let console = site.join("source-console.log");
        let words = format!("{order} console=ttyS0 quiet panic=5 mitigations=off");
        let drives = disks.iter().enumerate().flat_map(|(number, (path, serial))| {
            let drive = format!("file={},format=raw,if=none,id=hd{number},cache=unsafe", path.display());
            let device = format!("ide-hd,drive=hd{number},serial={serial}");
            ["-drive".to_owned(), drive, "-device".to_owned(), device]
        });
        let child = Command::new("qemu-system-x86_64")
            .args(drives)
            .args(["-name", "p2v-source", "-machine", "pc", "-accel", "tcg,tb-size=256", "-m", "512", "-smp", "1"])
            .args(["-display", "none", "-no-reboot", "-monitor", "none"])
            .args(["-smbios", "type=1,manufacturer=ACME,product=Server,serial=ACME-0042"])
            .args(["-uuid", "4c4c4544-0042-3510-8056-b7c04f4d3432"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-netdev", "user,id=net,ipv6=off", "-device", &format!("vmxnet3,netdev=net,mac={MAC}")])
            .arg("-kernel")
            .arg(agent.join("vmlinuz"))
            .arg("-initrd")
            .arg(agent.join("agent.img"))
            .args(["-append", &words])
            .stdin(Stdio::null())
            .spawn()
            .expect("qemu starts");
        Self { child, console }
    }

    /// What its console has shown.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    /// Pulls the plug.
    pub fn cut_power(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Waits until it has switched itself off.
    pub fn wait_off(mut self) {
        let begun = Instant::now();
        while self.child.try_wait().expect("it can be looked at").is_none() {
            assert!(begun.elapsed() < Duration::from_secs(120), "the machine stays on:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
