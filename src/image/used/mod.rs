//! Which ranges of a disk are in use: partition tables and file-system allocation maps, read without mounting.
//!
//! ```text
//! disk -> partition table -> partitions -> (LVM2 -> logical volumes ->) file system -> allocated blocks
//! ```
//!
//! Boot areas, partition tables and metadata are always in use. What is not recognised, is not clean, or is laid out
//! in a way that is not understood is used whole, and the report says why: this module never guesses that data
//! may be left out. It only reads.

mod btrfs;
pub(in crate::image) mod bytes;
mod disk;
pub(in crate::image) mod each;
mod ext;
mod fat;
mod lvm;
mod map;
mod ntfs;
mod partition;
mod ranges;
mod swap;
mod xfs;

pub use bytes::ReadAt;
pub use disk::UsedDisk;
pub(super) use map::is_medium_error;
pub use map::{Content, Region, UsedMap, Volume, used_map};
pub use ranges::Ranges;
