//! Disks in their formats, as a logical range of bytes with a map of what is allocated.

mod fuse;
mod qcow2;
mod raw;

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use qcow2::Qcow2Disk;
pub use raw::RawDisk;

use super::error::Result;

/// A disk's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Bytes as they are; also block devices.
    Raw,
    /// QEMU copy-on-write.
    Qcow2,
}

impl ImageFormat {
    /// Reads [`Self::name`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Raw, Self::Qcow2].into_iter().find(|format| format.name() == name)
    }

    /// Its name, as plans and `qemu-img` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// Whether a range may hold data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtentKind {
    /// It has to be read.
    Data,
    /// It reads as zeros.
    Hole,
}

/// A range from where was asked to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// What is there.
    pub kind: ExtentKind,
    /// First byte after it; beyond where was asked.
    pub end: u64,
}

/// A disk to capture from; opened for reading only.
pub trait DiskReader: Send + Sync {
    /// Bytes of the logical disk.
    fn size(&self) -> u64;
    /// Fills `buffer` from `offset`; both are within the disk.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Says that a range is read soon, so that the medium may begin.
    fn will_need(&self, _offset: u64, _len: u64) {}
    /// Whether a range lies in the page cache, as far as a glance tells; what we did not bring in is left there.
    fn cached(&self, _offset: u64, _len: u64) -> bool {
        true
    }
    /// Says that a range is not read again, so that it need not push others out of the page cache.
    fn drop_cache(&self, _offset: u64, _len: u64) {}
    /// What is at `offset`, as far as the file system or the format knows without reading it.
    fn extent_at(&self, offset: u64) -> io::Result<Extent>;
}

/// A disk to deploy to; opened exclusively.
pub trait DiskWriter: Send + Sync {
    /// Bytes of the logical disk.
    fn size(&self) -> u64;
    /// Writes `buffer` at `offset`; both are within the disk.
    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()>;
    /// Whether the format keeps a table of where data lies, which a kill could leave half-written. Then everything is
    /// reserved and made durable before data is written, so that writing data changes no table.
    fn keeps_tables(&self) -> bool {
        false
    }
    /// Gives a range its place; what it reads as afterwards is undefined.
    fn reserve(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// Makes a range read as zeros, without taking up space where that is possible.
    fn zero(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Fills `buffer` from `offset`.
    fn read_back(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Makes everything durable.
    fn flush(&self) -> io::Result<()>;
    /// Says that a durable range is not needed soon, so that it need not push others out of the page cache.
    fn drop_cache(&self, _offset: u64, _len: u64) {}
}

/// Opens a source.
pub fn open_source(path: &Path, format: ImageFormat) -> Result<Box<dyn DiskReader>> {
    Ok(match format {
        ImageFormat::Raw => Box::new(RawDisk::open(path)?),
        ImageFormat::Qcow2 => qcow2::open_source(path)?,
    })
}

/// Opens an existing disk file or block device as a target.
pub fn open_target(path: &Path, format: ImageFormat) -> Result<Box<dyn DiskWriter>> {
    Ok(match format {
        ImageFormat::Raw => Box::new(RawDisk::open_target(path)?),
        ImageFormat::Qcow2 => Box::new(Qcow2Disk::open_target(path)?),
    })
}
