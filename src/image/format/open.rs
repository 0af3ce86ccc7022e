//! Opening disks.

use std::path::Path;

use super::create::Subformat;
use super::look::look;
use super::served::{ServedDisk, Service};
use super::{DiskReader, DiskWriter, Qcow2Disk, RawDisk, qcow2};
use crate::device;
use crate::hardware::DiskFormat;
use crate::image::error::{ImageError, Result};

/// Opens a source for reading only.
pub fn open_source(path: &Path, format: DiskFormat) -> Result<Box<dyn DiskReader>> {
    let disk = look(path, Some(format))?;
    let file = &disk.files[0];
    if disk.plain {
        return Ok(Box::new(RawDisk::open(file)?.cut(disk.size)));
    }
    if format == DiskFormat::Qcow2
        && let Some(opened) = qcow2::open_source(file)
    {
        return Ok(Box::new(opened));
    }
    let served =
        ServedDisk::start(&Service { path: file, format, window: disk.window, writable: false, compress: false })?;
    // Some products round a VHD's size to cylinders, some do not: a disk without its end must not pass.
    match DiskReader::size(&served) == disk.size {
        true => Ok(Box::new(served)),
        false => Err(ImageError::Unreadable {
            path: file.clone(),
            format: format.name(),
            reason: format!(
                "its header says {} bytes, QEMU shows {}; convert it with the product that made it",
                disk.size,
                DiskReader::size(&served)
            ),
        }),
    }
}

/// Opens an existing disk file or block device as a target.
pub fn open_target(path: &Path, format: DiskFormat) -> Result<Box<dyn DiskWriter>> {
    open_written(path, format, Subformat::Default)
}

/// Opens a target; a disk of a subformat that is written once, in order, cannot be read before it is closed.
pub(in crate::image) fn open_written(
    path: &Path,
    format: DiskFormat,
    subformat: Subformat,
) -> Result<Box<dyn DiskWriter>> {
    Ok(match format {
        DiskFormat::Raw => Box::new(RawDisk::open_target(path)?),
        DiskFormat::Qcow2 => Box::new(Qcow2Disk::open_target(path)?),
        DiskFormat::Ova => return Err(not_written(format)),
        DiskFormat::Vmdk | DiskFormat::Vhd | DiskFormat::Vhdx => {
            // The daemon takes a lock of its own kind; ours tells other processes of this product at once.
            drop(device::open_exclusive(path).map_err(ImageError::file("opening", path))?);
            let compress = subformat == Subformat::Stream;
            Box::new(ServedDisk::start(&Service { path, format, window: None, writable: true, compress })?)
        }
    })
}

pub(super) fn not_written(format: DiskFormat) -> ImageError {
    ImageError::Refused { what: format!("{format} is only read; write raw, qcow2, vmdk, vhd or vhdx") }
}
