//! Creating empty disks.

use std::path::Path;
use std::process::Command;

use super::Qcow2Disk;
use super::header::vmdk;
use super::open::not_written;
use super::served::STREAM_GRAIN;
use crate::hardware::DiskFormat;
use crate::image::error::{ImageError, Result};

/// What a format can look like besides its usual form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subformat {
    /// VMDK: one sparse file. VHD and VHDX: dynamic.
    #[default]
    Default,
    /// VHD and VHDX: all space is taken at once.
    Fixed,
    /// VMDK: compressed, written once from the first byte to the last, as appliances carry it.
    Stream,
}

impl Subformat {
    /// Whether a disk can have it.
    pub fn fits(self, format: DiskFormat) -> bool {
        match self {
            Self::Default => true,
            Self::Fixed => matches!(format, DiskFormat::Vhd | DiskFormat::Vhdx),
            Self::Stream => format == DiskFormat::Vmdk,
        }
    }
}

/// Makes `path` an empty disk of `size` bytes, rounded up to whole sectors, whatever it was.
pub(in crate::image) fn create(path: &Path, format: DiskFormat, subformat: Subformat, size: u64) -> Result<()> {
    let options = match (format, subformat) {
        (_, subformat) if !subformat.fits(format) => {
            return Err(ImageError::Refused { what: format!("a {format} disk has no such form") });
        }
        (DiskFormat::Raw, _) => {
            return std::fs::File::create(path)
                .and_then(|file| file.set_len(size))
                .map_err(ImageError::target("creating", path));
        }
        (DiskFormat::Qcow2, _) => return Qcow2Disk::create(path, size),
        (DiskFormat::Ova, _) => return Err(not_written(format)),
        (DiskFormat::Vmdk, Subformat::Stream) => ["-f", "vmdk", "-o", "subformat=streamOptimized"],
        (DiskFormat::Vmdk, _) => ["-f", "vmdk", "-o", "subformat=monolithicSparse"],
        // Without `force_size` the size is rounded to cylinders.
        (DiskFormat::Vhd, Subformat::Fixed) => ["-f", "vpc", "-o", "subformat=fixed,force_size=on"],
        (DiskFormat::Vhd, _) => ["-f", "vpc", "-o", "subformat=dynamic,force_size=on"],
        (DiskFormat::Vhdx, Subformat::Fixed) => ["-f", "vhdx", "-o", "subformat=fixed"],
        (DiskFormat::Vhdx, _) => ["-f", "vhdx", "-o", "subformat=dynamic"],
    };
    let unit = if subformat == Subformat::Stream { STREAM_GRAIN as u64 } else { 512 };
    let size = size.next_multiple_of(unit).to_string();
    let output = Command::new("qemu-img").args(["create", "-q"]).args(options).arg("--").arg(path).arg(size).output();
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ImageError::MissingTool { tool: "qemu-img", package: "qemu-utils" },
        _ => ImageError::file("creating", path)(error),
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(ImageError::ToolFailed {
            tool: "qemu-img",
            said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }),
    }
}

/// Ends a disk that is whole: a compressed one was written in grains, and is cut to its size here.
pub(in crate::image) fn finish(path: &Path, subformat: Subformat, size: u64) -> Result<()> {
    if subformat != Subformat::Stream {
        return Ok(());
    }
    vmdk::shrink(path, size.next_multiple_of(512)).map_err(ImageError::target("ending", path))
}
