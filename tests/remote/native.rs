//! A controller and an agent that are processes here; the agent works on files.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
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
    let out = cache.join("cloud-agent");
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

/// `replant agent run` with files for disks; killed when dropped.
pub struct NativeAgent(Child);

impl NativeAgent {
    /// Starts it for a device that is registered, as if its machine had just booted.
    pub fn start(site: &TestSite, device: &str, port: u16, disk: &Path, serial: &str) -> Self {
        let url = format!("https://127.0.0.1:{port}");
        let order = site.replant(&["device", "boot-agent", device, "--order", &url]).expect(0).stdout;
        let disk = format!("{}={serial}", disk.display());
        let log = std::fs::File::options().create(true).append(true).open(site.join("agent.log")).expect("a log");
        let mut command = site.command(&["agent", "run", "--order", order.trim(), "--disk", &disk]);
        command.stdout(log.try_clone().expect("the log is shared")).stderr(log).stdin(Stdio::null());
        let agent = Self(command.spawn().expect("replant starts"));
        // The device was there before if its machine was: only a new enrolment counts.
        agent.wait_for(site, "waiting for work");
        agent
    }

    fn wait_for(&self, site: &TestSite, text: &str) {
        let enrolled = || site.read("agent.log").matches(text).count();
        let begun = Instant::now();
        let starts = || site.read("agent.log").matches("enrolled as").count();
        while starts() == 0 || enrolled() < starts() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the agent does not enrol:\n{}", site.read("agent.log"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The machine loses its power.
    pub fn kill(mut self) {
        self.0.kill().expect("it can be killed");
        self.0.wait().expect("it ends");
    }
}

impl Drop for NativeAgent {
    fn drop(&mut self) {
        // It has ended already if the test went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `done` says so.
#[track_caller]
pub fn wait_until(what: &str, site: &TestSite, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(180), "{what} does not happen:\n{}", site.read("agent.log"));
        std::thread::sleep(Duration::from_millis(50));
    }
}
