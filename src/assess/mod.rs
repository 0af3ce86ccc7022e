//! Does it fit: limits of the provider and of the host, checked before anything runs.

pub mod placement;
pub mod sizing;
