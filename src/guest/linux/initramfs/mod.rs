//! The initramfs: which of the target's drivers each one lacks, and an overlay archive with just those.
//!
//! ```text
//! /boot/initrd.img-KERNEL --listing--> what it holds --modules--> what is missing --overlay--> bytes to append
//! ```
//!
//! The kernel unpacks archives that follow each other one over the other, so an overlay of about a megabyte takes the
//! place of a rebuild and runs no program of the guest. The guest's own configuration gets the same drivers, so that its
//! next rebuild keeps them. Known: initramfs-tools, dracut, mkinitcpio, mkinitfs. Anything else is refused where drivers
//! are missing.

mod config;
mod index;
mod kind;
mod listing;
mod modules;
mod overlay;
mod plan;

pub use index::write_index;
pub use kind::InitramfsKind;
pub use listing::{Listing, ListingError, read_listing};
pub use modules::ModuleTree;
pub use overlay::overlay;
pub use plan::{InitramfsError, InitramfsPlan, images, plan};
