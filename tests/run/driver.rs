//! A process of its own that applies a world's run folder: it can be signalled and killed.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use camino::Utf8PathBuf;
use replant::execute::{ApplyOptions, apply};
use replant::progress::Display;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::world::World;

/// The variable that makes this test binary a driver.
const ROOT: &str = "REPLANT_TEST_DRIVER_ROOT";
const INJECT: &str = "REPLANT_TEST_DRIVER_INJECT";

/// The file in the world's root that has the error of an apply that failed.
pub const ERROR: &str = "driver.error";

fn chain(error: &dyn std::error::Error) -> String {
    let rest = error.source().map(|source| format!(": {}", chain(source))).unwrap_or_default();
    format!("{error}{rest}")
}

/// Not a test of its own: the entry of the child process, which the tests start with [`Driver::start`].
#[test]
fn entry() {
    let Some(root) = env::var_os(ROOT) else { return };
    let root = Utf8PathBuf::from_os_string(root).unwrap();
    let manifest = serde_json::from_slice(&std::fs::read(root.join("run/plan.json")).unwrap()).unwrap();
    let mut options = ApplyOptions::new(root.clone(), root.join("run"), manifest);
    options.display = Display::Lines(Box::new(std::io::stdout()));
    options.command = "the driver".into();
    let inject = env::var(INJECT).unwrap_or_default();
    options.injections = inject.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect();
    let code = match apply(options) {
        Ok(report) => report.outcome.code(),
        Err(error) => {
            std::fs::write(root.join(ERROR), chain(&error)).unwrap();
            panic!("{error}");
        }
    };
    std::process::exit(code.into());
}

/// The child process.
pub struct Driver {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Applies `root/run` in a process of its own, which leads its process group.
    pub fn start(world: &World, injections: &[&str]) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "run::driver::entry", "--nocapture", "--test-threads=1"])
            .env(ROOT, &world.root)
            .env(INJECT, injections.join(","))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn raw(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.raw(), signal).unwrap();
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it as a crash would; what it started lives on.
    pub fn kill(&mut self) {
        // It may have ended just now.
        let _ = kill_process_group(self.raw(), Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Reads its output up to a line that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        for line in &mut self.lines {
            let line = line.unwrap();
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        panic!("no line with `{text}` among:\n{}", seen.join("\n"));
    }

    /// Waits for its end: the exit code, or `None` if a signal ended it; and the rest of its output.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let rest: Vec<String> = (&mut self.lines).map_while(Result::ok).collect();
        (self.child.wait().unwrap().code(), rest.join("\n"))
    }
}
