//! What happened: the durable truth of every run, in SQLite beside the plan (`.replant/state.db`).
//!
//! ```text
//! executor --events--> Journal (one writer thread, group commit) --ack when durable--> executor
//!                         |  event: hash chain, never edited     task_state: the last word, a proven cache
//!                         v
//!        JournalReader: ledger, runs, holders, records; no lock, also while a run writes
//! ```
//!
//! Statuses move by [`TaskStatus::next`] only, when events are written and when they are replayed. Leases say who
//! works on which scope. What the callers see ([`Journal`], [`JournalReader`]) knows nothing of SQLite, so another
//! database may take its place. It never loses a record that was acknowledged, and never journals a no-op.

mod error;
mod event;
mod lease;
mod ledger;
mod reader;
mod replay;
mod schema;
mod state;
mod status;
mod store;
mod writer;

#[cfg(test)]
mod tests;

pub use error::JournalError;
pub use event::{Event, Measured, Record, RunId, RunOpened, TaskEvent};
pub use lease::{Holder, ProcessIdentity, ProcessStat, SILENCE};
pub use ledger::{Ledger, LedgerEntry};
pub use reader::{JournalReader, RunRecord};
pub use schema::{FORMAT, journal_path, open_state, state_error};
pub use status::{IllegalEvent, TaskEventKind, TaskStatus};
pub use store::{Ack, Journal, Leased, OnLost, PlannedFaults};
