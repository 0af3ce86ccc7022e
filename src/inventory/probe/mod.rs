//! Looking at source disks: one stat and a small read each, so that thousands take a second.

mod boot;
mod content;
mod disk;
mod observe;

pub use content::{ContentError, look_into};
pub use disk::{ProbeError, probe_disk};
pub use observe::observe;
