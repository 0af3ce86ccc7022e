//! VHD: a footer in the last sector; dynamic disks have a copy of it in the first. Numbers are big-endian.

use super::{HeaderFault, read};
use crate::image::used::ReadAt;
use crate::image::used::bytes::{be32, be64};

/// How a footer begins.
pub(in crate::image::format) const SIGNATURE: &[u8; 8] = b"conectix";
/// Bytes of a footer.
pub(in crate::image::format) const FOOTER: u64 = 512;

/// How the disk's bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image::format) enum Kind {
    /// As they are, before the footer.
    Fixed,
    /// In blocks, with a table.
    Dynamic,
}

/// What a usable footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image::format) struct Footer {
    /// Bytes of the disk.
    pub(in crate::image::format) size: u64,
    /// How they lie.
    pub(in crate::image::format) kind: Kind,
}

/// Whether the file ends or begins with a footer.
pub(in crate::image::format) fn is_signed(file: &dyn ReadAt) -> bool {
    let at = |offset: u64| file.read_vec(offset, 8).is_ok_and(|bytes| bytes == SIGNATURE);
    at(0) || file.size().checked_sub(FOOTER).is_some_and(at)
}

/// Reads the footer.
pub(in crate::image::format) fn footer(file: &dyn ReadAt) -> Result<Footer, HeaderFault> {
    let end = file.size().checked_sub(FOOTER).ok_or_else(|| HeaderFault::broken("is shorter than a footer"))?;
    let footer = read(file, end, FOOTER as usize, "footer")?;
    if !footer.starts_with(SIGNATURE) {
        return Err(HeaderFault::broken("has no footer in its last sector"));
    }
    let sum: u32 = (0..footer.len()).filter(|at| !(64..68).contains(at)).map(|at| u32::from(footer[at])).sum();
    if be32(&footer, 64) != Some(!sum) {
        return Err(HeaderFault::broken("has a footer whose checksum does not fit"));
    }
    let size = be64(&footer, 48).unwrap_or(0);
    match be32(&footer, 60) {
        Some(2) if size > end => {
            Err(HeaderFault::broken(format!("is a fixed disk of {size} bytes, but holds only {end} before its footer")))
        }
        Some(2) => Ok(Footer { size, kind: Kind::Fixed }),
        Some(3) => Ok(Footer { size, kind: Kind::Dynamic }),
        Some(4) => Err(HeaderFault::unknown(
            "holds only what differs from its parent",
            "merge it into its parent first, with the hypervisor that made it (`Merge-VHD`, `vhd-util coalesce`)",
        )),
        kind => Err(HeaderFault::broken(format!("is of kind {}, which is not known", kind.unwrap_or(0)))),
    }
}
