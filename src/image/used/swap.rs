//! Linux swap areas: only the header is of value when the machine is off.
//!
//! Source: `union swap_header` of the kernel's include/linux/swap.h. A hibernated system writes another signature
//! (`S1SUSPEND`), which is not recognised here, so that its image is kept whole.

use std::io;

use super::bytes::ReadAt;
use super::map::FileSystem;
use super::ranges::Ranges;

const PAGE: u64 = 4096;

/// Reads the map if the volume is a swap area with 4 KiB pages.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < 2 * PAGE || volume.read_vec(PAGE - 10, 10)? != b"SWAPSPACE2" {
        return Ok(None);
    }
    let used = Ranges::one(0..PAGE);
    Ok(Some(FileSystem::Mapped { name: "swap", used }))
}
