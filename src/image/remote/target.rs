//! A disk that an image is put on, on the machine that has it: written past the page cache where that is possible, for
//! nobody reads it there and memory is short.

use std::path::{Path, PathBuf};

use crate::device::PageBuffer;
use crate::hardware::DiskFormat;
use crate::image::error::{ImageError, Result};
use crate::image::format::{DiskWriter, open_target};

use super::mark::{self, Mark};

/// The disk, opened exclusively.
pub struct DiskTarget {
    disk: Box<dyn DiskWriter>,
    path: PathBuf,
}

impl DiskTarget {
    /// Opens a raw disk: a block device or a file that is there.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { disk: open_target(path, DiskFormat::Raw)?, path: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub(super) fn size(&self) -> u64 {
        self.disk.size()
    }

    /// Writes; whole pages from memory that begins at one go past the page cache.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.disk.write_at(bytes, offset).map_err(ImageError::target("writing", &self.path))
    }

    /// Makes a range read as zeros.
    pub(super) fn zero(&self, offset: u64, len: u64) -> Result<()> {
        match len {
            0 => Ok(()),
            len => self.disk.zero(offset, len).map_err(ImageError::target("writing", &self.path)),
        }
    }

    /// Makes everything durable.
    pub(super) fn flush(&self) -> Result<()> {
        self.disk.flush().map_err(ImageError::target("flushing", &self.path))
    }

    /// The newest mark that is on it.
    pub(super) fn mark(&self) -> Result<Option<Mark>> {
        let mut blocks = vec![0; 2 * mark::LEN];
        if self.size() < mark::AT + blocks.len() as u64 {
            return Ok(None);
        }
        self.disk.read_back(&mut blocks, mark::AT).map_err(ImageError::target("reading", &self.path))?;
        Ok(blocks.chunks(mark::LEN).filter_map(Mark::decode).max_by_key(|mark| mark.turn))
    }

    /// Writes a mark; the other one stays until the next.
    pub(super) fn set_mark(&self, mark: &Mark) -> Result<()> {
        let mut block = PageBuffer::default();
        block.resize(mark::LEN);
        mark.encode(&mut block);
        self.write(&block, mark.offset())
    }
}
