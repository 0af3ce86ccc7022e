//! A working directory of its own for each test, and the `replant` binary run in it.

mod site;

pub use site::{Finished, TestSite, require_root, require_tool};
