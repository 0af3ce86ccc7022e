//! What is rendered: scripts that are clean, XML that is valid, and values that stay values.

pub mod site;

mod hostile;
mod snapshots;
