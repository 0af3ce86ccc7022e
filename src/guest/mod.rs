//! The operating system inside restored disks: what it is (*detect*), which of its files must change so that it starts
//! on the target's hardware (*edits*), and the change itself (*convert*).
//!
//! ```text
//! disks -probe-> file systems -detect-> the root, mounted -linux-> edits with before and after -apply-> a guest that boots
//! ```
//!
//! It works on mounted file systems of a machine that is off. It runs no program of the guest by itself (an initramfs that the
//! guest's own tool must make is handed to whoever can), never touches a running system, and an edit that is in place already is no edit: converting twice equals converting once.

mod convert;
pub mod cpio;
mod detect;
mod disks;
mod edit;
mod inspect;
mod label;
pub mod linux;
mod mount;
mod probe;
mod script;
mod storage;
mod text;
mod tree;
pub mod windows;

pub use convert::{Conversion, ConvertError, ConvertOptions, apply, plan};
pub use detect::{
    Access, Candidate, DetectError, Guest, Survey, choose_root, detect, looks_like_root, open, refuse_unusable, survey,
};
pub use disks::{DeviceNames, Partition, RestoredDisk, SystemDisks, Volume, VolumeKind};
pub use edit::{Content, Edit, FileChange, SkipList};
pub use inspect::{InspectedContent, InspectedDisk, InspectedSystem, MachineInspection, SystemFacts, inspect};
pub use mount::{MountError, Mounted};
pub use probe::{FileSystem, FsKind, FsState, probe, probe_bytes};
pub use script::UserScript;
pub use storage::{
    Closed, KEY_FOLDER, LUKS_MODULES, LVM_MODULES, RAID_MODULES, StorageError, VOLUME_MODULES, assemble, has_volumes,
    release,
};
pub use text::Text;
pub use tree::{GuestTree, TreeError};
