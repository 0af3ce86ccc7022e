//! The first look at a qcow2 file: its header, and the first sectors of the disk inside.
//!
//! The header is read here, since it has to say *why* an image cannot be taken; the disk inside is read by the `imago`
//! library.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use imago::file::File as ImagoFile;
use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder as _, StorageOpenOptions};

/// How every qcow2 file begins.
pub(super) const SIGNATURE: &[u8; 4] = b"QFI\xfb";

const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;

/// What the header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the disk inside.
    pub size: u64,
    /// The file that holds what this one does not.
    pub backing: Option<String>,
    /// Whether the content is encrypted.
    pub encrypted: bool,
    /// Whether the image is marked as damaged.
    pub corrupt: bool,
    /// Whether the content lies in another file.
    pub external_data: bool,
    /// 2 or 3; others are not known.
    pub version: u32,
}

impl Header {
    /// Reads the header (all numbers are big-endian).
    pub fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; 80];
        file.read_exact_at(&mut bytes[..72], 0)?;
        let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let version = u32_at(4);
        let incompatible = match version {
            3.. => {
                let mut features = [0; 8];
                file.read_exact_at(&mut features, 72)?;
                u64::from_be_bytes(features)
            }
            _ => 0,
        };
        let backing = match (u64_at(8), u32_at(16)) {
            (0, _) => None,
            (at, length) => {
                let mut name = vec![0; length.min(1023) as usize];
                file.read_exact_at(&mut name, at)?;
                Some(String::from_utf8_lossy(&name).into_owned())
            }
        };
        Ok(Self {
            size: u64_at(24),
            backing,
            encrypted: u32_at(32) != 0,
            corrupt: incompatible & CORRUPT != 0,
            external_data: incompatible & EXTERNAL_DATA != 0,
            version,
        })
    }
}

/// The disk inside an image, as far as the library understands it; for reading a few sectors.
pub(super) struct Inside {
    access: FormatAccess<ImagoFile>,
    at: u64,
}

impl Inside {
    /// Opens it without following any reference to another file.
    pub fn open(file: File) -> io::Result<Self> {
        let storage = ImagoFile::from_open_file(file, StorageOpenOptions::new())?;
        let image = Qcow2::<ImagoFile>::builder(storage).open(DenyImplicitOpenGate::default())?;
        Ok(Self { access: FormatAccess::new(image), at: 0 })
    }
}

impl Read for Inside {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.access.size().saturating_sub(self.at);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.access.read(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Inside {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.access.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
