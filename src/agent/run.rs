//! A user's own script, run in a restored Linux that is off: inside its tree, with its own programs, before anything of it
//! has started.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::guest::{Edit, Guest, MountError, TreeError, UserScript};
use crate::sequence::Step;
use crate::units::parse_duration;

/// Lines that are reported; a script that says more is cut.
const LINES: usize = 2000;
/// Lines that an edit and a failure repeat.
const TAIL: usize = 20;
/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// Where the script lies in the guest's tree while it runs: in memory.
const PLACE: &str = "replant-run";

/// Why a script has not done its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The guest cannot be made ready.
    #[error("the restored system cannot be made ready for the script {name}")]
    Prepare {
        /// The script.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A path of the guest leads nowhere.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its file systems do not let programs run, or cannot be let go of.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// It cannot be started.
    #[error("the script {name} cannot be started in the restored system: is the program of its first line there?")]
    Start {
        /// The script.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It took too long.
    #[error("the script {name} did not end within {timeout:?} and was killed; it said last:\n{tail}")]
    Slow {
        /// The script.
        name: String,
        /// Its time.
        timeout: Duration,
        /// What it said last.
        tail: String,
    },
    /// It failed.
    #[error("the script {name} failed ({status}); it said last:\n{tail}")]
    Failed {
        /// The script.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        tail: String,
    },
}

/// The script of a step: `name`, `timeout`, and each `line` of it.
pub(super) fn script(step: &Step) -> Result<UserScript, String> {
    let name = step.parameter("name").unwrap_or_default();
    if !UserScript::is_name(name) {
        return Err(format!("`{name}` is no name for a script"));
    }
    let timeout = match step.parameter("timeout") {
        Some(text) => parse_duration(text).map_err(|error| format!("`timeout`: {error}"))?,
        None => Duration::from_secs(600),
    };
    let text: String = step.list("line").into_iter().flat_map(|line| [line, "\n"]).collect();
    match text.is_empty() {
        true => Err(format!("the script {name} is empty")),
        false => Ok(UserScript { name: name.to_owned(), text, timeout }),
    }
}

/// Runs it. `told` hears of every line that it says. What it has left running is killed.
pub(super) fn run_offline(guest: &Guest, script: &UserScript, told: &dyn Fn(&str)) -> Result<Edit, RunError> {
    guest.mounted.allow_programs(true)?;
    let outcome = run_prepared(guest, script, told);
    guest.mounted.allow_programs(false)?;
    let said = outcome?;
    Ok(Edit {
        id: "run".to_owned(),
        path: script.name.clone(),
        before: None,
        after: Some(format!("it ended well{}", said.iter().map(|line| format!("\n{line}")).collect::<String>())),
        why: "a script of the plan, run in the restored system".to_owned(),
    })
}

fn run_prepared(guest: &Guest, script: &UserScript, told: &dyn Fn(&str)) -> Result<Vec<String>, RunError> {
    let prepare = |error| RunError::Prepare { name: script.name.clone(), error };
    let mut system = SystemMounts::default();
    for (kind, point) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev"), ("tmpfs", "/run")] {
        system.add(kind, &guest.tree.resolve(point)?).map_err(prepare)?;
    }
    let folder = guest.tree.resolve("/run")?.join(PLACE);
    fs::create_dir_all(&folder).map_err(prepare)?;
    let at = folder.join(&script.name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o700);
    // A file that is still open for writing cannot be run.
    options.open(&at).and_then(|mut file| file.write_all(script.text.as_bytes())).map_err(prepare)?;

    let root = guest.tree.root();
    let outcome = run_child(root, script, told);
    kill_inside(root);
    system.release().map_err(prepare)?;
    outcome
}

fn run_child(root: &Path, script: &UserScript, told: &dyn Fn(&str)) -> Result<Vec<String>, RunError> {
    let start = |error| RunError::Start { name: script.name.clone(), error };
    let (reader, writer) = io::pipe().map_err(start)?;
    let mut command = Command::new("/bin/busybox");
    command
        .arg("chroot")
        .arg(root)
        .arg(format!("/run/{PLACE}/{}", script.name))
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C")
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(writer.try_clone().map_err(start)?)
        .stderr(writer)
        .process_group(0);
    let mut child = command.spawn().map_err(start)?;
    // It holds our ends of the pipe.
    drop(command);
    let (sender, lines) = channel();
    let reading = std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(more) if more > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut said = Said { told, count: 0, tail: Vec::new() };
    let status = wait(&mut child, &lines, script.timeout, &mut said);
    // What it has left running holds the pipe open.
    kill_inside(root);
    lines.iter().for_each(|line| said.line(line));
    let _ = reading.join();
    let tail = || said.tail.join("\n");
    match status.map_err(start)? {
        None => Err(RunError::Slow { name: script.name.clone(), timeout: script.timeout, tail: tail() }),
        Some(status) if !status.success() => Err(RunError::Failed { name: script.name.clone(), status, tail: tail() }),
        Some(_) => Ok(said.tail),
    }
}

/// How the child has ended; none if it was killed because it took too long.
fn wait(
    child: &mut Child,
    lines: &Receiver<String>,
    timeout: Duration,
    said: &mut Said<'_>,
) -> io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        match lines.recv_timeout(LOOK) {
            Ok(line) => said.line(line),
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= timeout {
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            child.wait()?;
            return Ok(None);
        }
    }
}

/// What a script says: reported up to a limit, and its end remembered.
struct Said<'a> {
    told: &'a dyn Fn(&str),
    count: usize,
    tail: Vec<String>,
}

impl Said<'_> {
    fn line(&mut self, line: String) {
        self.count += 1;
        match self.count {
            count if count <= LINES => (self.told)(&line),
            count if count == LINES + 1 => (self.told)("it says more, which is not reported"),
            _ => {}
        }
        if self.tail.len() == TAIL {
            self.tail.remove(0);
        }
        self.tail.push(line);
    }
}

/// Kills every process whose root is the guest's tree: the file systems could not be let go of otherwise.
fn kill_inside(root: &Path) {
    for _ in 0..50 {
        let mut found = false;
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw)
            else {
                continue;
            };
            if fs::read_link(entry.path().join("root")).is_ok_and(|at| at == root) {
                found = true;
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        if !found {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The kernel's own file systems in the guest's tree; gone when this is dropped.
#[derive(Default)]
struct SystemMounts(Vec<PathBuf>);

impl SystemMounts {
    fn add(&mut self, kind: &str, at: &Path) -> io::Result<()> {
        // A tree without the folder has no program that looks there.
        if !at.is_dir() {
            if kind != "tmpfs" {
                return Ok(());
            }
            fs::create_dir_all(at)?;
        }
        mount(kind, at, kind, MountFlags::NOSUID, None)?;
        self.0.push(at.to_owned());
        Ok(())
    }

    fn release(mut self) -> io::Result<()> {
        while let Some(at) = self.0.pop() {
            unmount(&at, UnmountFlags::empty())?;
        }
        Ok(())
    }
}

impl Drop for SystemMounts {
    fn drop(&mut self) {
        while let Some(at) = self.0.pop() {
            let _ = unmount(&at, UnmountFlags::DETACH);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_a_script_line_by_line() {
        let mut step = Step::new("before-1", "guest.run");
        let mut add = |name: &str, value: &str| {
            step.parameters.push(crate::sequence::Parameter { name: name.into(), value: value.into() });
        };
        add("name", "fix.sh");
        add("timeout", "90s");
        for line in ["#!/bin/sh", "", "echo '<&>'"] {
            add("line", line);
        }
        let script = script(&step).unwrap();
        assert_eq!((script.name.as_str(), script.timeout), ("fix.sh", Duration::from_secs(90)));
        assert_eq!(script.text, "#!/bin/sh\n\necho '<&>'\n");
        step.parameters[0].value = "../x".into();
        assert!(super::script(&step).unwrap_err().contains("`../x`"));
    }
}
