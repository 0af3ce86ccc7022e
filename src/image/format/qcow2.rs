//! qcow2 through the `imago` library: reads version 2 and 3, zlib-compressed clusters, backing chains; writes in place.
//! What the library does not know (zstd clusters, extended L2 entries) QEMU serves.

use std::io;
use std::path::Path;

use imago::file::File as ImagoFile;
use imago::qcow2::Qcow2;
use imago::{
    FormatAccess, FormatCreateBuilder, FormatDriverBuilder, Mapping, PermissiveImplicitOpenGate, Storage,
    StorageOpenOptions,
};

use super::{DiskReader, DiskWriter, Extent, ExtentKind};
use crate::device;
use crate::image::error::{ImageError, Result};

/// A qcow2 disk, open for reading or for writing.
pub struct Qcow2Disk {
    access: FormatAccess<ImagoFile>,
    /// Keeps the exclusive lock on a target.
    _lock: Option<std::fs::File>,
}

/// Opens a source; `None` where the library does not know a feature.
pub(super) fn open_source(path: &Path) -> Option<Qcow2Disk> {
    Qcow2Disk::open(path, false).ok().map(|access| Qcow2Disk { access, _lock: None })
}

impl Qcow2Disk {
    fn open(path: &Path, write: bool) -> io::Result<FormatAccess<ImagoFile>> {
        let image = Qcow2::<ImagoFile>::builder_path(path).write(write).open(PermissiveImplicitOpenGate::default())?;
        Ok(FormatAccess::new(image))
    }

    /// Opens a target exclusively.
    pub fn open_target(path: &Path) -> Result<Self> {
        let lock = device::open_exclusive(path).map_err(ImageError::file("opening", path))?;
        let access = Self::open(path, true).map_err(|error| ImageError::Unreadable {
            path: path.to_owned(),
            format: "qcow2",
            reason: error.to_string(),
        })?;
        Ok(Self { access, _lock: Some(lock) })
    }

    /// Makes `path` an empty disk of `size` bytes, rounded up to whole sectors, whatever it was.
    pub fn create(path: &Path, size: u64) -> Result<()> {
        let make = || -> io::Result<()> {
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
            let storage = ImagoFile::open(StorageOpenOptions::new().filename(path).write(true))?;
            Qcow2::<ImagoFile>::create_builder(storage).size(size.next_multiple_of(512)).create()?;
            std::fs::File::open(path)?.sync_all()
        };
        make().map_err(ImageError::target("creating", path))
    }
}

impl DiskReader for Qcow2Disk {
    fn size(&self) -> u64 {
        self.access.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // The library fills with zeros what lies behind the end; for us that is a mistake.
        if offset.checked_add(buffer.len() as u64).is_none_or(|end| end > self.access.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.access.read(buffer, offset)
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        let (mapping, len) = self.access.get_mapping(offset, self.access.size() - offset)?;
        let kind = match mapping {
            Mapping::Zero { .. } => ExtentKind::Hole,
            _ => ExtentKind::Data,
        };
        match len {
            0 => Ok(Extent { kind: ExtentKind::Data, end: self.access.size() }),
            len => Ok(Extent { kind, end: offset + len }),
        }
    }
}

impl DiskWriter for Qcow2Disk {
    fn size(&self) -> u64 {
        self.access.size()
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.access.write(buffer, offset)
    }

    fn keeps_tables(&self) -> bool {
        true
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let (_, _, mapped) = self.access.ensure_data_mapping(at, end - at, true)?;
            at += mapped;
        }
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let (mapping, found) = self.access.get_mapping(at, end - at)?;
            if found == 0 {
                return self.access.write_zeroes(at, end - at);
            }
            if !matches!(mapping, Mapping::Zero { .. }) {
                self.access.write_zeroes(at, found)?;
            }
            at += found;
        }
        Ok(())
    }

    fn read_back(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        DiskReader::read_at(self, buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.access.flush()?;
        self.access.sync()
    }
}
