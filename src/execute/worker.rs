//! Runs rendered scripts: `sh SCRIPT apply|check|undo [ITEM]`, each in a process group of its own, with its output in
//! `.replant/log/RUN/ADDRESS.ATTEMPT.log`. Watches time, silence and the order to stop.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;
use tokio::time::Instant;

use crate::address::Address;
use crate::planner::check_code;
use crate::progress::{EVENTS_SOCKET, Heard, ProgressServer, TASK};
use crate::units::human_duration;

use super::retry::is_retryable;
use super::runner::{Call, Checked, Ended, Failed, Halt, TaskHandle, TaskRunner};

/// From SIGTERM to SIGKILL, when an attempt took too long or was silent for too long.
const GRACE: Duration = Duration::from_secs(10);

/// How much of a log's end is looked at for the last words.
const TAIL: u64 = 4096;

/// What a script is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Check,
    Apply,
    Undo,
    Stop,
}

/// Where scripts, logs and the rest of their surroundings are.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The plan's folder.
    pub root: Utf8PathBuf,
    /// The run folder whose `artifacts/` hold the scripts.
    pub folder: Utf8PathBuf,
    /// Other run folders, for the tasks that come from them.
    pub folders: HashMap<Address, Utf8PathBuf>,
    /// The run's name.
    pub run: String,
    /// The `replant` binary that scripts call.
    pub replant: Utf8PathBuf,
    /// Further variables for the scripts.
    pub env: Vec<(String, String)>,
}

/// Runs tasks as scripts.
pub struct ScriptRunner {
    surroundings: Surroundings,
    server: ProgressServer,
    groups: Mutex<HashSet<i32>>,
}

/// How a process came to its end.
enum End {
    Exited(ExitStatus),
    TimedOut(Duration),
    Stalled(Duration),
    Halted(Halt),
    NotStarted(String),
}

impl ScriptRunner {
    /// A runner whose scripts report to `server`.
    pub fn new(surroundings: Surroundings, server: ProgressServer) -> Self {
        Self { surroundings, server, groups: Mutex::default() }
    }

    /// The log of an attempt.
    fn log_path(&self, task: &Address, attempt: u32) -> Utf8PathBuf {
        let logs = self.surroundings.root.join(".replant/log").join(&self.surroundings.run);
        logs.join(format!("{task}.{attempt}.log"))
    }

    fn groups(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.groups.lock().expect("no holder of this lock panics")
    }

    async fn run(&self, task: &TaskHandle, word: Word, mut call: Call) -> (End, Arc<Heard>, Utf8PathBuf) {
        let log = self.log_path(&task.address, call.attempt);
        let heard = self.server.listen(&task.address, call.attempt);
        let end = match self.spawn(task, word, &call, &log) {
            Err(message) => End::NotStarted(message),
            Ok(mut child) => {
                let group = child.id().and_then(|id| i32::try_from(id).ok());
                group.map(|group| self.groups().insert(group));
                let end = self.watch(task, &mut child, &mut call, &heard, &log).await;
                group.map(|group| self.groups().remove(&group));
                end
            }
        };
        self.server.settle(&task.address).await;
        (end, heard, log)
    }

    fn spawn(
        &self,
        task: &TaskHandle,
        word: Word,
        call: &Call,
        log: &Utf8Path,
    ) -> Result<tokio::process::Child, String> {
        let around = &self.surroundings;
        let folder = around.folders.get(&task.address).unwrap_or(&around.folder);
        let script = folder.join("artifacts").join(&task.command.script);
        let place = script.parent().unwrap_or(folder);
        let output = open_log(log).map_err(|error| format!("the log {log} cannot be written: {error}"))?;
        let errors = output.try_clone().map_err(|error| format!("the log {log} cannot be shared: {error}"))?;
        let mut command = Command::new("/bin/sh");
        command.arg(&script);
        match word {
            Word::Check => command.arg("check").args(&task.command.item),
            Word::Apply => command.arg("apply").args(&task.command.item),
            Word::Undo => command.arg("undo").args(&task.command.item),
            Word::Stop => command.args(["apply", "stop"]),
        };
        command
            .envs(around.env.iter().map(|(name, value)| (name, value)))
            .env("REPLANT", &around.replant)
            .env("REPLANT_ROOT", &around.root)
            .env("REPLANT_RUN", &around.run)
            .env("REPLANT_ATTEMPT", call.attempt.to_string())
            .env("REPLANT_EPOCH", call.epoch.to_string())
            .env(TASK, task.address.as_str())
            .env(EVENTS_SOCKET, self.server.path())
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        if call.redo {
            command.env("REPLANT_REDO", "1");
        }
        command.spawn().map_err(|error| match script.exists() {
            true => format!("`sh {script}` cannot be started: {error}"),
            false => format!("the script {script} is missing: {error}"),
        })
    }

    /// Waits for the end, which may have to be brought about.
    async fn watch(
        &self,
        task: &TaskHandle,
        child: &mut tokio::process::Child,
        call: &mut Call,
        heard: &Heard,
        log: &Utf8Path,
    ) -> End {
        let group = child.id().and_then(|id| Pid::from_raw(id as i32));
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        let started = Instant::now();
        let timeout = task.limits.timeout.map(|limit| started + limit);
        let stall = task.limits.stall;
        let mut silence = Silence { since: started, seen: life_signs(heard, log) };
        let mut why: Option<End> = None;
        let mut kill_at: Option<Instant> = None;
        loop {
            let next_look = stall.map(|limit| silence.since + limit);
            tokio::select! {
                ended = child.wait() => {
                    return match (ended, why) {
                        (Ok(status), _) if status.success() => End::Exited(status),
                        (_, Some(why)) => {
                            // What it started in its group must not work on.
                            signal(Signal::KILL);
                            why
                        }
                        (Ok(status), None) => End::Exited(status),
                        (Err(error), None) => End::NotStarted(format!("its end could not be awaited: {error}")),
                    };
                }
                Ok(()) = call.halt.changed() => {
                    let halt = *call.halt.borrow_and_update();
                    match halt {
                        Halt::No => continue,
                        Halt::Term => signal(Signal::TERM),
                        Halt::Kill => signal(Signal::KILL),
                    };
                    why = Some(End::Halted(halt));
                }
                () = at(timeout), if why.is_none() => {
                    signal(Signal::TERM);
                    kill_at = Some(Instant::now() + GRACE);
                    why = Some(End::TimedOut(task.limits.timeout.unwrap_or_default()));
                }
                () = at(next_look), if why.is_none() => {
                    let seen = life_signs(heard, log);
                    if seen == silence.seen {
                        signal(Signal::TERM);
                        kill_at = Some(Instant::now() + GRACE);
                        why = Some(End::Stalled(stall.unwrap_or_default()));
                    } else {
                        silence = Silence { since: Instant::now(), seen };
                    }
                }
                () = at(kill_at) => {
                    signal(Signal::KILL);
                    kill_at = None;
                }
            }
        }
    }

    async fn change(&self, task: &TaskHandle, word: Word, call: Call) -> Ended {
        let (end, heard, log) = self.run(task, word, call).await;
        let result = match end {
            End::Exited(status) if status.success() => Ok(()),
            end => Err(failed(&end, &log)),
        };
        Ended { result, outputs: heard.outputs(), bytes: heard.bytes() }
    }
}

impl TaskRunner for ScriptRunner {
    async fn check(&self, task: &TaskHandle, call: Call) -> Checked {
        let (end, heard, log) = self.run(task, Word::Check, call).await;
        match &end {
            End::Exited(status) => match status.code() {
                Some(check_code::PRESENT) => Checked::Present(heard.outputs()),
                Some(check_code::ABSENT) => Checked::Absent,
                Some(check_code::PARTIAL) => Checked::Partial,
                _ => Checked::Unknown(failed(&end, &log)),
            },
            end => Checked::Unknown(failed(end, &log)),
        }
    }

    async fn apply(&self, task: &TaskHandle, call: Call) -> Ended {
        self.change(task, Word::Apply, call).await
    }

    async fn undo(&self, task: &TaskHandle, call: Call) -> Ended {
        self.change(task, Word::Undo, call).await
    }

    async fn stop(&self, cleanup: &TaskHandle, call: Call) -> Ended {
        self.change(cleanup, Word::Stop, call).await
    }

    fn kill_all(&self) {
        for group in self.groups().iter().filter_map(|group| Pid::from_raw(*group)) {
            // It has just ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Since when a task has given no sign of life, and the last sign.
struct Silence {
    since: Instant,
    seen: (u64, u64),
}

/// Progress and output; two equal answers mean silence between.
fn life_signs(heard: &Heard, log: &Utf8Path) -> (u64, u64) {
    (heard.ticks(), fs::metadata(log).map_or(0, |log| log.len()))
}

/// Waits until a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn open_log(path: &Utf8Path) -> std::io::Result<File> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    open().or_else(|_| {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        open()
    })
}

/// What happened, for people: the reason and the last words of the script.
fn failed(end: &End, log: &Utf8Path) -> Failed {
    let (what, retryable, halted) = match end {
        End::Exited(status) => match (status.code(), status.signal()) {
            (Some(code), _) => (format!("exit code {code}"), is_retryable(code), false),
            (None, signal) => (format!("killed by signal {}", signal.unwrap_or_default()), true, false),
        },
        End::TimedOut(limit) => (format!("not done after {}", human_duration(*limit)), true, false),
        End::Stalled(limit) => (format!("no progress for {}", human_duration(*limit)), true, false),
        End::Halted(Halt::Kill) => ("ended by SIGKILL, as asked".into(), true, true),
        End::Halted(_) => ("ended by SIGTERM, as asked".into(), true, true),
        End::NotStarted(why) => (why.clone(), true, false),
    };
    let message = match last_words(log) {
        Some(words) => format!("{what}: {words}"),
        None => what.clone(),
    };
    // The next one who reads the log shall see how it ended.
    let noted = OpenOptions::new().append(true).open(log).and_then(|mut log| writeln!(log, "[replant] {what}"));
    if let Err(error) = noted {
        tracing::debug!(%log, %error, "the end could not be noted in the log");
    }
    Failed { message, retryable, halted, log: Some(log.to_string()) }
}

/// The last line of the log that says something.
fn last_words(log: &Utf8Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    let words = tail.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("[replant] "))?;
    Some(words.chars().filter(|c| !c.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_last_line_that_says_something() {
        let folder = tempfile::tempdir().unwrap();
        let log = Utf8PathBuf::from_path_buf(folder.path().join("a/b.1.log")).unwrap();
        let mut file = open_log(&log).unwrap();
        assert_eq!(last_words(&log), None);
        write!(file, "copying\nno space left\x1b[0m\n\n[replant] exit code 1\n").unwrap();
        assert_eq!(last_words(&log).as_deref(), Some("no space left[0m"));
    }
}
