//! What happened: the durable truth of every run, in SQLite beside the plan.

mod ledger;
mod status;

pub use ledger::{Ledger, LedgerEntry};
pub use status::{IllegalEvent, TaskEventKind, TaskStatus};
