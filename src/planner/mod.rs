//! What must be done: a resolved plan becomes a [`TaskGraph`]. The only module that names petgraph; it does no I/O.
//!
//! ```text
//! ResolvedPlan --draft--> tasks in order --bind(digests of the scripts)--> TaskGraph
//!     --select(--machine, --exclude, --from, --redo)--> Selected --preview(ledger)--> what people read
//!
//! validate -> capture/disk0 .. diskN -> capture (sealed)
//!          \-> create --------------------------------\-> deploy/disk0 .. diskN -> deploy/guest -> post-deploy
//! cleanup: only when one of them has failed
//! ```

mod check;
mod describe;
mod draw;
mod graph;
mod order;
mod phases;
mod select;
mod task;
mod tasks;

pub use check::{PlannerError, verify};
pub use describe::{Action, Change, Group, Line, Preview, Summary, Why, preview};
pub use draw::Drawing;
pub use graph::TaskGraph;
pub use phases::{Draft, draft};
pub use select::{Selected, Selection, SelectionError, select};
pub use task::{Key, NON_RETRYABLE, Phase, Reversal, ScriptCall, Task, TaskLimits, check_code};
