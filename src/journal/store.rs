//! The writing side: one thread owns the database and commits whatever has come in since the last commit as one
//! transaction (group commit). A caller is answered only when its events are durable.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use camino::Utf8Path;

use super::error::JournalError;
use super::event::{Event, RunId};
use super::lease::{HEARTBEAT, Holder};
use super::ledger::Ledger;
use super::writer::Writer;

/// Called when the events are durable, with the number of the last, or when they will never be.
pub type Ack = Box<dyn FnOnce(Result<u64, JournalError>) + Send>;

/// Called once if this process loses its leases.
pub type OnLost = Box<dyn FnOnce(JournalError) + Send>;

/// Events in one transaction at most, so that no caller waits for ever.
const GROUP: usize = 4096;

/// Faults that rehearsals and tests plan.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlannedFaults {
    /// After so many events nothing more becomes durable, as if the process had died there.
    pub refuse_after: Option<u64>,
}

/// Leases that were taken.
#[derive(Debug)]
pub struct Leased {
    /// The fencing epoch.
    pub epoch: u64,
    /// Dead holders whose scopes are ours now.
    pub taken_over: Vec<Holder>,
}

enum Command {
    Append {
        run: RunId,
        events: Vec<Event>,
        ack: Ack,
    },
    Acquire {
        scopes: Vec<String>,
        holder: Box<Holder>,
        reply: std::sync::mpsc::SyncSender<Result<Leased, JournalError>>,
    },
    Ledger {
        reply: std::sync::mpsc::SyncSender<Result<Ledger, JournalError>>,
    },
    OnLost(OnLost),
    Close,
}

/// The journal, open for writing. Dropping it writes what was accepted, gives the leases back and closes the file.
pub struct Journal {
    commands: Sender<Command>,
    writer: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal of a plan root, making it if there is none. Proves its end; repairs its cached states.
    pub fn open(root: &Utf8Path) -> Result<Self, JournalError> {
        Self::open_with(root, PlannedFaults::default())
    }

    /// Opens with planned faults.
    pub fn open_with(root: &Utf8Path, faults: PlannedFaults) -> Result<Self, JournalError> {
        let writer = Writer::open(root, faults)?;
        let (commands, inbox) = channel();
        let thread = std::thread::Builder::new().name("journal".into());
        let writer = thread
            .spawn(move || serve(writer, &inbox))
            .map_err(|error| JournalError::Folder { path: root.to_owned(), error: std::sync::Arc::new(error) })?;
        Ok(Self { commands, writer: Some(writer) })
    }

    /// Hands events over; `ack` is called from the journal's thread.
    pub fn append(
        &self,
        run: &RunId,
        events: Vec<Event>,
        ack: impl FnOnce(Result<u64, JournalError>) + Send + 'static,
    ) {
        let command = Command::Append { run: run.clone(), events, ack: Box::new(ack) };
        if let Err(refused) = self.commands.send(command)
            && let Command::Append { ack, .. } = refused.0
        {
            ack(Err(JournalError::Closed));
        }
    }

    /// Hands events over and waits until they are durable.
    pub fn append_and_wait(&self, run: &RunId, events: Vec<Event>) -> Result<u64, JournalError> {
        let (reply, answer) = sync_channel(1);
        self.append(run, events, move |result| drop(reply.send(result)));
        answer.recv().unwrap_or(Err(JournalError::Closed))
    }

    /// Takes all of `scopes`, or none if a live process holds one of them.
    pub fn acquire(&self, scopes: Vec<String>, holder: Holder) -> Result<Leased, JournalError> {
        self.ask(|reply| Command::Acquire { scopes, holder: Box::new(holder), reply })
    }

    /// The last word on every task, as this writer sees it.
    pub fn ledger(&self) -> Result<Ledger, JournalError> {
        self.ask(|reply| Command::Ledger { reply })
    }

    /// What to do when another process has taken our leases over.
    pub fn on_lost(&self, call: impl FnOnce(JournalError) + Send + 'static) {
        // If the writer has ended, every later append says so.
        let _ = self.commands.send(Command::OnLost(Box::new(call)));
    }

    fn ask<T>(
        &self,
        command: impl FnOnce(std::sync::mpsc::SyncSender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        let (reply, answer) = sync_channel(1);
        self.commands.send(command(reply)).map_err(|_| JournalError::Closed)?;
        answer.recv().unwrap_or(Err(JournalError::Closed))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Close);
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by the panic hook; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

/// The journal's thread.
fn serve(mut writer: Writer, inbox: &Receiver<Command>) {
    let mut on_lost: Option<OnLost> = None;
    let mut next_beat = Instant::now() + HEARTBEAT;
    let mut carried: Option<Command> = None;
    loop {
        let command = match carried.take() {
            Some(command) => command,
            None => match inbox.recv_timeout(next_beat.saturating_duration_since(Instant::now())) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => {
                    next_beat = Instant::now() + HEARTBEAT;
                    if let Err(error) = writer.beat()
                        && let Some(call) = on_lost.take_if(|_| error.is_fenced())
                    {
                        call(error);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            },
        };
        match command {
            Command::Append { run, events, ack } => {
                let mut size = events.len();
                let mut group = vec![(run, events)];
                let mut acks = vec![ack];
                while size < GROUP {
                    match inbox.try_recv() {
                        Ok(Command::Append { run, events, ack }) => {
                            size += events.len();
                            group.push((run, events));
                            acks.push(ack);
                        }
                        Ok(other) => {
                            carried = Some(other);
                            break;
                        }
                        Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                    }
                }
                let result = writer.commit(&group);
                acks.into_iter().for_each(|ack| ack(result.clone()));
            }
            Command::Acquire { scopes, holder, reply } => drop(reply.send(writer.acquire(&scopes, *holder))),
            Command::Ledger { reply } => drop(reply.send(writer.ledger())),
            Command::OnLost(call) => on_lost = Some(call),
            Command::Close => break,
        }
    }
    writer.close();
}
