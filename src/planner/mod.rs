//! What must be done: a resolved plan becomes a [`TaskGraph`]. The only module that names petgraph; it does no I/O.

mod graph;
mod task;

pub use graph::TaskGraph;
pub use task::{Key, NON_RETRYABLE, Phase, Reversal, ScriptCall, Task, TaskLimits, check_code};
