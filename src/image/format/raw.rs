//! Raw disk files and block devices.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::{DiskReader, DiskWriter, Extent, ExtentKind};
use crate::device::{self, DirectFile, PageBuffer};
use crate::image::error::{ImageError, Result};

/// A raw disk, open for reading or for writing.
pub struct RawDisk {
    /// Sources are read through the page cache, targets are written past it.
    disk: DirectFile,
    size: u64,
    block: bool,
    /// A file whose blocks are all reserved stays so.
    reserved: bool,
}

impl RawDisk {
    /// Opens a source for reading only.
    pub fn open(path: &Path) -> Result<Self> {
        let file = device::open_read_only(path).map_err(ImageError::file("opening", path))?;
        Self::new(DirectFile::cached(file), path)
    }

    /// Opens a target exclusively.
    pub fn open_target(path: &Path) -> Result<Self> {
        let file = device::open_exclusive(path).map_err(ImageError::file("opening", path))?;
        Self::new(DirectFile::new(file), path)
    }

    /// Shows only the first `size` bytes.
    pub(super) fn cut(self, size: u64) -> Self {
        Self { size: self.size.min(size), ..self }
    }

    fn new(disk: DirectFile, path: &Path) -> Result<Self> {
        let size = device::size(disk.file()).map_err(ImageError::file("measuring", path))?;
        let meta = disk.file().metadata().map_err(ImageError::file("measuring", path))?;
        let reserved = size > 0 && meta.blocks() * 512 >= size;
        Ok(Self { block: meta.file_type().is_block_device(), disk, size, reserved })
    }

    fn file(&self) -> &File {
        self.disk.file()
    }

    /// Gives pages of the cache back; only advice.
    fn forget(&self, offset: u64, len: u64) {
        let _ = rustix::fs::fadvise(self.file(), offset, NonZeroU64::new(len), rustix::fs::Advice::DontNeed);
    }

    /// Whether a range is known to be a hole.
    fn is_hole(&self, offset: u64, len: u64) -> bool {
        !self.block
            && match seek(self.file(), SeekFrom::Data(offset)) {
                Ok(data) => data >= offset + len,
                Err(error) => error == Errno::NXIO,
            }
    }

    fn write_zeros(&self, mut offset: u64, len: u64) -> io::Result<()> {
        let mut zeros = PageBuffer::default();
        zeros.resize(1 << 20);
        let end = offset + len;
        while offset < end {
            let step = (end - offset).min(zeros.len() as u64);
            self.disk.write_all_at(&zeros[..step as usize], offset)?;
            offset += step;
        }
        Ok(())
    }
}

impl DiskReader for RawDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file().read_exact_at(buffer, offset)
    }

    fn reads_cheaply(&self) -> bool {
        true
    }

    fn will_need(&self, offset: u64, len: u64) {
        // Only advice: without it reading is slower, not wrong.
        let _ = rustix::fs::fadvise(self.file(), offset, NonZeroU64::new(len), rustix::fs::Advice::WillNeed);
    }

    fn cached(&self, offset: u64, len: u64) -> bool {
        let there = |offset: u64| {
            let mut byte = [0];
            let mut buffer = [io::IoSliceMut::new(&mut byte)];
            rustix::io::preadv2(self.file(), &mut buffer, offset, rustix::io::ReadWriteFlags::NOWAIT)
                .is_ok_and(|len| len == 1)
        };
        there(offset) && there(offset + len.saturating_sub(1))
    }

    fn drop_cache(&self, offset: u64, len: u64) {
        self.forget(offset, len);
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        let all = Extent { kind: ExtentKind::Data, end: self.size };
        if self.block {
            return Ok(all);
        }
        match seek(self.file(), SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok(Extent { kind: ExtentKind::Hole, end: data.min(self.size) }),
            Ok(_) => {
                let hole = seek(self.file(), SeekFrom::Hole(offset))?;
                Ok(Extent { kind: ExtentKind::Data, end: hole.clamp(offset + 1, self.size) })
            }
            // No data from here to the end. A file that was cut meanwhile answers the same: reading decides then.
            Err(Errno::NXIO) if device::size(self.file())? >= self.size => {
                Ok(Extent { kind: ExtentKind::Hole, end: self.size })
            }
            Err(Errno::NXIO) => Ok(all),
            // A file system that does not know.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(all),
            Err(error) => Err(error.into()),
        }
    }
}

impl DiskWriter for RawDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn any_order(&self) -> bool {
        true
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_all_at(buffer, offset)
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        // Making a hole waits for all that is being written; where there is one already, there is no need to.
        if !self.reserved && self.is_hole(offset, len) {
            return Ok(());
        }
        let flags = match self.reserved && !self.block {
            true => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
            false => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        };
        match fallocate(self.file(), flags, offset, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => self.write_zeros(offset, len),
            Err(error) => Err(error.into()),
        }
    }

    fn read_back(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // Ask the medium, not the page cache; where that is not possible the cache is as good as it gets.
        self.forget(offset, buffer.len() as u64);
        self.disk.read_exact_at(buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.file().sync_all()
    }

    fn drop_cache(&self, offset: u64, len: u64) {
        self.forget(offset, len);
    }
}
