//! The patch cache: driver packages that migrations need, kept beside the captured images, each with its digests.
//!
//! ```text
//! folder | ISO image | package | driver cache --add--> STORE/patches/KEY --needs(facts, target)--> what supplies each need
//! ```
//!
//! A package is taken in whole: an INF file with every file that it names. What is incomplete is told and left out. A
//! package whose files are not what they were when they came is never handed on.

mod cache;
mod needs;
mod source;

pub use cache::{Added, PatchCache, PatchError, PatchProblem, PatchRecord};
pub use needs::{Need, needs};
