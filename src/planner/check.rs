//! What must hold for every graph, whoever made it.

use std::collections::{HashMap, HashSet};

use crate::address::Address;

use super::task::Task;

/// A broken promise of a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlannerError {
    /// Two tasks have one address.
    #[error("two tasks have the address `{address}`")]
    Twice {
        /// The address.
        address: Address,
    },
    /// A dependency that does not exist.
    #[error("`{address}` depends on `{missing}`, which does not exist")]
    Dangling {
        /// The task.
        address: Address,
        /// The dependency.
        missing: Address,
    },
    /// A dependency that comes later.
    #[error("`{address}` stands before `{later}`, which it depends on")]
    OutOfOrder {
        /// The task.
        address: Address,
        /// The dependency.
        later: Address,
    },
    /// Two tasks write one disk.
    #[error("`{first}` and `{second}` both write {disk}")]
    WrittenTwice {
        /// One task.
        first: Address,
        /// The other.
        second: Address,
        /// The disk.
        disk: String,
    },
    /// A task's script was not rendered.
    #[error("`{address}` runs `{script}`, which is not rendered")]
    NoScript {
        /// The task.
        address: Address,
        /// The script.
        script: String,
    },
}

/// Checks tasks in order: addresses are unique, every dependency exists and stands before, no two tasks write one
/// disk. `writes` names the disk that a task writes, if it writes one.
pub fn verify<'a>(
    tasks: impl IntoIterator<Item = &'a Task> + Clone,
    writes: impl Fn(usize) -> Option<&'a str>,
) -> Result<(), PlannerError> {
    let known: HashSet<&Address> = tasks.clone().into_iter().map(|task| &task.address).collect();
    let mut seen: HashSet<&Address> = HashSet::with_capacity(known.len());
    let mut written: HashMap<&str, &Address> = HashMap::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let address = || task.address.clone();
        for dependency in &task.depends_on {
            if !known.contains(dependency) {
                return Err(PlannerError::Dangling { address: address(), missing: dependency.clone() });
            }
            if !seen.contains(dependency) {
                return Err(PlannerError::OutOfOrder { address: address(), later: dependency.clone() });
            }
        }
        if !seen.insert(&task.address) {
            return Err(PlannerError::Twice { address: address() });
        }
        if let Some(disk) = writes(number)
            && let Some(first) = written.insert(disk, &task.address)
        {
            return Err(PlannerError::WrittenTwice { first: first.clone(), second: address(), disk: disk.to_owned() });
        }
    }
    Ok(())
}
