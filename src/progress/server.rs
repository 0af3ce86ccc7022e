//! The executor's side of `REPLANT_EVENTS`: one Unix socket for all tasks. A connection's first line says which task
//! speaks; ticks go on to the display, outputs are kept until the attempt ends.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::address::Address;

use super::event::{Emitter, RunEventKind};
use super::message::TaskMessage;

/// A line longer than this ends its connection.
const LONGEST_LINE: u64 = 16 << 20;

/// Longest wait for connections of a task that has ended; only a service that it left behind keeps one open.
const SETTLING: Duration = Duration::from_secs(2);

/// The first word of a connection that is no task's: it only waits its turn.
const TURN: &str = "turn";

/// What one attempt has said so far.
#[derive(Debug, Default)]
pub struct Heard {
    ticks: AtomicU64,
    state: Mutex<HeardState>,
}

#[derive(Debug, Default)]
struct HeardState {
    outputs: BTreeMap<String, String>,
    first_bytes: Option<u64>,
    last_bytes: Option<u64>,
}

impl Heard {
    /// Counts everything that was heard: two equal numbers mean silence between.
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The facts that were reported.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        self.state().outputs.clone()
    }

    /// Bytes that were moved while we listened, if any were reported.
    pub fn bytes(&self) -> Option<u64> {
        let state = self.state();
        Some(state.last_bytes?.saturating_sub(state.first_bytes?))
    }

    fn state(&self) -> MutexGuard<'_, HeardState> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn take(&self, message: &TaskMessage) {
        match message {
            // A repeated number is no progress.
            TaskMessage::Progress { current, unit, .. } if unit == "bytes" => {
                let mut state = self.state();
                if state.last_bytes != Some(*current) {
                    self.ticks.fetch_add(1, Ordering::Relaxed);
                }
                state.first_bytes.get_or_insert(*current);
                state.last_bytes = Some(*current);
            }
            TaskMessage::Output { name, value } => {
                self.ticks.fetch_add(1, Ordering::Relaxed);
                self.state().outputs.insert(name.clone(), value.clone());
            }
            _ => {
                self.ticks.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[derive(Clone)]
struct Attempt {
    number: u32,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Shared {
    attempts: HashMap<Address, Attempt>,
    /// Open connections in the order in which they were accepted; `None` until the first line was read.
    open: BTreeMap<u64, Option<Address>>,
    next: u64,
}

/// The socket and everything that was heard on it.
pub struct ProgressServer {
    path: Utf8PathBuf,
    shared: Arc<Mutex<Shared>>,
    changed: Arc<watch::Sender<u64>>,
    accepting: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl ProgressServer {
    /// Opens the socket in a private folder of its own (its path is short: socket paths have 107 bytes at most).
    pub fn start(emitter: Emitter) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("replant-").tempdir()?;
        let path = folder.path().join("events");
        let path = Utf8PathBuf::from_path_buf(path)
            .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))?;
        let listener = UnixListener::bind(&path)?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let changed = Arc::new(watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared), Arc::clone(&changed), emitter));
        Ok(Self { path, shared, changed, accepting, _folder: folder })
    }

    /// The socket's path.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// An attempt begins: from now on what its task says is kept in the answer.
    pub fn listen(&self, task: &Address, attempt: u32) -> Arc<Heard> {
        let heard = Arc::new(Heard::default());
        lock(&self.shared).attempts.insert(task.clone(), Attempt { number: attempt, heard: Arc::clone(&heard) });
        heard
    }

    /// The attempt's process has ended: reads what it said up to its end.
    pub async fn settle(&self, task: &Address) {
        let settled = tokio::time::timeout(SETTLING, self.read_to_the_end(task)).await;
        if !matches!(settled, Ok(Ok(()))) {
            tracing::debug!(%task, "a connection of the task stayed open after its end");
        }
        lock(&self.shared).attempts.remove(task);
    }

    /// Connections are accepted in the order in which they were made, so when ours has its turn, all that the ended
    /// process made have been accepted.
    async fn read_to_the_end(&self, task: &Address) -> io::Result<()> {
        let mut turn = UnixStream::connect(&self.path).await?;
        turn.write_all(format!("{TURN}\n").as_bytes()).await?;
        let mut number = String::new();
        turn.read_to_string(&mut number).await?;
        let before: u64 = number.trim().parse().map_err(io::Error::other)?;
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let open = lock(&self.shared)
                .open
                .range(..before)
                .any(|(_, speaker)| speaker.as_ref().is_none_or(|speaker| speaker == task));
            if !open {
                return Ok(());
            }
            changes.changed().await.map_err(io::Error::other)?;
        }
    }
}

impl Drop for ProgressServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("no holder of this lock panics")
}

async fn accept(
    listener: UnixListener,
    shared: Arc<Mutex<Shared>>,
    changed: Arc<watch::Sender<u64>>,
    emitter: Emitter,
) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: others will be closed.
                tracing::warn!(%error, "a connection of a task could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let id = {
            let mut shared = lock(&shared);
            shared.next += 1;
            let id = shared.next;
            shared.open.insert(id, None);
            id
        };
        let (shared, changed, emitter) = (Arc::clone(&shared), Arc::clone(&changed), emitter.clone());
        tokio::spawn(async move {
            if let Err(error) = converse(stream, id, &shared, &emitter, &changed).await {
                tracing::debug!(%error, "a connection of a task broke");
            }
            lock(&shared).open.remove(&id);
            changed.send_modify(|count| *count += 1);
        });
    }
}

async fn converse(
    stream: UnixStream,
    id: u64,
    shared: &Mutex<Shared>,
    emitter: &Emitter,
    changed: &watch::Sender<u64>,
) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut line = String::new();
    if (&mut reading).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
        return Ok(());
    }
    if line.trim_end() == TURN {
        return writing.write_all(id.to_string().as_bytes()).await;
    }
    let TaskMessage::Hello { task } = serde_json::from_str(&line)? else {
        return Err(io::Error::other("the first line does not say which task speaks"));
    };
    let task = Address::new(task);
    let attempt = {
        let mut shared = lock(shared);
        shared.open.insert(id, Some(task.clone()));
        shared.attempts.get(&task).cloned()
    };
    changed.send_modify(|count| *count += 1);
    let Some(Attempt { number, heard }) = attempt else {
        return Err(io::Error::other(format!("`{task}` speaks, but does not run")));
    };
    loop {
        line.clear();
        if (&mut reading).take(LONGEST_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        // Newer clients may say more than we know.
        let Ok(message) = serde_json::from_str::<TaskMessage>(&line) else { continue };
        heard.take(&message);
        match message {
            TaskMessage::Progress { current, total, unit } => {
                emitter.emit(RunEventKind::TaskProgress { task: task.clone(), attempt: number, current, total, unit });
            }
            TaskMessage::Note { text } => emitter.emit(RunEventKind::TaskNote { task: task.clone(), text }),
            TaskMessage::Output { .. } | TaskMessage::Hello { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn what_was_said_before_the_end_is_heard_by_the_right_task() {
        let server = ProgressServer::start(Emitter::silent("r")).unwrap();
        let tasks = [Address::new("a/create"), Address::new("b/create")];
        let heard: Vec<_> = tasks.iter().map(|task| server.listen(task, 1)).collect();
        for round in 0..50 {
            for task in &tasks {
                let mut stream = std::os::unix::net::UnixStream::connect(server.path()).unwrap();
                let hello = serde_json::to_string(&TaskMessage::Hello { task: task.to_string() }).unwrap();
                let output = TaskMessage::Output { name: format!("n{round}"), value: task.to_string() };
                writeln!(stream, "{hello}\n{}", serde_json::to_string(&output).unwrap()).unwrap();
            }
        }
        for (task, heard) in tasks.iter().zip(&heard) {
            server.settle(task).await;
            assert_eq!(heard.outputs().len(), 50);
            assert!(heard.outputs().values().all(|value| value == task.as_str()));
        }
    }

    #[tokio::test]
    async fn a_repeated_number_is_no_progress() {
        let heard = Heard::default();
        let tick = |current| TaskMessage::Progress { current, total: None, unit: "bytes".into() };
        heard.take(&tick(5));
        let before = heard.ticks();
        heard.take(&tick(5));
        assert_eq!(heard.ticks(), before);
        heard.take(&tick(9));
        assert_eq!((heard.ticks(), heard.bytes()), (before + 1, Some(4)));
    }
}
