//! Programs of a restored Linux that is off, run inside its tree: with the kernel's own file systems, without anything of the
//! guest having started, and with nothing left running behind.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::guest::{GuestTree, TreeError};

/// Lines of a program that are reported if it is not run for what it says.
pub(super) const LINES: usize = 2000;
/// Lines that a failure repeats.
const TAIL: usize = 20;
/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why a program has not done its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChrootError {
    /// The tree cannot be made ready.
    #[error("the restored system cannot be made ready for its own programs")]
    Prepare(#[source] io::Error),
    /// A path of the guest leads nowhere.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It cannot be started.
    #[error("it cannot be started in the restored system")]
    Start(#[source] io::Error),
    /// It took too long.
    #[error("it did not end within {timeout:?} and was killed; it said last:\n{tail}")]
    Slow {
        /// Its time.
        timeout: Duration,
        /// What it said last.
        tail: String,
    },
    /// It failed.
    #[error("it failed ({status}); it said last:\n{tail}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        tail: String,
    },
}

/// A program of the guest, and how it is run.
pub(super) struct Program<'a> {
    /// Its path in the guest, and its words.
    pub(super) words: &'a [String],
    /// Environment besides the usual.
    pub(super) environment: &'a [(&'a str, &'a str)],
    /// Whether it may reach the network.
    pub(super) network: bool,
    /// Longest time that it may take.
    pub(super) timeout: Duration,
    /// Lines that are reported; of what it says more, the last are kept for its failure.
    pub(super) lines: usize,
}

/// A guest's tree with the kernel's own file systems in it; gone when this is dropped.
pub(super) struct Chroot<'a> {
    root: &'a Path,
    mounts: SystemMounts,
}

impl<'a> Chroot<'a> {
    /// Makes the tree ready: `/proc`, `/sys`, `/dev`, and `memory` as empty folders in memory.
    pub(super) fn new(tree: &'a GuestTree, memory: &[&str]) -> Result<Self, ChrootError> {
        let mut mounts = SystemMounts::default();
        let own = [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")];
        for (kind, point) in own.into_iter().chain(memory.iter().map(|point| ("tmpfs", *point))) {
            mounts.add(kind, &tree.resolve(point)?).map_err(ChrootError::Prepare)?;
        }
        // udev makes these where it runs; shells need them.
        for (name, to) in [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
            let _ = std::os::unix::fs::symlink(to, Path::new("/dev").join(name));
        }
        Ok(Self { root: tree.root(), mounts })
    }

    /// Runs a program to its end. `told` hears of every line that it says, up to a limit; the last ones are returned. What it
    /// has left running is killed.
    pub(super) fn run(&self, program: &Program<'_>, told: &dyn Fn(&str)) -> Result<Vec<String>, ChrootError> {
        let (reader, writer) = io::pipe().map_err(ChrootError::Start)?;
        let mut command = Command::new("/bin/busybox");
        if !program.network {
            command.args(["unshare", "-n", "/bin/busybox"]);
        }
        command
            .arg("chroot")
            .arg(self.root)
            .args(program.words)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C")
            .envs(program.environment.iter().copied())
            .current_dir(self.root)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(ChrootError::Start)?)
            .stderr(writer)
            .process_group(0);
        let mut child = command.spawn().map_err(ChrootError::Start)?;
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
        let mut said = Said { told, count: 0, limit: program.lines, tail: Vec::new() };
        let status = wait(&mut child, &lines, program.timeout, &mut said);
        // What it has left running holds the pipe open.
        kill_inside(self.root);
        lines.iter().for_each(|line| said.line(line));
        let _ = reading.join();
        let tail = || said.tail.join("\n");
        match status.map_err(ChrootError::Start)? {
            None => Err(ChrootError::Slow { timeout: program.timeout, tail: tail() }),
            Some(status) if !status.success() => Err(ChrootError::Failed { status, tail: tail() }),
            Some(_) => Ok(said.tail),
        }
    }

    /// Lets go of the tree.
    pub(super) fn release(self) -> Result<(), ChrootError> {
        kill_inside(self.root);
        self.mounts.release().map_err(ChrootError::Prepare)
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

/// What a program says: reported up to a limit, and its end remembered.
struct Said<'a> {
    told: &'a dyn Fn(&str),
    count: usize,
    limit: usize,
    tail: Vec<String>,
}

impl Said<'_> {
    fn line(&mut self, line: String) {
        self.count += 1;
        match self.count {
            count if count <= self.limit => (self.told)(&line),
            count if count == self.limit + 1 => (self.told)("it says more, which is not reported"),
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
