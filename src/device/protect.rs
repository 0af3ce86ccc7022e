//! Disks that nobody may write any more.

use std::io;
use std::path::Path;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `BLKROSET`: `_IO(0x12, 93)`.
const BLKROSET: rustix::ioctl::Opcode = opcode::none(0x12, 93);

/// Makes a block device read-only for everybody, until the machine boots again; a file is left as it is, for it is only
/// opened for reading anyway.
pub fn protect(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;

    let file = super::open_read_only(path)?;
    if !file.metadata()?.file_type().is_block_device() {
        return Ok(());
    }
    // A pointer to an int that is 1, as the kernel's `blkdev_roset` reads it.
    #[expect(unsafe_code, reason = "the system call takes a pointer whose type only we know")]
    // SAFETY: BLKROSET reads one int through the pointer, and the setter lives until the call has returned.
    unsafe {
        ioctl(&file, Setter::<BLKROSET, std::ffi::c_int>::new(1))?;
    }
    Ok(())
}
