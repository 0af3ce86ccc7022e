//! What exists: facts about a machine's disks, who observed them and when; never a guess.

mod facts;

pub use facts::{DiskFacts, DiskKind, MachineFacts, ResolvedMachine, ResolvedPlan};
