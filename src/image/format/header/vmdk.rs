//! VMDK: a sparse file with its descriptor inside, or a descriptor that names the files of the disk. Numbers are
//! little-endian.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{HeaderFault, read};
use crate::image::used::ReadAt;
use crate::image::used::bytes::{le32, le64};

/// How a sparse file begins.
pub(in crate::image::format) const SIGNATURE: &[u8; 4] = b"KDMV";
/// How a descriptor file begins.
pub(in crate::image::format) const DESCRIPTOR: &[u8] = b"# Disk DescriptorFile";
/// A descriptor is a page of text; more is none.
const MOST_TEXT: u64 = 1 << 20;
const SECTOR: u64 = 512;

/// What a usable header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::image::format) struct Header {
    /// Bytes of the disk inside.
    pub(in crate::image::format) size: u64,
    /// Files that the descriptor names, relative to its own folder.
    pub(in crate::image::format) files: Vec<String>,
    /// The disk that holds what this one does not.
    pub(in crate::image::format) parent: Option<String>,
}

/// Reads the header.
pub(in crate::image::format) fn header(file: &dyn ReadAt) -> Result<Header, HeaderFault> {
    let start = read(file, 0, file.size().min(512) as usize, "header")?;
    if !start.starts_with(SIGNATURE) {
        let len = file.size().min(MOST_TEXT) as usize;
        return descriptor(&read(file, 0, len, "descriptor")?);
    }
    let long = |at: usize| le64(&start, at).unwrap_or(0);
    let version = le32(&start, 4).unwrap_or(0);
    if !(1..=3).contains(&version) {
        return Err(HeaderFault::broken(format!("is of version {version}; 1 to 3 are known")));
    }
    let (capacity, at, len) = (long(12), long(28), long(36));
    let size = capacity.checked_mul(SECTOR).ok_or_else(|| HeaderFault::broken("has a size beyond all measure"))?;
    let part = || {
        HeaderFault::unknown(
            "is one part of a disk that is split into several files",
            "name the descriptor instead: the small text file beside it, without `-s001` in its name",
        )
    };
    if at == 0 || len == 0 {
        return Err(part());
    }
    let (Some(at), Some(len)) = (at.checked_mul(SECTOR), len.checked_mul(SECTOR).filter(|len| *len <= MOST_TEXT))
    else {
        return Err(HeaderFault::broken("has a descriptor beyond all measure"));
    };
    // The descriptor inside names the file itself, by whatever name it once had.
    let text = read(file, at, len as usize, "descriptor")?;
    if text.iter().all(|byte| *byte == 0) {
        return Err(part());
    }
    let Header { parent, .. } = descriptor(&text)?;
    Ok(Header { size, files: Vec::new(), parent })
}

/// Reads a descriptor: lines of `ACCESS SECTORS KIND "FILE" [OFFSET]`, and keys with values.
fn descriptor(text: &[u8]) -> Result<Header, HeaderFault> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let text = String::from_utf8_lossy(&text[..end]);
    let (mut header, mut sectors, mut extents) = (Header::default(), 0u64, 0);
    for line in text.lines().map(str::trim) {
        let value = |key: &str| line.strip_prefix(key).map(|value| value.trim().trim_matches('"').to_owned());
        if let Some(parent) = value("parentFileNameHint=") {
            header.parent = Some(plain(parent)?);
        }
        let Some(rest) = ["RW ", "RDONLY ", "NOACCESS "].iter().find_map(|access| line.strip_prefix(access)) else {
            continue;
        };
        let mut words = rest.splitn(3, ' ');
        let count = words.next().and_then(|count| count.parse::<u64>().ok());
        let sum = count.and_then(|count| sectors.checked_add(count));
        let Some(sum) = sum else {
            return Err(HeaderFault::broken(format!("has an extent of no size in its descriptor: `{line}`")));
        };
        (sectors, extents) = (sum, extents + 1);
        let (kind, file) = (words.next().unwrap_or_default(), words.next().and_then(|name| name.split('"').nth(1)));
        match (kind, file) {
            ("ZERO", _) => {}
            ("SPARSE" | "FLAT" | "VMFS" | "VMFSSPARSE" | "SESPARSE", Some(name)) => {
                header.files.push(plain(name.into())?)
            }
            _ => return Err(HeaderFault::broken(format!("has an extent that is not understood: `{line}`"))),
        }
    }
    if extents == 0 {
        return Err(HeaderFault::broken("has a descriptor without extents"));
    }
    header.size = sectors.checked_mul(SECTOR).ok_or_else(|| HeaderFault::broken("has a size beyond all measure"))?;
    Ok(header)
}

/// Writes a smaller size into a sparse file whose grains go on behind it: into its header and its descriptor.
pub(in crate::image::format) fn shrink(path: &Path, size: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut start = [0; 512];
    file.read_exact_at(&mut start, 0)?;
    let sectors = |at: usize| le64(&start, at).unwrap_or(0);
    let (old, new) = (sectors(12), size / SECTOR);
    if old == new {
        return Ok(());
    }
    let mut text = vec![0; (sectors(36) * SECTOR).min(MOST_TEXT) as usize];
    file.read_exact_at(&mut text, sectors(28) * SECTOR)?;
    let words = String::from_utf8_lossy(&text).replacen(&format!("RW {old} SPARSE"), &format!("RW {new} SPARSE"), 1);
    let mut words = words.into_bytes();
    words.resize(text.len(), 0);
    file.write_all_at(&words, sectors(28) * SECTOR)?;
    file.write_all_at(&new.to_le_bytes(), 12)?;
    file.sync_all()
}

/// A path; a descriptor can also name what must never be followed.
fn plain(name: String) -> Result<String, HeaderFault> {
    match name.is_empty() || name.split('/').next().is_some_and(|first| first.contains(':')) {
        true => Err(HeaderFault::unknown(
            format!("names `{name}`, which is no plain path"),
            "make one file of it: qemu-img convert -O qcow2 OLD NEW (Debian package qemu-utils)",
        )),
        false => Ok(name),
    }
}
