//! The task graph as the stages after the planner see it.

use std::collections::HashMap;

use crate::address::Address;

use super::task::Task;

/// Every task of a plan, in an order in which each stands after all that it depends on.
#[derive(Clone, Debug, Default)]
pub struct TaskGraph {
    tasks: Vec<Task>,
    by_address: HashMap<Address, usize>,
}

impl TaskGraph {
    /// Takes tasks that are in dependency order already.
    ///
    /// # Panics
    /// If two tasks share an address, which is a broken promise of the planner.
    pub fn from_ordered(tasks: Vec<Task>) -> Self {
        let by_address: HashMap<_, _> = tasks.iter().enumerate().map(|(i, task)| (task.address.clone(), i)).collect();
        assert_eq!(by_address.len(), tasks.len(), "addresses are unique in a graph");
        Self { tasks, by_address }
    }

    /// The tasks, in dependency order.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The task of that address.
    pub fn get(&self, address: &Address) -> Option<&Task> {
        self.by_address.get(address).map(|i| &self.tasks[*i])
    }
}
