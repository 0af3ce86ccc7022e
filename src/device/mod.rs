//! Disks as the system shows them: block devices and disk files, opened for reading only or exclusively for writing,
//! their size, and one line that tells whether a disk is still the one that was looked at. Also files of any kind that are
//! read and written past the page cache.
//!
//! Never called outside the image engine and the agent. Should `unsafe` ever be needed, it lives here.

mod direct;
mod disk;
mod identity;
mod protect;

pub use direct::{DirectFile, PAGE, PageBuffer};
pub use disk::{open_exclusive, open_read_only, size};
pub use identity::{identity, identity_line};
pub use protect::protect;
