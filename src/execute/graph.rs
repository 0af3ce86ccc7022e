//! The run's tasks as numbers: who waits for whom, which scope each belongs to. Built once, in linear time.

use std::collections::HashMap;
use std::sync::Arc;

use crate::freeze::RunManifest;
use crate::plan::OnFailure;
use crate::planner::Phase;

/// Lists of numbers, one per number, without an allocation for each.
#[derive(Debug, Default)]
pub(super) struct Lists {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// From pairs `(list, item)` in any order.
    fn from_pairs(lists: usize, pairs: &[(u32, u32)]) -> Self {
        let mut starts = vec![0u32; lists + 1];
        for (list, _) in pairs {
            starts[*list as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut items = vec![0; pairs.len()];
        for (list, item) in pairs {
            let at = &mut next[*list as usize];
            items[*at as usize] = *item;
            *at += 1;
        }
        Self { starts, items }
    }

    pub fn of(&self, list: u32) -> &[u32] {
        let at = list as usize;
        &self.items[self.starts[at] as usize..self.starts[at + 1] as usize]
    }
}

/// One scope: what is leased, unwound and reported together.
#[derive(Debug)]
pub(super) struct ScopeShape {
    pub name: Arc<str>,
    pub is_machine: bool,
    pub policy: OnFailure,
    pub wave: Option<u32>,
    /// Its tasks, the cleanup task not among them.
    pub nodes: Vec<u32>,
    pub cleanup: Option<u32>,
}

/// The shape of a run.
#[derive(Debug)]
pub(super) struct Shape {
    pub depends_on: Lists,
    pub dependents: Lists,
    pub scope_of: Vec<u32>,
    pub scopes: Vec<ScopeShape>,
}

impl Shape {
    pub fn of(manifest: &RunManifest) -> Self {
        let tasks = &manifest.tasks;
        let number: HashMap<&str, u32> =
            tasks.iter().zip(0u32..).map(|(task, number)| (task.address.as_str(), number)).collect();
        let mut waves: HashMap<&str, u32> = HashMap::new();
        for (wave, at) in manifest.waves.iter().zip(0u32..) {
            for machine in &wave.machines {
                waves.entry(machine.as_str()).or_insert(at);
            }
        }
        let mut scopes: Vec<ScopeShape> = Vec::new();
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut scope_of = Vec::with_capacity(tasks.len());
        let (mut backwards, mut forwards) = (Vec::new(), Vec::new());
        for (task, node) in tasks.iter().zip(0u32..) {
            let name = task.address.scope();
            let scope = *known.entry(name).or_insert_with(|| {
                scopes.push(ScopeShape {
                    name: name.into(),
                    is_machine: task.address.is_machine(),
                    policy: manifest.machines.get(name).map_or(OnFailure::Keep, |machine| machine.on_failure),
                    wave: waves.get(name).copied(),
                    nodes: Vec::new(),
                    cleanup: None,
                });
                (scopes.len() - 1) as u32
            });
            scope_of.push(scope);
            if task.phase == Phase::Cleanup {
                scopes[scope as usize].cleanup = Some(node);
                continue;
            }
            scopes[scope as usize].nodes.push(node);
            // A task that was not selected is done, or was left out on purpose: nobody waits for it.
            for before in task.depends_on.iter().filter_map(|address| number.get(address.as_str()).copied()) {
                if tasks[before as usize].phase != Phase::Cleanup {
                    backwards.push((node, before));
                    forwards.push((before, node));
                }
            }
        }
        Self {
            depends_on: Lists::from_pairs(tasks.len(), &backwards),
            dependents: Lists::from_pairs(tasks.len(), &forwards),
            scope_of,
            scopes,
        }
    }
}
