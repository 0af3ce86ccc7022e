//! Starting, stopping and looking at the VM of a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::qmp::Qmp;

/// Why a VM does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// The folder is no VM.
    #[error("{folder} is not a VM: it has no start.sh")]
    NoVm {
        /// The folder.
        folder: PathBuf,
    },
    /// It runs already.
    #[error("the VM in {folder} runs already (process {pid}): stop it first with `replant vm stop --folder {folder}`")]
    Running {
        /// The folder.
        folder: PathBuf,
        /// Its process.
        pid: u32,
    },
    /// The start script failed.
    #[error("start.sh of {folder} failed ({code}): {message}")]
    Start {
        /// The folder.
        folder: PathBuf,
        /// Its exit code or signal.
        code: String,
        /// What it said last.
        message: String,
    },
    /// Something of the folder cannot be used.
    #[error("{path} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It does not end.
    #[error("the VM in {folder} (process {pid}) does not end, not even when it is killed")]
    Immortal {
        /// The folder.
        folder: PathBuf,
        /// Its process.
        pid: u32,
    },
}

/// What a VM does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmState {
    /// It is off.
    Off,
    /// It runs.
    Running {
        /// Its process.
        pid: u32,
        /// What it says of itself, such as `running` or `paused`.
        status: String,
    },
}

/// The mark of a VM that runs the agent and no guest.
const WORKED_ON: &str = "agent.boot";

/// The folder of a VM.
#[derive(Clone, Debug)]
pub struct VmFolder {
    folder: PathBuf,
}

impl VmFolder {
    /// A folder that holds a VM.
    pub fn open(folder: &Path) -> Result<Self, VmError> {
        let at = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        match at.join("start.sh").is_file() {
            true => Ok(Self { folder: at }),
            false => Err(VmError::NoVm { folder: at }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What the console has shown.
    pub fn console_log(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// The console's socket.
    pub fn console_socket(&self) -> PathBuf {
        self.folder.join("console.sock")
    }

    /// The running process. A number that the system has given to another process since is not taken for it: a VM has
    /// files of its folder open.
    pub fn pid(&self) -> Option<u32> {
        let pid: u32 = fs::read_to_string(self.folder.join("qemu.pid")).ok()?.trim().parse().ok()?;
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let ours =
            open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).any(|to| to.starts_with(&self.folder));
        ours.then_some(pid)
    }

    /// Whether it was booted into the agent to be worked on, by somebody who has not taken the mark away again.
    pub fn is_worked_on(&self) -> bool {
        self.folder.join(WORKED_ON).exists()
    }

    /// Boots it into the agent. A VM that is left from such a work that was cut off is ended first; any other running VM
    /// is an error. The mark stays until [`Self::end_work`].
    pub fn start_work(&self, arguments: &[&str]) -> Result<(), VmError> {
        if self.is_worked_on() {
            self.kill()?;
        } else if let Some(pid) = self.pid() {
            return Err(VmError::Running { folder: self.folder.clone(), pid });
        }
        let mark = self.folder.join(WORKED_ON);
        fs::write(&mark, "").map_err(|error| VmError::Io { path: mark, error })?;
        self.launch(arguments).inspect_err(|_| {
            // The failure to start is what is reported; the next work clears the mark as well.
            let _ = self.end_work();
        })
    }

    /// Ends the VM that works, if it runs still, and takes the mark away.
    pub fn end_work(&self) -> Result<(), VmError> {
        self.kill()?;
        self.remove(WORKED_ON)
    }

    fn remove(&self, name: &str) -> Result<(), VmError> {
        let path = self.folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(VmError::Io { path, error }),
            _ => Ok(()),
        }
    }

    /// Saves a picture of its screen to `screen.png` in its folder; `None` where there is no screen or no answer.
    pub fn screenshot(&self) -> Option<PathBuf> {
        let path = self.folder.join("screen.png");
        Qmp::connect(&self.folder.join("qmp.sock")).and_then(|mut qmp| qmp.screenshot(&path)).ok()?;
        Some(path)
    }

    /// What it does.
    pub fn state(&self) -> VmState {
        let Some(pid) = self.pid() else { return VmState::Off };
        let status = Qmp::connect(&self.folder.join("qmp.sock"))
            .and_then(|mut qmp| qmp.execute("query-status"))
            .ok()
            .and_then(|answer| answer.get("status")?.as_str().map(str::to_owned));
        VmState::Running { pid, status: status.unwrap_or_else(|| "unknown".to_owned()) }
    }

    /// Starts it with those arguments of `start.sh`. The console's log begins anew.
    pub fn start(&self, arguments: &[&str]) -> Result<(), VmError> {
        if let Some(pid) = self.pid() {
            return Err(VmError::Running { folder: self.folder.clone(), pid });
        }
        self.remove(WORKED_ON)?;
        self.launch(arguments)
    }

    fn launch(&self, arguments: &[&str]) -> Result<(), VmError> {
        for stale in ["qemu.pid", "qmp.sock", "console.sock", "console.log"] {
            self.remove(stale)?;
        }
        let script = self.folder.join("start.sh");
        let output = Command::new("sh")
            .arg(&script)
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .map_err(|error| VmError::Io { path: script, error })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
        Err(VmError::Start { folder: self.folder.clone(), code: output.status.to_string(), message })
    }

    /// Asks the guest to power off and waits; then ends it; then kills it. Returns whether the guest did it by itself.
    pub fn stop(&self, patience: Duration) -> Result<bool, VmError> {
        if self.pid().is_none() {
            return Ok(true);
        }
        if self.is_worked_on() {
            // There is no guest to ask.
            return self.end_work().map(|()| true);
        }
        if let Ok(mut qmp) = Qmp::connect(&self.folder.join("qmp.sock")) {
            // A VM that ends at this very moment does not answer.
            let _ = qmp.execute("system_powerdown");
            drop(qmp);
            if self.wait_off(patience) {
                return Ok(true);
            }
        }
        self.kill().map(|()| false)
    }

    /// Ends it without asking the guest.
    pub fn kill(&self) -> Result<(), VmError> {
        let Some(pid) = self.pid() else { return Ok(()) };
        if let Ok(mut qmp) = Qmp::connect(&self.folder.join("qmp.sock")) {
            let _ = qmp.execute("quit");
        }
        if self.wait_off(Duration::from_secs(5)) {
            return Ok(());
        }
        for signal in [Signal::TERM, Signal::KILL] {
            if let (Some(pid), true) = (self.pid().and_then(|pid| Pid::from_raw(pid as i32)), self.pid().is_some()) {
                let _ = kill_process(pid, signal);
            }
            if self.wait_off(Duration::from_secs(5)) {
                return Ok(());
            }
        }
        Err(VmError::Immortal { folder: self.folder.clone(), pid })
    }

    /// Waits until it is off; `false` if it is not by then.
    pub fn wait_off(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        while self.pid().is_some() {
            if begun.elapsed() >= patience {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }
}
