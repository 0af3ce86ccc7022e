//! Why a guest's initramfs cannot be made to fit.

use super::super::super::TreeError;
use super::listing::ListingError;
use super::rebuild::{RebuildTool, RebuiltError};

/// Why a guest's initramfs cannot be made to fit.
#[derive(Debug, thiserror::Error)]
pub enum InitramfsError {
    /// A file of the guest cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// An initramfs cannot be read.
    #[error("{path} in the guest cannot be read")]
    Listing {
        /// The initramfs.
        path: String,
        /// Why.
        #[source]
        error: ListingError,
    },
    /// The kernel has no such driver at all.
    #[error("the guest's kernel {release} has no driver {}: install a kernel that has it in the source, or leave the edit out with `guest.skip: [initramfs]`", drivers.join(", "))]
    NoDriver {
        /// The kernel.
        release: String,
        /// The drivers.
        drivers: Vec<String>,
    },
    /// It was made by something that we do not know.
    #[error("{path} lacks the drivers {} and was made by none of initramfs-tools, dracut, mkinitcpio and mkinitfs, and the guest has none of their tools to make it anew: add the drivers in the source, or leave the edit out with `guest.skip: [initramfs]`", missing.join(", "))]
    UnknownKind {
        /// The initramfs.
        path: String,
        /// What it lacks.
        missing: Vec<String>,
    },
    /// The list of modules names a file that is not there.
    #[error(
        "the guest's kernel {release} lists the module {module}, and its file is missing: install the kernel's package again in the source"
    )]
    NoModuleFile {
        /// The kernel.
        release: String,
        /// The module's path.
        module: String,
    },
    /// A kernel needs an initramfs and there is none of a known name.
    #[error("no initramfs in /boot belongs to a kernel of the guest ({}), and the drivers {} are not built into it", releases.join(", "), drivers.join(", "))]
    NoInitramfs {
        /// The kernels.
        releases: Vec<String>,
        /// What must be loaded.
        drivers: Vec<String>,
    },
    /// The archive could not be built.
    #[error("the overlay of {path} cannot be built")]
    Overlay {
        /// The initramfs.
        path: String,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The plan wants it made anew, and there is nothing that could.
    #[error("`guest.initramfs: rebuild` is asked for, and the guest has none of {} to make {path} anew: install one of them in the source, or leave `guest.initramfs` out", RebuildTool::programs().join(", "))]
    NoTool {
        /// The initramfs.
        path: String,
    },
    /// What the guest's own tool has made cannot be used.
    #[error(transparent)]
    Rebuilt(#[from] RebuiltError),
}
