//! An NTFS volume read without mounting it: from a device, or from a range of a disk in any format.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom};

use ntfs::indexes::NtfsFileNameIndex;
use ntfs::structured_values::{NtfsFileNamespace, NtfsVolumeFlags};
use ntfs::{Ntfs, NtfsError, NtfsFile, NtfsReadSeek};

use super::files::{WindowsFiles, components};

/// A file larger than this is not read at once: no hive is.
const LARGEST: u64 = 1 << 30;

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It is encrypted as a whole.
    #[error("the volume is encrypted with BitLocker")]
    BitLocker,
    /// The file system is not NTFS, or damaged.
    #[error("the volume is not a readable NTFS: {0}")]
    Ntfs(#[from] NtfsError),
    /// Reading failed.
    #[error("the volume cannot be read")]
    Io(#[from] io::Error),
}

/// An NTFS volume.
pub struct NtfsVolume<R> {
    ntfs: Ntfs,
    reader: RefCell<R>,
    dirty: bool,
}

/// Whether a volume's first sector is BitLocker's.
pub fn is_bitlocker(sector: &[u8]) -> bool {
    sector.get(3..11) == Some(b"-FVE-FS-")
}

impl<R: Read + Seek> NtfsVolume<R> {
    /// Opens the volume whose first byte is `reader`'s.
    pub fn open(mut reader: R) -> Result<Self, VolumeError> {
        let mut sector = [0; 512];
        reader.seek(SeekFrom::Start(0))?;
        reader.read_exact(&mut sector)?;
        if is_bitlocker(&sector) {
            return Err(VolumeError::BitLocker);
        }
        reader.seek(SeekFrom::Start(0))?;
        let mut ntfs = Ntfs::new(&mut reader)?;
        ntfs.read_upcase_table(&mut reader)?;
        let dirty = ntfs.volume_info(&mut reader)?.flags().contains(NtfsVolumeFlags::IS_DIRTY);
        Ok(Self { ntfs, reader: RefCell::new(reader), dirty })
    }

    /// Whether Windows wants the volume to be checked.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    fn find(&self, reader: &mut R, path: &str) -> Result<Option<NtfsFile<'_>>, NtfsError> {
        let mut file = self.ntfs.root_directory(reader)?;
        for name in components(path) {
            if !file.is_directory() {
                return Ok(None);
            }
            let found = {
                let index = file.directory_index(reader)?;
                let mut finder = index.finder();
                match NtfsFileNameIndex::find(&mut finder, &self.ntfs, reader, name) {
                    Some(entry) => entry?.file_reference().to_file(&self.ntfs, reader)?,
                    None => return Ok(None),
                }
            };
            file = found;
        }
        Ok(Some(file))
    }
}

impl<R: Read + Seek> WindowsFiles for NtfsVolume<R> {
    fn head(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let mut reader = self.reader.borrow_mut();
        let Some(file) = self.find(&mut reader, path).map_err(broken)? else { return Ok(None) };
        if file.is_directory() {
            return Ok(None);
        }
        let Some(item) = file.data(&mut *reader, "") else { return Ok(None) };
        let item = item.map_err(broken)?;
        let attribute = item.to_attribute().map_err(broken)?;
        let mut value = attribute.value(&mut *reader).map_err(broken)?;
        let wanted = value.len().min(limit);
        if wanted > LARGEST {
            return Err(io::Error::other(format!("{path} is larger than what is read at once")));
        }
        let mut bytes = vec![0; wanted as usize];
        value.read_exact(&mut *reader, &mut bytes).map_err(broken)?;
        Ok(Some(bytes))
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let mut reader = self.reader.borrow_mut();
        let Some(file) = self.find(&mut reader, path).map_err(broken)? else { return Ok(None) };
        if !file.is_directory() {
            return Ok(None);
        }
        let index = file.directory_index(&mut *reader).map_err(broken)?;
        let mut entries = index.entries();
        let mut names = Vec::new();
        while let Some(entry) = entries.next(&mut *reader) {
            let entry = entry.map_err(broken)?;
            let Some(Ok(name)) = entry.key() else { continue };
            if name.namespace() != NtfsFileNamespace::Dos {
                names.push(name.name().to_string_lossy());
            }
        }
        names.sort();
        Ok(Some(names))
    }
}

fn broken(error: NtfsError) -> io::Error {
    io::Error::other(format!("the NTFS file system is damaged: {error}"))
}

/// A range of a source that can be read at any offset, as a stream of its own.
pub struct Window<F> {
    read_at: F,
    start: u64,
    len: u64,
    at: u64,
}

impl<F: FnMut(&mut [u8], u64) -> io::Result<()>> Window<F> {
    /// `len` bytes from `start`.
    pub fn new(read_at: F, start: u64, len: u64) -> Self {
        Self { read_at, start, len, at: 0 }
    }
}

impl<F: FnMut(&mut [u8], u64) -> io::Result<()>> Read for Window<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = (self.len.saturating_sub(self.at)).min(buffer.len() as u64) as usize;
        (self.read_at)(&mut buffer[..len], self.start + self.at)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl<F: FnMut(&mut [u8], u64) -> io::Result<()>> Seek for Window<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}
