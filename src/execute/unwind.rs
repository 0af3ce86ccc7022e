//! Going back: a scope is drained, its cleanup task stops what still works, then every task that is ours is undone,
//! the failing one's partial work included, each after all that were built on it, as many side by side as budgets
//! allow. What was there before us is left alone. History is not edited: undoing adds records.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::journal::{TaskEvent, TaskEventKind, TaskStatus};
use crate::planner::Reversal;
use crate::progress::RunEventKind;

use super::dispatcher::Dispatcher;
use super::inject::InjectionKind;
use super::outcome::{Outcome, Trouble};
use super::retry::{undo_retries, wait_after};
use super::run_state::{Message, Mode, ScopePhase, Step, Then};
use super::runner::{Checked, Ended, Failed, Halt, TaskRunner};

impl<R: TaskRunner> Dispatcher<R> {
    /// Unwinds every scope of the manifest.
    pub(super) fn begin_rollback(&mut self) {
        for node in &mut self.nodes {
            node.step = Step::Waiting;
        }
        // Marked before any scope begins, so that the order holds across scopes too.
        (0..self.scopes.len()).for_each(|scope| self.mark(scope));
        (0..self.scopes.len() as u32).for_each(|scope| self.unwind(scope, None));
    }

    /// The tasks of the scope that are to be undone.
    fn targets(&self, scope: usize) -> Vec<u32> {
        let nodes = self.scopes[scope].only.as_ref().unwrap_or(&self.setup.shape.scopes[scope].nodes);
        nodes.iter().copied().filter(|node| self.nodes[*node as usize].status.is_ours()).collect()
    }

    /// Marks the scope's tasks for the way back. Those that have nothing to undo are passed through, so that the
    /// order also holds between tasks that only they connect.
    fn mark(&mut self, scope: usize) {
        for node in &self.setup.shape.scopes[scope].nodes {
            self.nodes[*node as usize].passes = true;
            for before in self.setup.shape.depends_on.of(*node) {
                self.nodes[*before as usize].undo_waits += 1;
            }
        }
        for node in self.targets(scope) {
            let state = &mut self.nodes[node as usize];
            state.passes = false;
            state.step = Step::UndoWaiting;
            state.undo_tries = 0;
            state.was_applied = state.status == TaskStatus::Applied;
        }
    }

    /// Unwinds a scope (or `only` these tasks of it) as soon as nothing of it runs any more.
    pub(super) fn unwind(&mut self, scope: u32, only: Option<Vec<u32>>) {
        let state = &mut self.scopes[scope as usize];
        if state.phase != ScopePhase::Forward {
            return;
        }
        state.phase = ScopePhase::Draining;
        state.only = only;
        if state.active == 0 {
            return self.drained(scope);
        }
        for node in &self.setup.shape.scopes[scope as usize].nodes {
            if let Some(running) = self.running.get(node) {
                // It has just ended if nobody listens.
                let _ = running.send(Halt::Term);
            }
        }
    }

    /// Nothing of the scope runs any more: is it beyond its point of no return?
    pub(super) fn drained(&mut self, scope: u32) {
        let at = scope as usize;
        let targets = self.targets(at);
        if targets.is_empty() {
            self.unwound(scope);
            if self.setup.mode == Mode::Rollback {
                self.begin_way_back(scope);
            }
            return;
        }
        let tasks = &self.setup.manifest.tasks;
        let no_return = targets.iter().copied().find_map(|node| match &tasks[node as usize].reversal {
            Reversal::PointOfNoReturn { why } => Some((node, why.clone())),
            _ => None,
        });
        match no_return {
            Some((node, why)) if !self.setup.past_commit && !self.scopes[at].then_forward => {
                if self.nodes[node as usize].status == TaskStatus::Applied {
                    return self.past_commit(scope, why);
                }
                // It was begun and not finished: only the world can tell how far it came.
                self.scopes[at].phase = ScopePhase::Asking;
                let (handle, runner, call) = (self.handle(node), Arc::clone(&self.setup.runner), self.call(node));
                self.spawn(async move { Message::CommitChecked { scope, answer: runner.check(&handle, call).await } });
            }
            _ => self.stop_scope(scope),
        }
    }

    pub(super) fn commit_checked(&mut self, scope: u32, answer: &Checked) {
        let targets = self.targets(scope as usize);
        targets.iter().for_each(|node| drop(self.running.remove(node)));
        if matches!(answer, Checked::Absent) {
            return self.stop_scope(scope);
        }
        let tasks = &self.setup.manifest.tasks;
        let why = targets.iter().find_map(|node| match &tasks[*node as usize].reversal {
            Reversal::PointOfNoReturn { why } => Some(why.clone()),
            _ => None,
        });
        self.past_commit(scope, why.unwrap_or_default());
    }

    fn past_commit(&mut self, scope: u32, why: String) {
        self.scopes[scope as usize].phase = ScopePhase::PastCommit;
        let name = self.setup.shape.scopes[scope as usize].name.to_string();
        self.report.past_commit.push((name, why));
    }

    /// Before the undos, the cleanup task stops what still works for the scope.
    fn stop_scope(&mut self, scope: u32) {
        let name = self.setup.shape.scopes[scope as usize].name.to_string();
        let tasks = self.targets(scope as usize).len();
        self.setup.emitter.emit(RunEventKind::UnwindStarted { scope: name, tasks });
        let Some(cleanup) = self.setup.shape.scopes[scope as usize].cleanup else {
            return self.undo_scope(scope);
        };
        self.scopes[scope as usize].phase = ScopePhase::Stopping;
        self.nodes[cleanup as usize].step = Step::UndoReady;
        self.ready.push(Reverse(cleanup));
    }

    pub(super) fn start_stop(&mut self, node: u32) {
        let (handle, runner, call) = (self.handle(node), Arc::clone(&self.setup.runner), self.call(node));
        self.spawn(async move { Message::StopEnded { node, ended: runner.stop(&handle, call).await } });
    }

    pub(super) fn stop_ended(&mut self, node: u32, ended: Ended) {
        match ended.result {
            Ok(()) => {
                let event = self.event(node, TaskEventKind::Applied);
                self.record(node, event, Then::Stopped(node));
            }
            Err(failed) => {
                let message = failed.message.clone();
                let event = TaskEvent { message: Some(message), ..self.event(node, TaskEventKind::Failed) };
                let trouble = self.trouble(node, failed);
                self.record(node, event, Then::StopFailed { node, trouble });
            }
        }
    }

    pub(super) fn stopped(&mut self, node: u32) {
        let scope = self.setup.shape.scope_of[node as usize];
        self.free(node, Step::Done);
        self.undo_scope(scope);
    }

    pub(super) fn stop_failed(&mut self, node: u32, trouble: Trouble) {
        self.free(node, Step::Failed);
        let limits = &self.setup.manifest.tasks[node as usize].limits;
        let tries = self.nodes[node as usize].undo_tries;
        let wait = wait_after(limits, tries);
        if tries <= undo_retries(limits) && self.may_start() {
            return self.wait(node, wait);
        }
        // Undoing under the hands of something that still works could do harm.
        let scope = self.setup.shape.scope_of[node as usize];
        self.scopes[scope as usize].phase = ScopePhase::Incomplete;
        self.setup
            .emitter
            .emit(RunEventKind::TaskStuck { task: trouble.task.clone(), message: trouble.message.clone() });
        self.report.stuck.push(trouble);
    }

    fn undo_scope(&mut self, scope: u32) {
        let targets = self.targets(scope as usize);
        if self.setup.mode == Mode::Apply {
            self.mark(scope as usize);
        }
        let state = &mut self.scopes[scope as usize];
        state.phase = ScopePhase::Undoing;
        state.undo_left = targets.len() as u32;
        self.begin_way_back(scope);
    }

    fn begin_way_back(&mut self, scope: u32) {
        for at in 0..self.setup.shape.scopes[scope as usize].nodes.len() {
            let node = self.setup.shape.scopes[scope as usize].nodes[at];
            if self.passes_or_readies(node) {
                self.below_goes_on(node);
            }
        }
    }

    /// If everything that was built on the task is gone: makes it ready to be undone, or says that it is passed.
    fn passes_or_readies(&mut self, node: u32) -> bool {
        let scope = self.scope(node);
        let state = &mut self.nodes[node as usize];
        let goes_back = matches!(self.scopes[scope].phase, ScopePhase::Undoing | ScopePhase::Unwound);
        if !goes_back || state.undo_waits > 0 {
            return false;
        }
        if state.step == Step::UndoWaiting {
            state.step = Step::UndoReady;
            self.ready.push(Reverse(node));
        }
        std::mem::take(&mut state.passes)
    }

    /// The task is gone or passed: what it was built on has one thing less to wait for.
    fn below_goes_on(&mut self, node: u32) {
        let mut gone = vec![node];
        while let Some(node) = gone.pop() {
            for at in 0..self.setup.shape.depends_on.of(node).len() {
                let before = self.setup.shape.depends_on.of(node)[at];
                self.nodes[before as usize].undo_waits -= 1;
                if self.passes_or_readies(before) {
                    gone.push(before);
                }
            }
        }
    }

    /// A task that is ready to be undone (or a cleanup task) has its budgets.
    pub(super) fn begin_undo(&mut self, node: u32) {
        let scope = self.scope(node);
        let is_cleanup = self.setup.shape.scopes[scope].cleanup == Some(node);
        let state = &mut self.nodes[node as usize];
        state.step = Step::UndoBusy;
        state.undo_tries += 1;
        if is_cleanup {
            state.attempt += 1;
            let event = self.event(node, TaskEventKind::Started);
            return self.record(node, event, Then::Stop(node));
        }
        if state.undo_tries > 1 {
            return self.start_undo(node);
        }
        let changes_nothing = self.setup.manifest.tasks[node as usize].reversal == Reversal::Nothing;
        let event = self.event(node, TaskEventKind::UndoStarted);
        match changes_nothing {
            false => self.record(node, event, Then::Undo(node)),
            true => {
                self.record(node, event, Then::Nothing);
                let event = self.event(node, TaskEventKind::Undone);
                self.record(node, event, Then::Undone(node));
            }
        }
    }

    pub(super) fn start_undo(&mut self, node: u32) {
        let task = self.address(node);
        self.setup.emitter.emit(RunEventKind::UndoStarted { task: task.clone() });
        let fails = self.setup.injections.at(InjectionKind::FailUndo, &task);
        let twice = self.setup.injections.at(InjectionKind::Repeat, &task);
        let (handle, runner, call) = (self.handle(node), Arc::clone(&self.setup.runner), self.call(node));
        self.spawn(async move {
            let mut ended = match fails {
                true => Ended::badly(Failed::retryable("a planned fault")),
                false => runner.undo(&handle, call.clone()).await,
            };
            if twice && ended.result.is_ok() {
                ended = runner.undo(&handle, call).await;
            }
            Message::UndoEnded { node, ended }
        });
    }

    pub(super) fn undo_ended(&mut self, node: u32, ended: Ended) {
        let failed = match ended.result {
            Ok(()) => {
                let event = self.event(node, TaskEventKind::Undone);
                return self.record(node, event, Then::Undone(node));
            }
            Err(failed) => failed,
        };
        if failed.halted || !self.may_start() {
            // Recorded as begun: the next run goes on with it.
            self.report.interrupted.push(self.address(node));
            return self.free(node, Step::UndoWaiting);
        }
        let limits = &self.setup.manifest.tasks[node as usize].limits;
        let tries = self.nodes[node as usize].undo_tries;
        if tries <= undo_retries(limits) {
            let wait = wait_after(limits, tries);
            self.free(node, Step::UndoWaiting);
            return self.wait(node, wait);
        }
        let event = TaskEvent { message: Some(failed.message.clone()), ..self.event(node, TaskEventKind::UndoFailed) };
        let trouble = self.trouble(node, failed);
        self.record(node, event, Then::Stuck { node, trouble });
    }

    pub(super) fn finish_undo(&mut self, node: u32) {
        let task = self.address(node);
        let kept = match &self.setup.manifest.tasks[node as usize].reversal {
            Reversal::KeepsResult { why } if self.nodes[node as usize].was_applied => Some(why.clone()),
            _ => None,
        };
        if let Some(why) = &kept {
            self.report.kept.push((task.clone(), why.clone()));
        }
        self.report.undone += 1;
        self.setup.emitter.emit(RunEventKind::TaskUndone { task, kept });
        self.free(node, Step::Undone);
        self.below_goes_on(node);
        let scope = self.setup.shape.scope_of[node as usize];
        self.scopes[scope as usize].undo_left -= 1;
        if self.scopes[scope as usize].undo_left == 0 {
            self.unwound(scope);
        }
    }

    /// All of the scope is undone.
    fn unwound(&mut self, scope: u32) {
        let state = &mut self.scopes[scope as usize];
        state.phase = ScopePhase::Unwound;
        if !std::mem::take(&mut state.then_forward) {
            return;
        }
        // What was not passed on the way back is not waited for.
        for at in 0..self.setup.shape.scopes[scope as usize].nodes.len() {
            let node = self.setup.shape.scopes[scope as usize].nodes[at];
            if std::mem::take(&mut self.nodes[node as usize].passes) {
                self.below_goes_on(node);
            }
        }
        let state = &mut self.scopes[scope as usize];
        state.phase = ScopePhase::Forward;
        for node in state.only.take().unwrap_or_default() {
            let node = &mut self.nodes[node as usize];
            (node.step, node.undo_tries, node.tries, node.again) = (Step::Waiting, 0, 0, false);
        }
        self.ready_tasks_of(scope);
    }

    pub(super) fn stuck(&mut self, node: u32, trouble: Trouble) {
        self.free(node, Step::Stuck);
        self.setup
            .emitter
            .emit(RunEventKind::TaskStuck { task: trouble.task.clone(), message: trouble.message.clone() });
        self.report.stuck.push(trouble);
    }

    fn trouble(&self, node: u32, failed: Failed) -> Trouble {
        Trouble { task: self.address(node), message: failed.message, log: failed.log }
    }

    /// Nothing can be done any more: how did it end?
    pub(super) fn conclude(&mut self) {
        let stopped = self.stop > 0 || self.broken.is_some();
        let mut unfinished = false;
        for scope in 0..self.scopes.len() {
            let waits_to_go_back = matches!(
                self.scopes[scope].phase,
                ScopePhase::Draining | ScopePhase::Asking | ScopePhase::Stopping | ScopePhase::Undoing
            );
            if !waits_to_go_back {
                continue;
            }
            unfinished = true;
            if stopped {
                continue;
            }
            self.scopes[scope].phase = ScopePhase::Incomplete;
            for node in self.targets(scope) {
                if self.nodes[node as usize].step == Step::UndoWaiting {
                    let message = "not undone, because something that was built on it is still there".to_owned();
                    self.report.stuck.push(Trouble { task: self.address(node), message, log: None });
                }
            }
        }
        let left_over = if self.setup.mode == Mode::Apply { self.left_over() } else { 0 };
        let failed_and_stays = self.scopes.iter().zip(&self.setup.shape.scopes).any(|(scope, shape)| {
            let failed = scope.failed && scope.phase != ScopePhase::Unwound;
            (failed && shape.is_machine) || scope.phase == ScopePhase::PastCommit
        });
        let shared_failed = self.report.failed.iter().any(|trouble| !trouble.task.is_machine());
        let any_machine_failed = self.scopes.iter().any(|scope| scope.failed);
        let incomplete = self.scopes.iter().any(|scope| scope.phase == ScopePhase::Incomplete);
        self.report.outcome = if !self.report.stuck.is_empty() || incomplete {
            Outcome::Incomplete
        } else if stopped && (unfinished || left_over > 0 || !self.report.interrupted.is_empty()) {
            Outcome::Interrupted
        } else if failed_and_stays || (shared_failed && !any_machine_failed) {
            Outcome::Kept
        } else if !self.report.failed.is_empty() {
            Outcome::RolledBack
        } else {
            Outcome::Done
        };
        if !stopped {
            self.report.blocked += left_over;
        }
    }
}
