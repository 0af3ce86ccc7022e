//! The initramfs: which of the target's drivers each one lacks, and an overlay archive with just those.
//!
//! ```text
//! /boot/initrd.img-KERNEL --listing--> what it holds --modules--> what is missing --overlay--> bytes to append
//! ```
//!
//! The kernel unpacks archives that follow each other one over the other, so an overlay of about a megabyte takes the
//! place of a rebuild and runs no program of the guest. The guest's own configuration gets the same drivers, so that its
//! next rebuild keeps them. Known: initramfs-tools, dracut, mkinitcpio, mkinitfs. Where no overlay can be made, or the plan
//! wants it so, the guest's own tool makes the initramfs anew; where it has none, that is refused.

mod config;
mod error;
mod image;
mod index;
mod kind;
mod listing;
mod modules;
mod overlay;
mod plan;
mod rebuild;

pub use error::InitramfsError;
pub use index::write_index;
pub use kind::InitramfsKind;
pub use listing::{Listing, ListingError, read_listing};
pub use modules::ModuleTree;
pub use overlay::overlay;
pub use plan::{InitramfsPlan, images, plan};
pub use rebuild::{InitramfsChoice, Rebuild, RebuildTool, RebuiltError, SCRATCH, WAY_OUT};
