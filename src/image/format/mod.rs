//! Disks in their formats, as a logical range of bytes with a map of what is allocated.
//!
//! Raw disks and fixed VHDs are read directly, qcow2 by a library, everything else through QEMU's own drivers, behind a
//! private socket. `docs/image-formats.md` says what is read and written.

mod create;
mod header;
mod look;
mod nbd;
mod open;
mod qcow2;
mod raw;
mod served;

pub use create::Subformat;
pub(super) use create::{create, finish};
pub use look::{DiskFiles, FormatError, look, source_identity};
pub(super) use look::{fuzz_archive, fuzz_header};
pub(super) use open::open_written;
pub use open::{open_source, open_target};
pub use qcow2::Qcow2Disk;
pub use raw::RawDisk;

use std::io;

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
    /// Whether short reads cost hardly more than long ones.
    fn reads_cheaply(&self) -> bool {
        false
    }
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
    /// Whether ranges may be written in any order and several at once; else they are written one after another.
    fn any_order(&self) -> bool {
        false
    }
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
