//! What exists: facts about a machine's disks, who observed them and when; never a guess.
//!
//! ```text
//! Plan --observe--> facts of every source disk --resolve--> ResolvedPlan
//! ```
//!
//! Sources are opened for reading only, always.

mod facts;
mod holders;
mod migrated;
mod probe;
mod resolve;

pub use facts::{DiskFacts, DiskKind, MachineFacts, ResolvedMachine, ResolvedPlan};
pub use holders::{Holder, holders};
pub use migrated::leave_migrated;
pub use probe::{ProbeError, observe, probe_disk};
pub use resolve::resolve;
