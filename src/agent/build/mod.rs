//! Builds the agent's kernel and initramfs from Debian packages, reproducibly, and only when an input changed.
//!
//! ```text
//! flavour -> package files (cache) -> unpacked -> tree -> newc archive, zstd -> DIR/vmlinuz DIR/agent.img DIR/agent.json
//! ```

mod drivers;
mod elf;
mod extras;
mod image;
mod modules;
mod packages;
mod tree;

pub use drivers::{DriverTable, DriverTableError, NotPci, PciDevice, Served};
pub use elf::{ElfError, ElfFile};
pub use extras::Extras;
pub use image::{AgentRecord, BuildError, BuildOptions, BuildState, build, state};
pub use modules::{Loading, loading};
pub use packages::{Flavour, PackageError, PackageFile};
pub use tree::AgentTree;
