//! A disk that an image is put on, on the machine that has it: written past the page cache where that is possible, for
//! nobody reads it there and memory is short.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::device;
use crate::hardware::DiskFormat;
use crate::image::error::{ImageError, Result};
use crate::image::format::{DiskWriter, open_target};

use super::mark::{self, Mark};

/// Whole blocks of every disk that is in use.
const BLOCK: usize = 4096;

/// Memory that begins at a block's border.
#[derive(Default)]
pub(super) struct Aligned(Vec<u8>);

impl Aligned {
    /// So many bytes of it, with whatever is in them.
    pub(super) fn take(&mut self, len: usize) -> &mut [u8] {
        if self.0.len() < len + BLOCK {
            self.0.resize(len + BLOCK, 0);
        }
        let start = self.0.as_ptr().align_offset(BLOCK);
        &mut self.0[start..start + len]
    }
}

/// The disk, opened exclusively.
pub struct DiskTarget {
    disk: Box<dyn DiskWriter>,
    direct: Option<File>,
    path: PathBuf,
}

impl DiskTarget {
    /// Opens a raw disk: a block device or a file that is there.
    pub fn open(path: &Path) -> Result<Self> {
        let disk = open_target(path, DiskFormat::Raw)?;
        // A file system that does not know it is written through the page cache.
        let direct = device::open_direct(path).ok();
        Ok(Self { disk, direct, path: path.to_owned() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its size.
    pub(super) fn size(&self) -> u64 {
        self.disk.size()
    }

    /// Writes; what is aligned goes past the page cache.
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let aligned = offset.is_multiple_of(BLOCK as u64)
            && bytes.len().is_multiple_of(BLOCK)
            && bytes.as_ptr().align_offset(BLOCK) == 0;
        if let Some(direct) = self.direct.as_ref().filter(|_| aligned) {
            match direct.write_all_at(bytes, offset) {
                // Larger blocks than ours.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
                outcome => return outcome.map_err(ImageError::target("writing", &self.path)),
            }
        }
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
        let mut block = Aligned::default();
        let block = block.take(mark::LEN);
        mark.encode(block);
        self.write(block, mark.offset())
    }
}
