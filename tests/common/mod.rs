//! A working directory of its own for each test, and the `replant` binary run in it.

pub mod refusal;
mod site;
mod small_disk;

pub use site::{Finished, TestSite, require_root, require_tool};
pub use small_disk::SmallDisk;
