//! The first look at a disk: which format it has, how large it is, and which files it is made of. Headers only.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::header::{HeaderFault, ova, qcow2, vhd, vhdx, vmdk};
use super::served::Window;
use crate::device;
use crate::hardware::DiskFormat;
use crate::image::error::ImageError;
use crate::image::used::ReadAt;

/// Signatures of formats that are no sources, with their names.
const FOREIGN: &[(&[u8], &str)] = &[
    (b"<<< Oracle VM VirtualBox", "VDI"),
    (b"<<< QEMU VM Virtual Disk", "VDI"),
    (b"QED\0", "QED"),
    (b"LUKS\xba\xbe", "LUKS"),
];

/// Files of one chain; more is a circle or a mistake.
const MOST_FILES: usize = 256;

/// What a disk is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskFiles {
    /// Its format.
    pub format: DiskFormat,
    /// Bytes of the disk inside.
    pub size: u64,
    /// The files that hold it; the one that was named comes first. Of an appliance, its archive.
    pub files: Vec<PathBuf>,
    /// The part of the first file that is looked at; `None` is all of it.
    pub(super) window: Option<Window>,
    /// Whether the disk's bytes lie in that part as they are.
    pub(super) plain: bool,
}

/// Why a file cannot be taken for a disk.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// A file cannot be read.
    #[error("looking at `{path}` failed: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: io::Error,
    },
    /// One format was declared, the file has another.
    #[error("`{path}` is declared as {declared}, but it is {found}", path = path.display())]
    Declared {
        /// The file.
        path: PathBuf,
        /// What was said.
        declared: DiskFormat,
        /// What the file's signature says.
        found: DiskFormat,
    },
    /// A format that is no source.
    #[error("`{path}` is a {format} file", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
    },
    /// The file's header is damaged, or says something that cannot be done.
    #[error("the {format} file `{path}` {why}", path = path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: DiskFormat,
        /// The end of the sentence.
        why: String,
        /// The way out.
        help: String,
    },
}

impl FormatError {
    /// The way out.
    pub fn help(&self) -> String {
        match self {
            Self::Read { .. } => "see the system's log for errors of the medium (`dmesg`)".into(),
            Self::Declared { found, .. } => {
                format!("write `format: {found}`, or leave `format` out and let the signature decide")
            }
            Self::Foreign { path, .. } => format!(
                "convert it first: qemu-img convert -O qcow2 '{}' disk.qcow2 (Debian package qemu-utils)",
                path.display()
            ),
            Self::Header { help, .. } => help.clone(),
        }
    }

    fn header(path: &Path, format: DiskFormat) -> impl FnOnce(HeaderFault) -> Self {
        move |fault| Self::Header { path: path.to_owned(), format, why: fault.why, help: fault.help }
    }
}

impl From<FormatError> for ImageError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Read { path, error } => Self::File { doing: "opening", path, error },
            other => Self::Refused { what: format!("{other}; {}", other.help()) },
        }
    }
}

/// A file or a part of it.
struct Part<'f> {
    file: &'f File,
    window: Window,
}

impl ReadAt for Part<'_> {
    fn size(&self) -> u64 {
        self.window.len
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match offset.checked_add(buffer.len() as u64).is_some_and(|end| end <= self.window.len) {
            true => self.file.read_exact_at(buffer, self.window.offset + offset),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What the signatures say.
fn detect(file: &dyn ReadAt) -> Result<DiskFormat, &'static str> {
    let mut start = vec![0; file.size().min(512) as usize];
    if file.read_exact_at(&mut start, 0).is_err() {
        return Ok(DiskFormat::Raw);
    }
    let tar = start.get(257..262) == Some(b"ustar");
    let first = start.iter().take(100).position(|byte| *byte == 0).unwrap_or(start.len().min(100));
    Ok(match &start {
        start if start.starts_with(qcow2::SIGNATURE) => DiskFormat::Qcow2,
        start if start.starts_with(vmdk::SIGNATURE) || start.starts_with(vmdk::DESCRIPTOR) => DiskFormat::Vmdk,
        start if start.starts_with(vhdx::SIGNATURE) => DiskFormat::Vhdx,
        start if tar && start[..first].to_ascii_lowercase().ends_with(b".ovf") => DiskFormat::Ova,
        _ if vhd::is_signed(file) => DiskFormat::Vhd,
        start => match FOREIGN.iter().find(|(signature, _)| start.starts_with(signature)) {
            Some((_, name)) => return Err(name),
            None => DiskFormat::Raw,
        },
    })
}

/// Looks at a disk, opened for reading only. `declared` is what the format is said to be; without it the signature
/// decides.
pub fn look(path: &Path, declared: Option<DiskFormat>) -> Result<DiskFiles, FormatError> {
    let mut seen = Vec::new();
    look_below(path, declared, &mut seen)
}

fn look_below(path: &Path, declared: Option<DiskFormat>, seen: &mut Vec<(u64, u64)>) -> Result<DiskFiles, FormatError> {
    let (archive, member) = ova::split(path);
    let read = |error| FormatError::Read { path: archive.clone(), error };
    let file = device::open_read_only(&archive).map_err(read)?;
    let meta = file.metadata().map_err(read)?;
    let size = device::size(&file).map_err(read)?;
    let whole = Part { file: &file, window: Window { offset: 0, len: size } };
    let found = match detect(&whole) {
        Ok(found) => found,
        // A disk that is encrypted as a whole is raw to us, if that is what is wanted.
        Err(_) if declared == Some(DiskFormat::Raw) => DiskFormat::Raw,
        Err(format) => return Err(FormatError::Foreign { path: archive, format }),
    };
    if let Some(declared) = declared.filter(|declared| *declared != found) {
        return Err(FormatError::Declared { path: archive, declared, found });
    }
    let fault = |fault| FormatError::header(&archive, found)(fault);
    let here = (meta.dev(), meta.ino());
    if seen.contains(&here) || seen.len() >= MOST_FILES {
        return Err(fault(HeaderFault {
            why: "comes twice among the files of one disk, or the chain of files has no end".into(),
            help: "look at the chain: qemu-img info --backing-chain FILE (Debian package qemu-utils)".into(),
        }));
    }
    seen.push(here);

    let mut disk =
        DiskFiles { format: found, size, files: vec![archive.clone()], window: None, plain: found == DiskFormat::Raw };
    match found {
        DiskFormat::Raw => {}
        DiskFormat::Qcow2 => {
            let header = qcow2::header(&whole).map_err(fault)?;
            disk.size = header.size;
            if let Some((backing, format)) = header.backing {
                disk.files.extend(look_below(&beside(&archive, &backing), Some(format), seen)?.files);
            }
        }
        DiskFormat::Vmdk => {
            let header = vmdk::header(&whole).map_err(fault)?;
            disk.size = header.size;
            for name in &header.files {
                let path = beside(&archive, name);
                std::fs::metadata(&path).map_err(|error| FormatError::Read { path: path.clone(), error })?;
                disk.files.push(path);
            }
            if let Some(parent) = header.parent {
                let below = look_below(&beside(&archive, &parent), Some(DiskFormat::Vmdk), seen)?;
                disk.files.extend(below.files);
            }
        }
        DiskFormat::Ova => {
            let window = chosen(&file, member.as_deref()).map_err(fault)?;
            disk.window = Some(window);
            let part = Part { file: &file, window };
            let inner = vmdk::header(&part).map_err(|inner| {
                fault(HeaderFault { why: format!("holds a disk that {}", inner.why), help: inner.help })
            })?;
            if let Some(other) = inner.files.first().or(inner.parent.as_ref()) {
                return Err(fault(HeaderFault {
                    why: format!("holds a disk that needs another file, `{other}`"),
                    help: "unpack the archive with `tar` and name the disk as the source".into(),
                }));
            }
            disk.size = inner.size;
        }
        DiskFormat::Vhd => {
            let footer = vhd::footer(&whole).map_err(fault)?;
            (disk.size, disk.plain) = (footer.size, footer.kind == vhd::Kind::Fixed);
        }
        DiskFormat::Vhdx => disk.size = vhdx::metadata(&whole).map_err(fault)?.size,
    }
    Ok(disk)
}

/// What is allocated, where QEMU does not tell: runs of length and whether they read as zeros.
pub(super) fn allocation(path: &Path, format: DiskFormat) -> Option<Vec<(u64, bool)>> {
    if format != DiskFormat::Vhdx {
        return None;
    }
    let file = device::open_read_only(path).ok()?;
    let len = device::size(&file).ok()?;
    vhdx::allocation(&Part { file: &file, window: Window { offset: 0, len } })
}

/// Reads any bytes as the header of a format.
pub(in crate::image) fn fuzz_header(format: &str, file: &dyn ReadAt) {
    match format {
        "qcow2" => drop(qcow2::header(file)),
        "vmdk" => drop(vmdk::header(file)),
        "vhd" => drop((vhd::is_signed(file), vhd::footer(file))),
        _ => {
            let size = vhdx::metadata(file).ok().map(|found| found.size);
            if let (Some(size), Some(runs)) = (size, vhdx::allocation(file)) {
                assert_eq!(runs.iter().map(|run| run.0).sum::<u64>(), size, "runs that do not make the disk");
            }
        }
    }
    let _ = detect(file);
}

/// Reads any bytes as an appliance's archive.
pub(in crate::image) fn fuzz_archive(bytes: io::Cursor<&[u8]>) {
    let _ = ova::members(bytes);
}

/// The disk of an appliance that is meant.
fn chosen(archive: &File, name: Option<&str>) -> Result<Window, HeaderFault> {
    let members = ova::members(io::BufReader::new(archive))?;
    let list = || members.iter().map(|member| format!("`{}`", member.name)).collect::<Vec<_>>().join(", ");
    let found = match (name, &members[..]) {
        (None, [only]) => only,
        (None, _) => {
            return Err(HeaderFault {
                why: format!("holds {} disks", members.len()),
                help: format!("name one as if the archive were a folder, `path: ARCHIVE/DISK`: {}", list()),
            });
        }
        (Some(name), _) => members.iter().find(|member| member.name == name).ok_or_else(|| HeaderFault {
            why: format!("holds no disk `{name}`"),
            help: format!("its disks are {}", list()),
        })?,
    };
    Ok(Window { offset: found.offset, len: found.len })
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

/// One line that changes when the disk's content or layout may have changed; of a disk of several files it covers all
/// of them.
pub fn source_identity(path: &Path, format: DiskFormat) -> io::Result<String> {
    let (archive, _) = ova::split(path);
    let line = device::identity(&archive)?;
    let single = matches!(format, DiskFormat::Raw | DiskFormat::Ova | DiskFormat::Vhd | DiskFormat::Vhdx);
    if single || std::fs::metadata(&archive)?.file_type().is_block_device() {
        return Ok(line);
    }
    let files = look(path, Some(format)).map_err(|error| io::Error::other(format!("{error}; {}", error.help())))?.files;
    if files.len() == 1 {
        return Ok(line);
    }
    let mut others = blake3::Hasher::new();
    for file in &files[1..] {
        others.update(device::identity(file)?.as_bytes());
        others.update(b"\n");
    }
    Ok(format!("{line} others={}", &others.finalize().to_hex()[..16]))
}
