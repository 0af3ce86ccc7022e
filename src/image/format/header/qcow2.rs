//! qcow2: the header, which says what the file needs besides itself. Numbers are big-endian.

use super::{HeaderFault, read};
use crate::hardware::DiskFormat;
use crate::image::used::ReadAt;
use crate::image::used::bytes::{be32, be64};

/// How every qcow2 file begins.
pub(in crate::image::format) const SIGNATURE: &[u8; 4] = b"QFI\xfb";

const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;
/// The header extension that names the backing file's format.
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// What a usable header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::image::format) struct Header {
    /// Bytes of the disk inside.
    pub(in crate::image::format) size: u64,
    /// The file that holds what this one does not, and its format.
    pub(in crate::image::format) backing: Option<(String, DiskFormat)>,
}

const FLATTEN: &str = "make one file of it: qemu-img convert -O qcow2 OLD flat.qcow2 (Debian package qemu-utils)";

/// Reads the header.
pub(in crate::image::format) fn header(file: &dyn ReadAt) -> Result<Header, HeaderFault> {
    let start = file.read_vec(0, 72).map_err(|error| {
        HeaderFault::unknown(
            format!("has no readable header: {error}"),
            "the file is cut short; copy it again from where it came",
        )
    })?;
    let word = |at: usize| be32(&start, at).unwrap_or(0);
    let long = |at: usize| be64(&start, at).unwrap_or(0);
    let version = word(4);
    if !(2..=3).contains(&version) {
        return Err(HeaderFault::unknown(format!("is of version {version}; 2 and 3 are known"), FLATTEN));
    }
    let (features, length) = match version {
        3 => {
            let more = read(file, 72, 32, "header")?;
            (be64(&more, 0).unwrap_or(0), be32(&more, 28).unwrap_or(0))
        }
        _ => (0, 72),
    };
    if features & CORRUPT != 0 {
        return Err(HeaderFault::unknown("is marked as damaged", "on a copy of it: qemu-img check -r all COPY"));
    }
    if word(32) != 0 {
        return Err(HeaderFault::unknown(
            "is encrypted",
            "decrypt it first with `qemu-img convert --object secret,...`; the image store encrypts what it keeps",
        ));
    }
    if features & EXTERNAL_DATA != 0 {
        return Err(HeaderFault::unknown("keeps its data in another file", FLATTEN));
    }
    if !(9..=21).contains(&word(20)) {
        return Err(HeaderFault::broken(format!("has clusters of 2^{} bytes, which no qcow2 has", word(20))));
    }
    let backing = match (long(8), word(16)) {
        (0, _) => None,
        (_, length) if length > 1023 => {
            return Err(HeaderFault::broken(format!("has a backing file's name of {length} bytes; 1023 is the most")));
        }
        (at, name) => {
            let name = read(file, at, name as usize, "backing file's name")?;
            Some((backing_name(name)?, backing_format(file, length.into(), at)?))
        }
    };
    Ok(Header { size: long(24), backing })
}

fn backing_name(name: Vec<u8>) -> Result<String, HeaderFault> {
    let name =
        String::from_utf8(name).map_err(|_| HeaderFault::broken("has a backing file's name that is not UTF-8"))?;
    // QEMU would follow `json:{...}`, `nbd://...`; a disk's content is never fetched from where the disk says.
    let scheme = name.split('/').next().is_some_and(|first| first.contains(':'));
    match name.is_empty() || scheme {
        true => Err(HeaderFault::unknown(format!("has the backing file `{name}`, which is no plain path"), FLATTEN)),
        false => Ok(name),
    }
}

/// The format that the header names for the backing file. Guessing it would let a guest choose which of the host's
/// files is read.
fn backing_format(file: &dyn ReadAt, mut at: u64, end: u64) -> Result<DiskFormat, HeaderFault> {
    while at.saturating_add(8) <= end {
        let head = read(file, at, 8, "header extensions")?;
        let (kind, len) = (be32(&head, 0).unwrap_or(0), be32(&head, 4).unwrap_or(0));
        match kind {
            0 => break,
            BACKING_FORMAT if len <= 64 => {
                let name = read(file, at + 8, len as usize, "header extensions")?;
                let name = String::from_utf8_lossy(&name).into_owned();
                let known = if name == "vpc" { Some(DiskFormat::Vhd) } else { DiskFormat::parse(&name) };
                return known.filter(|format| *format != DiskFormat::Ova).ok_or_else(|| {
                    HeaderFault::unknown(
                        format!("has a backing file of the format `{name}`, which is not read"),
                        FLATTEN,
                    )
                });
            }
            _ => at = at.saturating_add(8).saturating_add(u64::from(len).next_multiple_of(8)),
        }
    }
    Err(HeaderFault::unknown("does not say which format its backing file has", FLATTEN))
}
