//! One source disk: format, size, identity and what it boots.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};

use camino::Utf8Path;

use super::{boot, qcow2};
use crate::device;
use crate::inventory::{DiskFacts, DiskKind};
use crate::plan::{DiskFormat, DiskIndex};
use crate::units::ByteCount;

/// Signatures of formats that are no sources yet, with their names.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"KDMV", "VMDK"),
    (b"# Disk DescriptorFile", "VMDK"),
    (b"vhdxfile", "VHDX"),
    (b"conectix", "VHD"),
    (b"<<< Oracle VM VirtualBox", "VDI"),
    (b"<<< QEMU VM Virtual Disk", "VDI"),
    (b"QED\0", "QED"),
    (b"LUKS\xba\xbe", "LUKS"),
];

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
    /// The plan says one format, the file another.
    #[error("`{path}` is declared as {}, but it is {}", name(*declared), name(*found))]
    Format {
        /// The path.
        path: String,
        /// What the plan says.
        declared: DiskFormat,
        /// What the file's signature says.
        found: DiskFormat,
    },
    /// A format that is no source.
    #[error("`{path}` is a {format} file")]
    Foreign {
        /// The path.
        path: String,
        /// The format.
        format: &'static str,
    },
    /// The disk has no bytes, or not whole sectors.
    #[error("`{path}` has {size} bytes, which is not a disk of whole sectors")]
    Size {
        /// The path.
        path: String,
        /// Its bytes.
        size: u64,
    },
    /// A qcow2 file that cannot be taken as it is.
    #[error("the qcow2 file `{path}` {why}")]
    Qcow2 {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: String,
        /// The way out.
        help: String,
    },
}

/// The format as people write it.
fn name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
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
            Self::NotADisk { .. } => "a source is a disk file (raw, qcow2) or a block device such as /dev/sdb".into(),
            Self::Read { .. } => "see the system's log for errors of the medium (`dmesg`)".into(),
            Self::Format { found, .. } => {
                format!("write `format: {}`, or leave `format` out and let the signature decide", name(*found))
            }
            Self::Foreign { path, .. } => {
                format!("convert it first: qemu-img convert -O qcow2 '{path}' disk.qcow2 (Debian package qemu-utils)")
            }
            Self::Size { .. } => "is the copy complete? A disk has a whole number of 512-byte sectors".into(),
            Self::Qcow2 { help, .. } => help.clone(),
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

    let mut start = [0; 64];
    let read_bytes = read_up_to(&file, &mut start).map_err(read)?;
    let start = &start[..read_bytes];
    let signed = start.starts_with(qcow2::SIGNATURE);
    let found = if signed { DiskFormat::Qcow2 } else { DiskFormat::Raw };
    if let Some((_, format)) = FOREIGN.iter().find(|(signature, _)| start.starts_with(signature))
        && declared != Some(DiskFormat::Raw)
    {
        return Err(ProbeError::Foreign { path: shown(), format });
    }
    if let Some(declared) = declared
        && declared != found
    {
        return Err(ProbeError::Format { path: shown(), declared, found });
    }

    let size = match found {
        DiskFormat::Raw => length,
        DiskFormat::Qcow2 => qcow2_size(&file, path)?,
    };
    if size == 0 || size % 512 != 0 {
        return Err(ProbeError::Size { path: shown(), size });
    }
    let boots = match found {
        DiskFormat::Raw => boot::firmware(&mut &file),
        // What the library cannot read is left to the inventory.
        DiskFormat::Qcow2 => {
            let again = file.try_clone().map_err(read)?;
            qcow2::Inside::open(again).ok().and_then(|mut inside| boot::firmware(&mut inside))
        }
    };
    Ok(DiskFacts {
        index,
        path: path.to_owned(),
        format: found,
        kind: if block { DiskKind::Block } else { DiskKind::File },
        size: ByteCount(size),
        allocated: ByteCount(if block { length } else { metadata.blocks() * 512 }),
        identity: device::identity_line(&metadata, length),
        boots,
    })
}

/// Opens it, telling apart why it cannot be; a pipe at the path does not make us wait.
fn open(path: &Utf8Path) -> Result<(File, Metadata), ProbeError> {
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new().read(true).custom_flags(no_wait).open(path);
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

/// As much of the beginning as there is.
fn read_up_to(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Bytes of the disk inside, if the file stands alone and is sound.
fn qcow2_size(file: &File, path: &Utf8Path) -> Result<u64, ProbeError> {
    let refuse = |why: String, help: String| ProbeError::Qcow2 { path: path.to_string(), why, help };
    let header = qcow2::Header::read(file).map_err(|error| {
        refuse(format!("has no readable header: {error}"), "the file is cut short; copy it again".into())
    })?;
    let flatten = format!("make one file of it: qemu-img convert -O qcow2 '{path}' flat.qcow2 (package qemu-utils)");
    match header {
        qcow2::Header { version, .. } if !(2..=3).contains(&version) => {
            Err(refuse(format!("is of version {version}; 2 and 3 are known"), flatten))
        }
        qcow2::Header { corrupt: true, .. } => {
            Err(refuse("is marked as damaged".into(), format!("on a copy of it: qemu-img check -r all '{path}'")))
        }
        qcow2::Header { encrypted: true, .. } => Err(refuse(
            "is encrypted".into(),
            "decrypt it first with `qemu-img convert --object secret,...`; the image store encrypts what it keeps"
                .into(),
        )),
        qcow2::Header { backing: Some(backing), .. } => {
            Err(refuse(format!("holds only what differs from its backing file `{backing}`"), flatten))
        }
        qcow2::Header { external_data: true, .. } => Err(refuse("keeps its data in another file".into(), flatten)),
        header => Ok(header.size),
    }
}
