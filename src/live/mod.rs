//! A disk of a Linux that goes on working, read over ssh into the store.
//!
//! ```text
//! look (size, boot, writes so far) -> read on several connections -> store -> look again: was anything written?
//! ```
//!
//! The machine needs a shell and `dd`, and gets nothing: our script goes along with each connection and leaves no file.
//! Whether an image is consistent is not promised but observed: the kernel counts the sectors that are written to a
//! device. If the count stood still while the disk was read, the image is one state of it; else it is a pre-copy, says
//! so wherever it is shown, and makes the capture by the agent later on short.
//!
//! LVM volumes are read from snapshots where there is room: the disk's image is put together from the snapshots' blocks,
//! LVM's records as they were before, and the live disk for all else. A snapshot lives as long as the connection that took
//! it; one that was left is known by its tag and removed by the next capture.

mod capture;
mod choose;
mod compose;
mod disk;
mod held;
mod look;
mod snapshot;
mod ssh;
mod volumes;

pub use capture::{LiveError, LiveReport, LiveRequest, capture_live};
pub use choose::{Choice, Fate, Volume};
pub use disk::SshDisk;
pub use held::drop_left;
pub use look::{Seen, look};
pub use ssh::{SshError, SshTarget};
pub use volumes::Volumes;
