//! Opening disks and measuring them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a disk file or block device for reading; nothing in this product ever opens a source otherwise.
pub fn open_read_only(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).open(path)?;
    check_kind(&file)?;
    Ok(file)
}

/// Opens a disk file or block device for writing, alone: a block device that is mounted or otherwise taken is refused
/// by the kernel, a file that another `replant` writes by its lock.
pub fn open_exclusive(path: &Path) -> io::Result<File> {
    let block = std::fs::metadata(path)?.file_type().is_block_device();
    let flags = if block { rustix::fs::OFlags::EXCL.bits() } else { 0 };
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags.cast_signed()).open(path)?;
    check_kind(&file)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another process writes it"))?;
    Ok(file)
}

/// Bytes of a disk file or block device.
pub fn size(file: &File) -> io::Result<u64> {
    match file.metadata()?.file_type().is_block_device() {
        true => (&*file).seek(SeekFrom::End(0)),
        false => Ok(file.metadata()?.len()),
    }
}

fn check_kind(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    match kind.is_file() || kind.is_block_device() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a file nor a block device")),
    }
}
