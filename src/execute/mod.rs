//! Doing it: scheduling, budgets, retries, cancel, unwind. Knows no meaning of a task.
//!
//! ```text
//! run folder --apply--> Dispatcher (one task owns the state) --Call--> TaskRunner (scripts)
//!                          |  ^ records, acknowledged when durable      |
//!                          v  |                                         v
//!                        Journal                            world, logs, progress socket
//! ```
//!
//! Intent is durable before the effect, and success before anything builds on it. A crash at any point leaves a
//! journal from which [`apply`] goes on and [`rollback`] goes back.

mod apply;
mod cancel;
mod dispatcher;
mod error;
mod forward;
mod graph;
mod inject;
mod limits;
mod orphans;
mod outcome;
mod retry;
mod rollback;
mod run_state;
mod runner;
mod trial;
mod unwind;
mod waves;
mod worker;

pub use apply::{ApplyOptions, OnStart, apply, apply_async};
pub use cancel::{StopHandle, StopRequests};
pub use error::ExecuteError;
pub use inject::{BadInjection, Injection, InjectionKind};
pub use outcome::{Outcome, RunReport, Trouble};
pub use rollback::{RollbackOptions, UndoStep, UnwindPreview, preview_rollback, rollback};
pub use runner::{Call, Checked, Ended, Failed, Halt, TaskHandle, TaskRunner};
pub use trial::{Trial, run_trial};
pub use worker::{ScriptRunner, Surroundings};
