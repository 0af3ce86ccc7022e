//! One tokio task owns the state of a run; everyone else sends it messages.
//!
//! ```text
//!            ready heap --budgets--> check --> record Started --> apply --> record Applied --> dependents
//!  forward:     ^                      |present: AlreadyTrue         |failed: record Failed, retry or give up
//!               +----------------------+------------------------------+
//!  unwinding:   drain -> (point of no return?) -> cleanup stop -> undo in reverse dependency order
//! ```
//!
//! A step goes on only when its record is durable: appends are gathered over one turn of the loop, handed to the
//! journal together, and what follows from them is done when the journal answers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::address::Address;
use crate::journal::{Event, Journal, JournalError, TaskEvent, TaskEventKind, TaskStatus};
use crate::planner::Phase;
use crate::progress::RunEventKind;

use super::limits::Budgets;
use super::outcome::RunReport;
use super::run_state::{Message, Mode, Node, Scope, ScopePhase, Setup, Step, Then};
use super::runner::{Call, Halt, TaskHandle, TaskRunner};
use super::waves::WaveGate;

pub(super) struct Dispatcher<R> {
    pub setup: Setup<R>,
    pub nodes: Vec<Node>,
    pub scopes: Vec<Scope>,
    /// Failed machines per wave, and whether the wave is frozen.
    pub waves: Vec<(u32, bool)>,
    /// Which waves are open.
    pub gate: WaveGate,
    pub budgets: Budgets,
    pub ready: BinaryHeap<Reverse<u32>>,
    pub running: HashMap<u32, watch::Sender<Halt>>,
    pub outbox: UnboundedSender<Message>,
    inbox: UnboundedReceiver<Message>,
    pending: Vec<(Event, Then)>,
    /// Tasks that hold budgets.
    busy: usize,
    futures: usize,
    appends: usize,
    timers: usize,
    pub stop: u8,
    pub broken: Option<JournalError>,
    pub report: RunReport,
    woken: Vec<u32>,
}

/// Messages that are handled before the journal is called: enough for large groups, few enough to stay prompt.
const TURN: usize = 4096;

impl<R: TaskRunner> Dispatcher<R> {
    pub fn new(setup: Setup<R>) -> Self {
        let (outbox, inbox) = unbounded_channel();
        let tasks = &setup.manifest.tasks;
        let mut report = super::apply::empty_report(Some(setup.run.clone()));
        let nodes: Vec<Node> = tasks
            .iter()
            .zip(0u32..)
            .map(|(task, at)| {
                let entry = setup.ledger.entries.get(&task.address);
                let status = entry.map_or(TaskStatus::Pending, |entry| entry.status);
                let redo = super::apply::is_redo(&setup.manifest, task, entry);
                let done = super::apply::is_done(task, entry, redo) && task.phase != Phase::Cleanup;
                if setup.mode == Mode::Apply && done {
                    report.skipped += 1;
                }
                Node {
                    status,
                    step: if done { Step::Done } else { Step::Waiting },
                    waits: setup.shape.depends_on.of(at).len() as u32,
                    undo_waits: 0,
                    passes: false,
                    attempt: 0,
                    tries: 0,
                    undo_tries: 0,
                    redo,
                    again: redo || super::apply::is_done_again(entry),
                    was_applied: false,
                }
            })
            .collect();
        let scopes = setup.shape.scopes.iter().map(|_| Scope {
            phase: ScopePhase::Forward,
            active: 0,
            undo_left: 0,
            failed: false,
            only: None,
            then_forward: false,
        });
        Self {
            scopes: scopes.collect(),
            waves: vec![(0, false); setup.manifest.waves.len()],
            gate: WaveGate::new(setup.manifest.waves.len(), &setup.shape, &nodes),
            budgets: Budgets::new(&setup.manifest.budgets, tasks.iter().map(|task| task.budgets.as_slice())),
            nodes,
            ready: BinaryHeap::new(),
            running: HashMap::new(),
            outbox,
            inbox,
            pending: Vec::new(),
            busy: 0,
            futures: 0,
            appends: 0,
            timers: 0,
            stop: 0,
            broken: None,
            report,
            woken: Vec::new(),
            setup,
        }
    }

    /// Runs until nothing is left that could be done.
    pub async fn run(mut self) -> (RunReport, Option<JournalError>, Journal) {
        let began = Instant::now();
        let lost = self.outbox.clone();
        self.setup.journal.on_lost(move |error| drop(lost.send(Message::Lost(error))));
        for event in std::mem::take(&mut self.setup.opening) {
            self.pending.push((event, Then::Nothing));
        }
        match self.setup.mode {
            Mode::Apply => self.begin_forward(),
            Mode::Rollback => self.begin_rollback(),
        }
        let mut turn = Vec::with_capacity(TURN);
        loop {
            self.pump();
            self.flush();
            let waits_for_timers = self.timers > 0 && self.may_start();
            if self.futures == 0 && self.appends == 0 && !waits_for_timers {
                break;
            }
            tokio::select! {
                biased;
                Some(reason) = self.setup.stop.0.recv() => self.stop_more(&reason),
                _ = self.inbox.recv_many(&mut turn, TURN) => turn.drain(..).for_each(|message| self.take(message)),
            }
        }
        self.conclude();
        self.report.elapsed = began.elapsed();
        (self.report, self.broken, self.setup.journal)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Durable { result, then } => {
                self.appends -= 1;
                match result {
                    Ok(_) => then.into_iter().for_each(|then| self.follow(then)),
                    Err(error) => {
                        self.break_off(error);
                        then.into_iter().for_each(|then| self.abandon(then));
                    }
                }
            }
            Message::Checked { node, answer } => {
                self.ended(node);
                self.checked(node, answer);
            }
            Message::Ended { node, ended, seconds } => {
                self.ended(node);
                self.attempt_ended(node, ended, seconds);
            }
            Message::CommitChecked { scope, answer } => {
                self.futures -= 1;
                self.commit_checked(scope, &answer);
            }
            Message::UndoEnded { node, ended } => {
                self.ended(node);
                self.undo_ended(node, ended);
            }
            Message::StopEnded { node, ended } => {
                self.ended(node);
                self.stop_ended(node, ended);
            }
            Message::Due { node } => {
                self.timers -= 1;
                let node_state = &mut self.nodes[node as usize];
                if node_state.step == Step::Backoff {
                    let forward = node_state.undo_tries == 0;
                    node_state.step = if forward { Step::Ready } else { Step::UndoReady };
                    self.ready.push(Reverse(node));
                }
            }
            Message::Lost(error) => self.break_off(error),
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Apply(node) => self.start_apply(node),
            Then::Finish { node, already_true, seconds } => self.finish(node, already_true, seconds),
            Then::AfterFailure { node, trouble, retryable, halted } => {
                self.after_failure(node, trouble, retryable, halted);
            }
            Then::CheckGaveUp { node, trouble } => {
                self.free(node, Step::Waiting);
                self.give_up(node, trouble);
            }
            Then::Undo(node) => self.start_undo(node),
            Then::Undone(node) => self.finish_undo(node),
            Then::Stuck { node, trouble } => self.stuck(node, trouble),
            Then::Stop(node) => self.start_stop(node),
            Then::Stopped(node) => self.stopped(node),
            Then::StopFailed { node, trouble } => self.stop_failed(node, trouble),
        }
    }

    /// The record of a step did not become durable: the step is not followed up.
    fn abandon(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Apply(node)
            | Then::Finish { node, .. }
            | Then::AfterFailure { node, .. }
            | Then::CheckGaveUp { node, .. }
            | Then::Undo(node)
            | Then::Undone(node)
            | Then::Stuck { node, .. }
            | Then::Stop(node)
            | Then::Stopped(node)
            | Then::StopFailed { node, .. } => {
                self.free(node, Step::Waiting);
                self.report.interrupted.push(self.address(node));
            }
        }
    }

    /// Whether anything new may begin.
    pub fn may_start(&self) -> bool {
        self.stop == 0 && self.broken.is_none()
    }

    /// Begins ready tasks as long as budgets and jobs allow.
    fn pump(&mut self) {
        while self.may_start() && self.busy < self.setup.jobs {
            let Some(Reverse(node)) = self.ready.pop() else { break };
            let step = self.nodes[node as usize].step;
            let wanted = match step {
                Step::Ready => self.goes_forward(node),
                Step::UndoReady => true,
                // An old entry of a task that went on in another way.
                _ => {
                    self.wake_beside(node);
                    continue;
                }
            };
            if !wanted {
                self.nodes[node as usize].step = Step::Waiting;
                self.wake_beside(node);
                continue;
            }
            match self.budgets.take_or_wait(node) {
                Ok(()) => {
                    self.busy += 1;
                    let scope = self.scope(node);
                    self.scopes[scope].active += 1;
                    if step == Step::Ready {
                        self.begin(node);
                    } else {
                        self.begin_undo(node);
                    }
                }
                Err((budget, position)) => {
                    if self.setup.emitter.is_heard() {
                        let task = self.setup.manifest.tasks[node as usize].address.clone();
                        let budget = budget.to_owned();
                        self.setup.emitter.emit(RunEventKind::TaskWaiting { task, budget, position });
                    }
                    self.wake_beside(node);
                }
            }
        }
    }

    /// Whether the task's scope and wave still go forward.
    fn goes_forward(&self, node: u32) -> bool {
        let scope = self.setup.shape.scope_of[node as usize] as usize;
        let frozen = self.setup.shape.scopes[scope].wave.is_some_and(|wave| self.waves[wave as usize].1);
        self.scopes[scope].phase == ScopePhase::Forward && !frozen
    }

    /// Hands the records of this turn to the journal.
    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (events, then): (Vec<Event>, Vec<Then>) = std::mem::take(&mut self.pending).into_iter().unzip();
        self.appends += 1;
        let outbox = self.outbox.clone();
        self.setup.journal.append(&self.setup.run, events, move |result| {
            // The dispatcher waits for every answer; if it is gone, its runtime was dropped.
            let _ = outbox.send(Message::Durable { result, then });
        });
    }

    /// Records an event of a task, moving its status on; `then` follows when it is durable.
    pub fn record(&mut self, node: u32, event: TaskEvent, then: Then) {
        let state = &mut self.nodes[node as usize];
        match state.status.next(event.event) {
            Ok(status) => {
                state.status = status;
                self.pending.push((Event::Task(event), then));
            }
            Err(error) => {
                let task = event.task.to_string();
                self.break_off(JournalError::Illegal { task, seq: 0, error });
                self.abandon(then);
            }
        }
    }

    /// Records something that moves no task.
    pub fn note(&mut self, event: Event, then: Then) {
        self.pending.push((event, then));
    }

    /// An event of a task with its number of attempts.
    pub fn event(&self, node: u32, event: TaskEventKind) -> TaskEvent {
        TaskEvent::plain(self.address(node), event, self.nodes[node as usize].attempt)
    }

    pub fn address(&self, node: u32) -> Address {
        self.setup.manifest.tasks[node as usize].address.clone()
    }

    pub fn handle(&self, node: u32) -> TaskHandle {
        TaskHandle::new(Arc::clone(&self.setup.manifest), node as usize)
    }

    pub fn scope(&self, node: u32) -> usize {
        self.setup.shape.scope_of[node as usize] as usize
    }

    /// A call of the task, that can be halted while it runs.
    pub fn call(&mut self, node: u32) -> Call {
        let (halt, told) = watch::channel(Halt::No);
        self.running.insert(node, halt);
        let state = &self.nodes[node as usize];
        Call { attempt: state.attempt.max(1), epoch: self.setup.epoch, redo: state.redo, halt: told }
    }

    /// Runs something beside the dispatcher; its message comes back.
    pub fn spawn(&mut self, work: impl Future<Output = Message> + Send + 'static) {
        self.futures += 1;
        let outbox = self.outbox.clone();
        tokio::spawn(async move { drop(outbox.send(work.await)) });
    }

    /// Makes the task due again after a while.
    pub fn wait(&mut self, node: u32, wait: std::time::Duration) {
        self.nodes[node as usize].step = Step::Backoff;
        self.timers += 1;
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            drop(outbox.send(Message::Due { node }));
        });
    }

    fn ended(&mut self, node: u32) {
        self.futures -= 1;
        self.running.remove(&node);
    }

    /// Gives back what a busy task holds.
    pub fn free(&mut self, node: u32, step: Step) {
        self.busy -= 1;
        self.nodes[node as usize].step = step;
        let scope = self.scope(node);
        self.scopes[scope].active -= 1;
        self.budgets.give_back(node, &mut self.woken);
        self.ready_woken();
        if self.scopes[scope].active == 0 && self.scopes[scope].phase == ScopePhase::Draining {
            self.drained(scope as u32);
        }
    }

    fn wake_beside(&mut self, node: u32) {
        self.budgets.wake_beside(node, &mut self.woken);
        self.ready_woken();
    }

    fn ready_woken(&mut self) {
        self.ready.extend(self.woken.drain(..).map(Reverse));
    }

    /// The journal failed, or the lease is lost: nothing more starts; a lost lease also ends what runs.
    fn break_off(&mut self, error: JournalError) {
        let fenced = error.is_fenced();
        if self.broken.is_none() {
            self.announce_stop(1, &error.to_string());
            self.broken = Some(error);
        }
        if fenced {
            self.halt_running(Halt::Term);
        }
    }

    fn stop_more(&mut self, reason: &str) {
        self.stop = (self.stop + 1).min(3);
        match self.stop {
            1 => {}
            2 => self.halt_running(Halt::Term),
            _ => self.halt_running(Halt::Kill),
        }
        let running = self.awaited();
        self.announce_stop(self.stop, reason);
        self.note(Event::Interrupted { stage: self.stop, running }, Then::Nothing);
    }

    fn halt_running(&self, halt: Halt) {
        for task in self.running.values() {
            // One that has just ended is not told.
            let _ = task.send(halt);
        }
    }

    fn awaited(&self) -> Vec<Address> {
        let mut nodes: Vec<u32> = self.running.keys().copied().collect();
        nodes.sort_unstable();
        nodes.into_iter().map(|node| self.address(node)).collect()
    }

    fn announce_stop(&self, stage: u8, reason: &str) {
        let awaiting = self.awaited();
        self.setup.emitter.emit(RunEventKind::Stopping { stage, reason: reason.to_owned(), awaiting });
    }
}
