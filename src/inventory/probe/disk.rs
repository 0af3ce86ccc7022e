//! One source disk: format, size, identity and what it boots.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};

use camino::Utf8Path;

use super::boot;
use crate::image::{DiskReader, FormatError, look, open_source, source_identity};
use crate::inventory::{DiskFacts, DiskKind};
use crate::plan::{DiskFormat, DiskIndex};
use crate::units::ByteCount;

/// Why a disk cannot be taken as a source.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is nothing at the path.
    #[error("there is no disk at `{path}`")]
    Missing {
        /// The path.
        path: String,
    },
    /// The user may not read it.
    #[error("`{path}` may not be read by this user")]
    Permission {
        /// The path.
        path: String,
        /// Whether it is a block device.
        block: bool,
    },
    /// It is a folder, a pipe or the like.
    #[error("`{path}` is neither a disk file nor a block device")]
    NotADisk {
        /// The path.
        path: String,
    },
    /// Reading failed otherwise.
    #[error("looking at `{path}` failed: {error}")]
    Read {
        /// The path.
        path: String,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// It is no disk of a format that is read, or not of the one that was declared.
    #[error(transparent)]
    Format(FormatError),
    /// The disk has no bytes, or not whole sectors.
    #[error("`{path}` has {size} bytes, which is not a disk of whole sectors")]
    Size {
        /// The path.
        path: String,
        /// Its bytes.
        size: u64,
    },
}

impl ProbeError {
    /// The way out.
    pub fn help(&self) -> String {
        match self {
            Self::Missing { .. } => "check the path; relative ones begin at the folder of the first plan file".into(),
            Self::Permission { path, block: true } => {
                format!("run as root or as a member of the group `disk`, or: setfacl -m u:$USER:r '{path}'")
            }
            Self::Permission { path, block: false } => {
                format!("let this user read it and enter its folders: setfacl -m u:$USER:r '{path}'")
            }
            Self::NotADisk { .. } => {
                "a source is a disk file (raw, qcow2, vmdk, ova, vhd, vhdx) or a block device such as /dev/sdb".into()
            }
            Self::Read { .. } => "see the system's log for errors of the medium (`dmesg`)".into(),
            Self::Format(error) => error.help(),
            Self::Size { .. } => "is the copy complete? A disk has a whole number of 512-byte sectors".into(),
        }
    }
}

/// Looks at one disk; opened for reading only.
pub fn probe_disk(path: &Utf8Path, index: DiskIndex, declared: Option<DiskFormat>) -> Result<DiskFacts, ProbeError> {
    let shown = || path.to_string();
    let (file, metadata) = open(path)?;
    let read = |error| ProbeError::Read { path: shown(), error };
    let block = metadata.file_type().is_block_device();
    let length = match block {
        true => (&file).seek(SeekFrom::End(0)).map_err(read)?,
        false => metadata.len(),
    };
    let disk = look(path.as_std_path(), declared).map_err(ProbeError::Format)?;
    let (size, format) = (disk.size, disk.format);
    if size == 0 || size % 512 != 0 {
        return Err(ProbeError::Size { path: shown(), size });
    }
    let boots = match format {
        DiskFormat::Raw => boot::firmware(&mut &file),
        // What cannot be opened now, since the source still runs, is left to the inventory.
        _ => {
            let inside = open_source(path.as_std_path(), format).ok().map(|disk| Inside { disk, at: 0 });
            inside.and_then(|mut inside| boot::firmware(&mut inside))
        }
    };
    let others = disk.files[1..].iter().map(|file| file.metadata().map_or(0, |metadata| metadata.blocks() * 512));
    Ok(DiskFacts {
        index,
        path: path.to_owned(),
        format,
        kind: if block { DiskKind::Block } else { DiskKind::File },
        size: ByteCount(size),
        allocated: ByteCount(if block { length } else { metadata.blocks() * 512 + others.sum::<u64>() }),
        identity: source_identity(path.as_std_path(), format).map_err(read)?,
        boots,
    })
}

/// The disk inside a file, for reading a few sectors.
struct Inside {
    disk: Box<dyn DiskReader>,
    at: u64,
}

impl Read for Inside {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.disk.size().saturating_sub(self.at);
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.disk.read_at(&mut buffer[..length], self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

impl Seek for Inside {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.disk.size().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Opens it, telling apart why it cannot be; a pipe at the path does not make us wait.
fn open(path: &Utf8Path) -> Result<(File, Metadata), ProbeError> {
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // A disk in an appliance is named as if the archive were a folder.
    let archive = path.ancestors().skip(1).find(|above| above.is_file()).unwrap_or(path);
    let opened = OpenOptions::new().read(true).custom_flags(no_wait).open(archive);
    let outcome = opened.and_then(|file| file.metadata().map(|metadata| (file, metadata)));
    let shown = path.to_string();
    match outcome {
        Ok((file, metadata)) => match metadata.is_file() || metadata.file_type().is_block_device() {
            true => Ok((file, metadata)),
            false => Err(ProbeError::NotADisk { path: shown }),
        },
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ProbeError::Missing { path: shown },
            io::ErrorKind::PermissionDenied => {
                let block = path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
                ProbeError::Permission { path: shown, block }
            }
            _ => ProbeError::Read { path: shown, error },
        }),
    }
}
