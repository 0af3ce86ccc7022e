//! Going forward: check, record, apply, record, and what follows from a failure.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Instant;

use crate::journal::{Event, Measured, TaskEvent, TaskEventKind, TaskStatus};
use crate::plan::OnFailure;
use crate::planner::{Phase, Reversal};
use crate::progress::RunEventKind;

use super::apply::DONE_AGAIN;
use super::dispatcher::Dispatcher;
use super::inject::{InjectionKind, crash};
use super::outcome::Trouble;
use super::retry::wait_after;
use super::run_state::{Message, ScopePhase, Step, Then};
use super::runner::{Checked, Ended, Failed, TaskRunner};

impl<R: TaskRunner> Dispatcher<R> {
    /// Sorts out what is done, what must first be undone to its end, and what can begin.
    pub(super) fn begin_forward(&mut self) {
        for node in 0..self.nodes.len() as u32 {
            if matches!(self.nodes[node as usize].status, TaskStatus::Running | TaskStatus::Undoing) {
                let (task, text) = (self.address(node), "was cut off in an earlier run; it is looked at again");
                self.report.recovered.push(task.clone());
                self.setup.emitter.emit(RunEventKind::TaskNote { task, text: text.into() });
            }
            if self.nodes[node as usize].step == Step::Done {
                self.dependents_go_on(node);
            }
        }
        // An undo that was cut off has to end before anything of its scope can begin anew.
        for scope in 0..self.scopes.len() as u32 {
            let half_undone: Vec<u32> = self.setup.shape.scopes[scope as usize]
                .nodes
                .iter()
                .copied()
                .filter(|node| matches!(self.nodes[*node as usize].status, TaskStatus::Undoing | TaskStatus::Stuck))
                .collect();
            if !half_undone.is_empty() {
                self.scopes[scope as usize].then_forward = true;
                self.unwind(scope, Some(half_undone));
            }
        }
        (0..self.scopes.len() as u32).for_each(|scope| self.ready_tasks_of(scope));
        self.open_waves();
    }

    /// Lets the machines of the next waves begin, if those of the waves before have ended.
    fn open_waves(&mut self) {
        while let Some(scopes) = self.gate.advance(|wave| self.waves[wave].1) {
            scopes.into_iter().for_each(|scope| self.ready_tasks_of(scope));
        }
    }

    /// Puts the tasks of a scope that wait for nothing into the ready heap.
    pub(super) fn ready_tasks_of(&mut self, scope: u32) {
        if self.scopes[scope as usize].phase != ScopePhase::Forward {
            return;
        }
        for at in 0..self.setup.shape.scopes[scope as usize].nodes.len() {
            let node = self.setup.shape.scopes[scope as usize].nodes[at];
            self.ready_if_free(node);
        }
    }

    fn ready_if_free(&mut self, node: u32) {
        let scope = self.setup.shape.scope_of[node as usize] as usize;
        if !self.gate.is_open(self.setup.shape.scopes[scope].wave) {
            return;
        }
        let state = &mut self.nodes[node as usize];
        if state.step == Step::Waiting && state.waits == 0 {
            state.step = Step::Ready;
            self.ready.push(Reverse(node));
        }
    }

    fn dependents_go_on(&mut self, node: u32) {
        for at in 0..self.setup.shape.dependents.of(node).len() {
            let dependent = self.setup.shape.dependents.of(node)[at];
            self.nodes[dependent as usize].waits -= 1;
            let scope = self.scope(dependent);
            if self.scopes[scope].phase == ScopePhase::Forward {
                self.ready_if_free(dependent);
            }
        }
    }

    /// A ready task has its budgets: look first, or begin at once.
    pub(super) fn begin(&mut self, node: u32) {
        let state = &mut self.nodes[node as usize];
        state.step = Step::Busy;
        let look = match state.status {
            // Cut off: its effect may be there, and then it is ours.
            TaskStatus::Running => state.tries == 0 && !state.again,
            TaskStatus::Pending | TaskStatus::Undone | TaskStatus::AlreadyTrue => !state.again,
            _ => false,
        };
        if !look {
            return self.record_started(node);
        }
        let (handle, runner) = (self.handle(node), Arc::clone(&self.setup.runner));
        let mut call = self.call(node);
        call.attempt = self.nodes[node as usize].attempt + 1;
        self.spawn(async move { Message::Checked { node, answer: runner.check(&handle, call).await } });
    }

    fn record_started(&mut self, node: u32) {
        let state = &mut self.nodes[node as usize];
        state.tries += 1;
        state.attempt += 1;
        state.again |= state.status == TaskStatus::Applied;
        let message = state.again.then(|| DONE_AGAIN.to_owned());
        let key = Some(self.setup.manifest.tasks[node as usize].key.clone());
        let event = TaskEvent { key, message, ..self.event(node, TaskEventKind::Started) };
        self.record(node, event, Then::Apply(node));
    }

    /// `check` has answered.
    pub(super) fn checked(&mut self, node: u32, answer: Checked) {
        let scope = self.scope(node);
        if !self.may_start() || self.scopes[scope].phase != ScopePhase::Forward {
            return self.free(node, Step::Waiting);
        }
        if !self.stands(node) {
            return self.lost_ground(node);
        }
        let ours = self.nodes[node as usize].status == TaskStatus::Running;
        match answer {
            Checked::Present(outputs) => {
                let kind = if ours { TaskEventKind::Applied } else { TaskEventKind::AlreadyTrue };
                let key = Some(self.setup.manifest.tasks[node as usize].key.clone());
                let message = ours.then(|| "found complete after an interruption".to_owned());
                let event = TaskEvent { key, outputs, message, ..self.event(node, kind) };
                self.record(node, event, Then::Finish { node, already_true: !ours, seconds: 0.0 });
            }
            Checked::Absent | Checked::Partial => self.record_started(node),
            Checked::Unknown(_) if ours => self.record_started(node),
            Checked::Unknown(failed) => {
                // Never guessed: taking it for absent might overwrite, or later undo, what somebody else made.
                let task = self.address(node);
                let message = format!("cannot tell whether it is done already: {}", failed.message);
                let trouble = Trouble { task: task.clone(), message: message.clone(), log: failed.log };
                self.note(Event::CheckFailed { task, message }, Then::CheckGaveUp { node, trouble });
            }
        }
    }

    /// The attempt is recorded: now its effect may begin.
    pub(super) fn start_apply(&mut self, node: u32) {
        let task = self.address(node);
        if self.setup.injections.at(InjectionKind::CrashBefore, &task) {
            self.setup.runner.kill_all();
            crash();
        }
        let scope = self.scope(node);
        if self.scopes[scope].phase != ScopePhase::Forward || self.broken.is_some() {
            // Recorded as begun, not begun: undo or the next look at it sorts that out.
            return self.free(node, Step::Waiting);
        }
        if !self.stands(node) {
            return self.lost_ground(node);
        }
        let attempt = self.nodes[node as usize].attempt;
        self.setup.emitter.emit(RunEventKind::TaskStarted { task: task.clone(), attempt });
        let fails = self.setup.injections.at(InjectionKind::Fail, &task)
            || (attempt == 1 && self.setup.injections.at(InjectionKind::FailOnce, &task));
        let twice = self.setup.injections.at(InjectionKind::Repeat, &task);
        let (handle, runner, call) = (self.handle(node), Arc::clone(&self.setup.runner), self.call(node));
        let spares = matches!(handle.reversal, Reversal::PointOfNoReturn { .. });
        self.spawn(async move {
            let began = Instant::now();
            let mut ended = match fails && spares {
                true => Ended::well(),
                false => runner.apply(&handle, call.clone()).await,
            };
            if twice && ended.result.is_ok() {
                ended = runner.apply(&handle, call).await;
            }
            if fails && ended.result.is_ok() {
                ended = Ended::badly(Failed::retryable("a planned fault"));
            }
            Message::Ended { node, ended, seconds: began.elapsed().as_secs_f64() }
        });
    }

    /// The effect has ended: record how.
    pub(super) fn attempt_ended(&mut self, node: u32, ended: Ended, seconds: f64) {
        match ended.result {
            Ok(()) => {
                let task = &self.setup.manifest.tasks[node as usize];
                if self.setup.injections.at(InjectionKind::CrashAfter, &task.address) {
                    self.setup.runner.kill_all();
                    crash();
                }
                let moved = task.throughput.clone().zip(ended.bytes.or(task.bytes));
                let measured = Some(Measured { millis: (seconds * 1000.0) as u64, moved });
                let event = TaskEvent { outputs: ended.outputs, measured, ..self.event(node, TaskEventKind::Applied) };
                self.record(node, event, Then::Finish { node, already_true: false, seconds });
            }
            Err(failed) => {
                let event =
                    TaskEvent { message: Some(failed.message.clone()), ..self.event(node, TaskEventKind::Failed) };
                let trouble = Trouble { task: self.address(node), message: failed.message, log: failed.log };
                let (retryable, halted) = (failed.retryable, failed.halted);
                self.record(node, event, Then::AfterFailure { node, trouble, retryable, halted });
            }
        }
    }

    /// The success is durable: now others may build on it.
    pub(super) fn finish(&mut self, node: u32, already_true: bool, seconds: f64) {
        let task = self.address(node);
        if !already_true && self.setup.injections.at(InjectionKind::CrashRecorded, &task) {
            self.setup.runner.kill_all();
            crash();
        }
        match already_true {
            true => self.report.already_true += 1,
            false => self.report.applied += 1,
        }
        let attempt = self.nodes[node as usize].attempt;
        self.setup.emitter.emit(RunEventKind::TaskDone { task, attempt, already_true, seconds });
        let state = &mut self.nodes[node as usize];
        (state.redo, state.again) = (false, false);
        self.free(node, Step::Done);
        self.dependents_go_on(node);
        self.gate.task_done(&self.setup.shape, self.setup.shape.scope_of[node as usize]);
        self.open_waves();
    }

    /// The failure is durable: again, or for good.
    pub(super) fn after_failure(&mut self, node: u32, trouble: Trouble, retryable: bool, halted: bool) {
        let scope = self.scope(node);
        let forward = self.scopes[scope].phase == ScopePhase::Forward;
        let limits = &self.setup.manifest.tasks[node as usize].limits;
        let tries = self.nodes[node as usize].tries;
        let wait = wait_after(limits, tries);
        let again = forward && retryable && !halted && tries <= limits.retries && self.may_start();
        self.setup.emitter.emit(RunEventKind::TaskFailed {
            task: trouble.task.clone(),
            attempt: self.nodes[node as usize].attempt,
            message: trouble.message.clone(),
            retry_in: again.then_some(wait.as_secs_f64()),
            log: trouble.log.clone(),
        });
        self.free(node, Step::Waiting);
        if again {
            self.wait(node, wait);
        } else if halted || !forward {
            // We ended it ourselves: the machine is unwound, or a person said stop.
            if forward {
                self.nodes[node as usize].step = Step::Failed;
                self.report.interrupted.push(trouble.task);
            }
        } else {
            self.give_up(node, trouble);
        }
    }

    /// A task failed for good: what waits for it never begins, and the policy of each machine concerned decides.
    pub(super) fn give_up(&mut self, node: u32, trouble: Trouble) {
        self.nodes[node as usize].step = Step::Failed;
        self.report.failed.push(trouble);
        let own = self.setup.shape.scope_of[node as usize];
        let mut concerned = vec![own];
        let blocked = self.block(self.setup.shape.dependents.of(node).to_vec());
        // A machine whose shared work failed has failed itself; one that only comes after another has not begun.
        if !self.setup.shape.scopes[own as usize].is_machine {
            concerned.extend(blocked);
        }
        concerned.sort_unstable();
        concerned.dedup();
        let mut rolls_back = false;
        for scope in concerned {
            if self.setup.shape.scopes[scope as usize].is_machine {
                rolls_back |= self.machine_failed(scope);
            }
        }
        if !self.setup.shape.scopes[own as usize].is_machine && rolls_back {
            // The partial work of the shared task itself; what others of its scope made is used by other machines.
            self.unwind(own, Some(vec![node]));
        }
        self.open_waves();
    }

    /// These tasks and all that wait for them never begin, as far as they have not; returns their scopes.
    fn block(&mut self, mut tasks: Vec<u32>) -> Vec<u32> {
        let mut scopes = Vec::new();
        while let Some(blocked) = tasks.pop() {
            let state = &mut self.nodes[blocked as usize];
            if !matches!(state.step, Step::Waiting | Step::Ready | Step::Backoff) {
                continue;
            }
            state.step = Step::Blocked;
            self.report.blocked += 1;
            tasks.extend_from_slice(self.setup.shape.dependents.of(blocked));
            let scope = self.setup.shape.scope_of[blocked as usize];
            self.gate.scope_ended(&self.setup.shape, scope);
            if scopes.last() != Some(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// Whether everything that the task builds on is still there: another machine may have been taken back meanwhile.
    fn stands(&self, node: u32) -> bool {
        self.setup.shape.depends_on.of(node).iter().all(|before| self.nodes[*before as usize].step == Step::Done)
    }

    /// What the task was to build on is being taken back.
    fn lost_ground(&mut self, node: u32) {
        self.free(node, Step::Waiting);
        self.block(vec![node]);
        self.open_waves();
    }

    /// Counts a failed machine and unwinds it if its policy says so; returns whether it does.
    fn machine_failed(&mut self, scope: u32) -> bool {
        let shape = &self.setup.shape.scopes[scope as usize];
        let (policy, wave) = (shape.policy, shape.wave);
        if !std::mem::replace(&mut self.scopes[scope as usize].failed, true)
            && let Some(wave) = wave
        {
            let (failed, frozen) = &mut self.waves[wave as usize];
            *failed += 1;
            let declared = &self.setup.manifest.waves[wave as usize];
            if declared.max_failures.is_some_and(|allowed| *failed > allowed) && !std::mem::replace(frozen, true) {
                let (wave, failed) = (declared.name.clone(), *failed);
                self.setup.emitter.emit(RunEventKind::WaveFrozen { wave, failed });
            }
        }
        self.gate.scope_ended(&self.setup.shape, scope);
        if policy == OnFailure::Rollback {
            // What other machines were to build on it is taken back.
            let shape = &self.setup.shape;
            let others = |task: &u32| shape.scope_of[*task as usize] != scope;
            let nodes = shape.scopes[scope as usize].nodes.iter();
            let built_on = nodes.flat_map(|node| shape.dependents.of(*node)).copied().filter(others).collect();
            self.block(built_on);
            self.unwind(scope, None);
        }
        policy == OnFailure::Rollback
    }

    /// Counts what never began, for the report.
    pub(super) fn left_over(&self) -> u64 {
        let waits = |step| matches!(step, Step::Waiting | Step::Ready | Step::Backoff);
        let tasks = &self.setup.manifest.tasks;
        let forward = |node: usize| self.scopes[self.scope(node as u32)].phase == ScopePhase::Forward;
        self.nodes
            .iter()
            .enumerate()
            .filter(|(at, node)| waits(node.step) && tasks[*at].phase != Phase::Cleanup && forward(*at))
            .count() as u64
    }
}
