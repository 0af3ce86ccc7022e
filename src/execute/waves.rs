//! Waves: the machines of one begin when every machine of the wave before has ended, whether done, failed or blocked.
//! A wave with more failures than it allows lets nothing behind it begin.

use super::graph::Shape;
use super::run_state::{Node, Step};

/// Which waves are open, and what is missing for the next.
#[derive(Debug)]
pub(super) struct WaveGate {
    /// The scopes of each wave.
    members: Vec<Vec<u32>>,
    /// Members of each wave that have not ended.
    left: Vec<u32>,
    /// The last wave that is open.
    open: usize,
    /// Tasks of each scope that are not done.
    tasks_left: Vec<u32>,
    ended: Vec<bool>,
}

impl WaveGate {
    /// The gate of a run that begins.
    pub fn new(waves: usize, shape: &Shape, nodes: &[Node]) -> Self {
        let mut members = vec![Vec::new(); waves];
        let mut tasks_left = Vec::with_capacity(shape.scopes.len());
        for (scope, number) in shape.scopes.iter().zip(0u32..) {
            if let Some(wave) = scope.wave {
                members[wave as usize].push(number);
            }
            let open = scope.nodes.iter().filter(|node| nodes[**node as usize].step != Step::Done);
            tasks_left.push(open.count() as u32);
        }
        let ended: Vec<bool> = tasks_left.iter().map(|left| *left == 0).collect();
        let left = members.iter().map(|scopes| scopes.iter().filter(|scope| !ended[**scope as usize]).count() as u32);
        Self { left: left.collect(), members, open: 0, tasks_left, ended }
    }

    /// Whether machines of that wave may begin; those of no wave always may.
    pub fn is_open(&self, wave: Option<u32>) -> bool {
        wave.is_none_or(|wave| wave as usize <= self.open)
    }

    /// A task of the scope is done; the scope has ended with its last.
    pub fn task_done(&mut self, shape: &Shape, scope: u32) {
        let left = &mut self.tasks_left[scope as usize];
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.scope_ended(shape, scope);
        }
    }

    /// Nothing more will be done forward in the scope.
    pub fn scope_ended(&mut self, shape: &Shape, scope: u32) {
        if !std::mem::replace(&mut self.ended[scope as usize], true)
            && let Some(wave) = shape.scopes[scope as usize].wave
        {
            self.left[wave as usize] -= 1;
        }
    }

    /// Opens what can be opened, one wave at a time, and returns the scopes of the wave; `frozen` says that a wave
    /// had too many failures.
    pub fn advance(&mut self, frozen: impl Fn(usize) -> bool) -> Option<Vec<u32>> {
        let next = self.open + 1;
        if next >= self.left.len() || self.left[self.open] > 0 || frozen(self.open) {
            return None;
        }
        self.open = next;
        Some(self.members[next].clone())
    }
}
