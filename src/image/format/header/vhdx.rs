//! VHDX: region tables lead to the metadata, which has the disk's size. Numbers are little-endian.

use super::{HeaderFault, read};
use crate::image::used::ReadAt;
use crate::image::used::bytes::{le16, le32, le64};

/// How every VHDX file begins.
pub(in crate::image::format) const SIGNATURE: &[u8; 8] = b"vhdxfile";

const REGIONS: [u64; 2] = [192 << 10, 256 << 10];
const BAT: [u8; 16] = [0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08];
const SECTOR_SIZE: [u8; 16] =
    [0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f];
const METADATA: [u8; 16] =
    [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
const DISK_SIZE: [u8; 16] =
    [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
const PARAMETERS: [u8; 16] =
    [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b];
const HAS_PARENT: u32 = 1 << 1;

/// The largest disk that the format knows.
const MOST_BYTES: u64 = 64 << 40;

/// What the metadata says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::image::format) struct Metadata {
    /// Bytes of the disk inside.
    pub(in crate::image::format) size: u64,
    block: u64,
    sector: u64,
}

/// Reads the metadata.
pub(in crate::image::format) fn metadata(file: &dyn ReadAt) -> Result<Metadata, HeaderFault> {
    let metadata = REGIONS.into_iter().find_map(|at| region(file, at, &METADATA)).map(|(at, _)| at);
    let metadata = metadata.ok_or_else(|| HeaderFault::broken("has no region table that leads to its metadata"))?;
    let head = read(file, metadata, 32, "metadata")?;
    if !head.starts_with(b"metadata") {
        return Err(HeaderFault::broken("has no metadata where its region table says"));
    }
    let count = usize::from(le16(&head, 10).unwrap_or(0)).min(2047);
    let table = read(file, metadata + 32, count * 32, "metadata table")?;
    let item = |id: &[u8; 16], len: usize| {
        let entry = table.chunks_exact(32).find(|entry| entry[..16] == *id)?;
        let at = metadata.checked_add(le32(entry, 16)?.into())?;
        file.read_vec(at, len).ok()
    };
    let parameters = item(&PARAMETERS, 8).unwrap_or_default();
    let block = u64::from(le32(&parameters, 0).unwrap_or(0));
    if !block.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block) {
        return Err(HeaderFault::broken(format!("has blocks of {block} bytes; 1 to 256 MiB are known")));
    }
    if le32(&parameters, 4).is_some_and(|flags| flags & HAS_PARENT != 0) {
        return Err(HeaderFault::unknown(
            "holds only what differs from its parent",
            "merge it into its parent first, with the hypervisor that made it (`Merge-VHD`)",
        ));
    }
    let sector = item(&SECTOR_SIZE, 4).and_then(|bytes| le32(&bytes, 0)).unwrap_or(0);
    if sector != 512 && sector != 4096 {
        return Err(HeaderFault::broken(format!("has sectors of {sector} bytes; 512 and 4096 are known")));
    }
    match item(&DISK_SIZE, 8).and_then(|bytes| le64(&bytes, 0)) {
        Some(size) if size <= MOST_BYTES => Ok(Metadata { size, block, sector: sector.into() }),
        Some(size) => Err(HeaderFault::broken(format!("has a disk of {size} bytes; 64 TiB is the most"))),
        None => Err(HeaderFault::broken("does not say how large its disk is")),
    }
}

/// What is allocated, as runs of length and whether they read as zeros: QEMU's driver does not tell. Only to be believed
/// of a file whose log is empty, which QEMU checks when it opens one.
pub(in crate::image::format) fn allocation(file: &dyn ReadAt) -> Option<Vec<(u64, bool)>> {
    let Metadata { size, block, sector } = metadata(file).ok()?;
    let (at, len) = REGIONS.into_iter().find_map(|at| region(file, at, &BAT))?;
    // After so many blocks comes an entry for their bitmap, which only disks with a parent use.
    let ratio = (sector << 23) / block;
    let blocks = size.div_ceil(block);
    let entries = blocks + blocks.saturating_sub(1) / ratio;
    if entries * 8 > len.into() {
        return None;
    }
    let table = file.read_vec(at, entries as usize * 8).ok()?;
    let mut runs: Vec<(u64, bool)> = Vec::new();
    for number in 0..blocks {
        let state = le64(&table, (number + number / ratio) as usize * 8)? & 7;
        // Not there, undefined, zero, unmapped.
        let zero = state <= 3;
        let len = block.min(size - number * block);
        match runs.last_mut() {
            Some((before, same)) if *same == zero => *before += len,
            _ => runs.push((len, zero)),
        }
    }
    Some(runs)
}

/// Where a region lies and how long it is, by the region table at `at`.
fn region(file: &dyn ReadAt, at: u64, id: &[u8; 16]) -> Option<(u64, u32)> {
    let table = file.read_vec(at, 16 + 32 * 2047).ok()?;
    if !table.starts_with(b"regi") {
        return None;
    }
    let count = (le32(&table, 8)? as usize).min(2047);
    let entry = table[16..].chunks_exact(32).take(count).find(|entry| entry[..16] == *id)?;
    Some((le64(entry, 16)?, le32(entry, 24)?))
}
