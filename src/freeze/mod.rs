//! The border: a graph and its artifacts become a reviewable run folder that `apply` runs byte for byte.
//!
//! ```text
//! DIR/plan.json            canonical: digests of every input and artifact, tool version, journal head, the tasks
//! DIR/artifacts/MACHINE/   the scripts and XML task sequences
//! DIR/originals.zst        the artifacts as they were rendered, to show what a person changed
//! ```
//!
//! Nothing after it reads the plan's YAML again.

mod diff;
mod manifest;
mod originals;
mod read;
mod write;

pub use crate::planner::Selection;
pub use crate::render::ArtifactRecord;
pub use diff::unified_diff;
pub use manifest::{FileRecord, FrozenMachine, FrozenSource, FrozenWave, RunManifest};
pub use originals::original;
pub use read::{EditedArtifact, Frozen, Moved, ReadError, open, read_manifest};
pub use write::{Staging, WriteError, folders, manifest};
