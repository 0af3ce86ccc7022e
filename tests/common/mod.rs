//! A working directory of its own for each test, and the `replant` binary run in it.

mod bad_disk;
pub mod refusal;
mod site;
mod small_disk;

pub use bad_disk::BadDisk;
pub use site::{Finished, TestSite, require_root, require_tool};
pub use small_disk::SmallDisk;
