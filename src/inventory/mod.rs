//! What exists: facts about machines and their disks, who observed them and when; never a guess.
//!
//! ```text
//! files of other tools --import--> Document (XML, JSON) --bind--> Plan with what it leaves open filled in
//! samples              --performance-----^
//! Plan --observe--> facts of every source disk --resolve--> ResolvedPlan
//! ```
//!
//! Sources are opened for reading only, always.

mod bind;
pub mod document;
mod facts;
mod holders;
pub mod import;
mod inspected;
mod migrated;
pub mod model;
pub mod performance;
mod probe;
mod resolve;
mod windows;

pub use bind::{KnownPlan, attach, load};
pub use facts::{DiskFacts, DiskKind, MachineFacts, ResolvedMachine, ResolvedPlan};
pub use holders::{Holder, holders};
pub use inspected::inspected_facts;
pub use migrated::leave_migrated;
pub use probe::{ContentError, ProbeError, look_into, observe, probe_disk};
pub use resolve::resolve;
pub use windows::{LookError, look_for_windows, preview_windows};
