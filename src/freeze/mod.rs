//! The border: a graph and its artifacts become a reviewable run folder that `apply` runs byte for byte.
//!
//! ```text
//! DIR/plan.json            canonical: digests of every input and artifact, tool version, journal head, the tasks
//! DIR/artifacts/MACHINE/   the scripts and XML task sequences
//! ```

mod manifest;

pub use crate::render::ArtifactRecord;
pub use manifest::{FileRecord, FrozenMachine, FrozenWave, RunManifest, Selection};
