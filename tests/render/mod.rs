//! What is rendered: scripts that are clean, XML that is valid, and values that stay values.

pub mod site;

mod classic;
mod guide;
mod hostile;
mod metal;
mod snapshots;
