//! What exists: facts about a machine's disks, who observed them and when; never a guess.
//!
//! ```text
//! Plan --observe--> facts of every source disk --resolve--> ResolvedPlan
//! ```
//!
//! Sources are opened for reading only, always.

mod facts;
mod holders;
mod probe;
mod resolve;
mod windows;

pub use facts::{DiskFacts, DiskKind, MachineFacts, ResolvedMachine, ResolvedPlan};
pub use holders::{Holder, holders};
pub use probe::{ProbeError, observe, probe_disk};
pub use resolve::resolve;
pub use windows::{LookError, look_for_windows};
