//! What a run tells its watchers, as typed events. With `--json` each is one line (NDJSON):
//!
//! ```json
//! {"run":"20261122T164512Z-3fa9c1","seq":7,"time":"2026-11-22T16:45:13.021Z","type":"task-started","task":"web01/create","attempt":1}
//! {"run":"20261122T164512Z-3fa9c1","seq":8,"time":"2026-11-22T16:45:13.090Z","type":"task-progress","task":"web01/capture/disk0","attempt":1,"current":1048576,"total":8388608,"unit":"bytes"}
//! ```
//!
//! `seq` counts the events of a run from 1; gaps mean lost progress ticks, never lost steps. Readers ignore keys and
//! types that they do not know: both may be added.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::Serialize;

use crate::address::Address;

/// One event of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunEvent {
    /// The run's name.
    pub run: Arc<str>,
    /// Its place in the run, from 1.
    pub seq: u64,
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: RunEventKind,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum RunEventKind {
    /// The run begins.
    RunStarted {
        /// The plan's name.
        plan: String,
        /// `apply` or `rollback`.
        verb: &'static str,
        /// Tasks that are to be done.
        to_do: u64,
        /// Tasks that are done already.
        done: u64,
    },
    /// A task could begin, but a budget is used up.
    TaskWaiting {
        /// The task.
        task: Address,
        /// The budget's name.
        budget: String,
        /// Its place in the queue, from 1.
        position: usize,
    },
    /// An attempt begins.
    TaskStarted {
        /// The task.
        task: Address,
        /// Which attempt.
        attempt: u32,
    },
    /// How far an attempt is; ticks may be lost.
    TaskProgress {
        /// The task.
        task: Address,
        /// Which attempt.
        attempt: u32,
        /// Units done.
        current: u64,
        /// Units in all, if known.
        total: Option<u64>,
        /// `bytes` or `steps`.
        unit: String,
    },
    /// A line for people.
    TaskNote {
        /// The task.
        task: Address,
        /// The text.
        text: String,
    },
    /// The task is done and that is durable.
    TaskDone {
        /// The task.
        task: Address,
        /// Which attempt.
        attempt: u32,
        /// Whether it was there before our first attempt.
        already_true: bool,
        /// How long the attempt took.
        seconds: f64,
    },
    /// An attempt failed.
    TaskFailed {
        /// The task.
        task: Address,
        /// Which attempt.
        attempt: u32,
        /// Why.
        message: String,
        /// Seconds until the next attempt, if there is one.
        retry_in: Option<f64>,
        /// The log of the attempt.
        log: Option<String>,
    },
    /// What a machine's tasks made is taken back.
    UnwindStarted {
        /// The machine, or the shared scope.
        scope: String,
        /// Tasks to undo.
        tasks: usize,
    },
    /// An undo begins.
    UndoStarted {
        /// The task.
        task: Address,
    },
    /// What a task made is gone.
    TaskUndone {
        /// The task.
        task: Address,
        /// What stays all the same, if something does.
        kept: Option<String>,
    },
    /// An undo failed for good: a person is needed.
    TaskStuck {
        /// The task.
        task: Address,
        /// Why.
        message: String,
    },
    /// A wave's failure budget is used up: nothing of it starts any more.
    WaveFrozen {
        /// The wave.
        wave: String,
        /// Machines that failed.
        failed: u32,
    },
    /// A person asked to stop, or the journal failed.
    Stopping {
        /// 1: nothing new starts; 2: SIGTERM was sent; 3: SIGKILL was sent.
        stage: u8,
        /// Why.
        reason: String,
        /// What is awaited.
        awaiting: Vec<Address>,
    },
    /// The run has ended.
    RunEnded {
        /// `done`, `rolled-back`, `kept`, `incomplete`, `interrupted`.
        outcome: &'static str,
        /// The exit code.
        exit: u8,
        /// One line for people.
        summary: String,
    },
}

impl RunEventKind {
    /// Whether the event may be dropped when the watcher is slow.
    pub fn is_lossy(&self) -> bool {
        matches!(self, Self::TaskProgress { .. } | Self::TaskWaiting { .. })
    }
}

/// Ticks that may wait for a slow watcher; more are dropped.
const TICKS_WAITING: usize = 1000;

/// Where a run's events come from. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Emitter {
    run: Arc<str>,
    seq: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    sink: Option<Sender<Option<RunEvent>>>,
}

/// Where a watcher takes them.
pub struct EventStream {
    source: Receiver<Option<RunEvent>>,
    waiting: Arc<AtomicUsize>,
}

impl Emitter {
    /// An emitter and its stream.
    pub fn new(run: &str) -> (Self, EventStream) {
        let (sink, source) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let emitter = Self { run: run.into(), seq: Arc::default(), waiting: Arc::clone(&waiting), sink: Some(sink) };
        (emitter, EventStream { source, waiting })
    }

    /// An emitter that nobody listens to.
    pub fn silent(run: &str) -> Self {
        Self { run: run.into(), seq: Arc::default(), waiting: Arc::default(), sink: None }
    }

    /// Whether somebody listens.
    pub fn is_heard(&self) -> bool {
        self.sink.is_some()
    }

    /// Sends an event on.
    pub fn emit(&self, what: RunEventKind) {
        let Some(sink) = &self.sink else { return };
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        if what.is_lossy() && self.waiting.load(Ordering::Relaxed) >= TICKS_WAITING {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let time = jiff::Timestamp::now();
        let time = jiff::Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
        // A watcher that has gone does not stop the run.
        let _ = sink.send(Some(RunEvent { run: Arc::clone(&self.run), seq, time, what }));
    }

    /// Ends the stream, also while clones of this emitter are left.
    pub fn close(&self) {
        if let Some(sink) = &self.sink {
            let _ = sink.send(None);
        }
    }
}

impl Iterator for EventStream {
    type Item = RunEvent;

    fn next(&mut self) -> Option<RunEvent> {
        let event = self.source.recv().ok()??;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object() {
        let (emitter, mut stream) = Emitter::new("r1");
        emitter.emit(RunEventKind::TaskStarted { task: Address::new("m/create"), attempt: 2 });
        let line = serde_json::to_value(stream.next().unwrap()).unwrap();
        assert_eq!(line["type"], "task-started");
        assert_eq!((&line["run"], &line["seq"], &line["attempt"]), (&"r1".into(), &1.into(), &2.into()));
    }

    #[test]
    fn ticks_are_dropped_and_steps_are_not_when_nobody_reads() {
        let (emitter, stream) = Emitter::new("r1");
        let tick = |n| RunEventKind::TaskProgress {
            task: Address::new("m/create"),
            attempt: 1,
            current: n,
            total: None,
            unit: "steps".into(),
        };
        (0..3000).for_each(|n| emitter.emit(tick(n)));
        emitter.emit(RunEventKind::TaskNote { task: Address::new("m/create"), text: "last".into() });
        drop(emitter);
        let events: Vec<_> = stream.collect();
        assert_eq!(events.len(), TICKS_WAITING + 1);
        assert_eq!(events.last().map(|event| event.seq), Some(3001), "the gap shows that ticks were lost");
    }
}
