//! An agent that is a process here and works on files.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::TestSite;

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
