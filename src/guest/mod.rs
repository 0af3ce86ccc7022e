//! The operating system inside restored disks: what it is (*detect*), which of its files must change so that it starts
//! on the target's hardware (*edits*), and the change itself (*convert*).
//!
//! ```text
//! disks -probe-> file systems -detect-> the root, mounted -linux-> edits with before and after -apply-> a guest that boots
//! ```
//!
//! It works on mounted file systems of a machine that is off. It runs no program of the guest, never touches a running
//! system, and an edit that is in place already is no edit: converting twice equals converting once.

mod convert;
pub mod cpio;
mod detect;
mod disks;
mod edit;
pub mod linux;
mod mount;
mod probe;
mod text;
mod tree;
pub mod windows;

pub use convert::{Conversion, ConvertError, ConvertOptions, PinnedNic, apply, plan};
pub use detect::{Candidate, DetectError, Guest, choose_root, detect, looks_like_root};
pub use disks::{DeviceNames, Partition, RestoredDisk, SystemDisks};
pub use edit::{Content, Edit, FileChange, SkipList};
pub use mount::{MountError, Mounted};
pub use probe::{FileSystem, FsKind, probe, probe_bytes};
pub use text::Text;
pub use tree::{GuestTree, TreeError};
