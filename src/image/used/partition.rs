//! Partition tables: MBR with logical partitions (extended boot records) and GPT.
//!
//! Sources: the MBR layout as the UEFI specification 2.10 section 5.2 has it, GPT section 5.3; extended boot records
//! as every BIOS-era system writes them. Sector size 512 bytes; GPT also with 4096.

use std::io;
use std::ops::Range;

use super::bytes::{ReadAt, le32, le64};

/// What divides a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// No partition table was found.
    None,
    /// A table, with every partition's bytes, and bytes of tables that lie between partitions.
    Partitions {
        /// Where partitions lie, sorted.
        partitions: Vec<Range<u64>>,
        /// Where extended boot records lie.
        tables: Vec<Range<u64>>,
    },
    /// A table that cannot be trusted.
    Damaged(&'static str),
}

const SECTOR: u64 = 512;
/// More logical partitions than this is a loop, not a disk.
const LOGICAL_MAX: usize = 256;

/// Reads the disk's partition table.
pub(super) fn read(disk: &dyn ReadAt) -> io::Result<Table> {
    if disk.size() < 2 * SECTOR {
        return Ok(Table::None);
    }
    for sector in [SECTOR, 4096] {
        if disk.size() > sector * 2 && disk.read_vec(sector, 8)? == b"EFI PART" {
            return gpt(disk, sector);
        }
    }
    let mbr = disk.read_vec(0, 512)?;
    if mbr[510..] != [0x55, 0xaa] {
        return Ok(Table::None);
    }
    mbr_partitions(disk, &mbr)
}

fn gpt(disk: &dyn ReadAt, sector: u64) -> io::Result<Table> {
    let header = disk.read_vec(sector, 92)?;
    let (Some(first), Some(count), Some(size)) = (le64(&header, 72), le32(&header, 80), le32(&header, 84)) else {
        return Ok(Table::Damaged("the GPT header is cut off"));
    };
    if count > 1024 || !(128..=4096).contains(&size) {
        return Ok(Table::Damaged("the GPT header names an impossible table"));
    }
    let Some(at) = first.checked_mul(sector).filter(|at| *at < disk.size()) else {
        return Ok(Table::Damaged("the GPT lies outside the disk"));
    };
    let entries = disk.read_vec(at, count as usize * size as usize)?;
    let mut partitions = Vec::new();
    for entry in entries.chunks_exact(size as usize).filter(|entry| entry[..16] != [0; 16]) {
        let (Some(first), Some(last)) = (le64(entry, 32), le64(entry, 40)) else { continue };
        let range = first.checked_mul(sector).zip(last.checked_add(1).and_then(|end| end.checked_mul(sector)));
        match range {
            Some((start, end)) if start < end && end <= disk.size() => partitions.push(start..end),
            _ => return Ok(Table::Damaged("a GPT partition lies outside the disk")),
        }
    }
    Ok(checked(partitions, Vec::new()))
}

fn mbr_partitions(disk: &dyn ReadAt, mbr: &[u8]) -> io::Result<Table> {
    let (mut partitions, mut tables) = (Vec::new(), Vec::new());
    let mut extended = None;
    for entry in mbr[446..510].chunks_exact(16) {
        if entry[0] & 0x7f != 0 {
            return Ok(Table::None); // not a partition table but boot code of a file system
        }
        let Some(range) = entry_range(entry, 0) else { continue };
        if range.end > disk.size() {
            return Ok(Table::Damaged("an MBR partition lies outside the disk"));
        }
        match entry[4] {
            0 => {}
            0x05 | 0x0f | 0x85 => extended = Some(range),
            _ => partitions.push(range),
        }
    }
    if let Some(extended) = extended {
        let mut at = extended.start;
        loop {
            if tables.len() > LOGICAL_MAX || at + SECTOR > disk.size() {
                return Ok(Table::Damaged("the chain of logical partitions does not end"));
            }
            let record = disk.read_vec(at, 512)?;
            if record[510..] != [0x55, 0xaa] {
                return Ok(Table::Damaged("an extended boot record has no signature"));
            }
            // The record's whole track may hold boot code; the gap before the partition is read as a gap.
            tables.push(at..at + SECTOR);
            if let Some(range) = entry_range(&record[446..462], at).filter(|_| record[450] != 0) {
                if range.end > disk.size() {
                    return Ok(Table::Damaged("a logical partition lies outside the disk"));
                }
                partitions.push(range);
            }
            match entry_range(&record[462..478], extended.start).filter(|_| record[466] != 0) {
                Some(next) => at = next.start,
                None => break,
            }
        }
    }
    if partitions.is_empty() && tables.is_empty() {
        return Ok(Table::None);
    }
    Ok(checked(partitions, tables))
}

/// The bytes of a 16-byte MBR entry whose sectors count from `base`; `None` for an empty one.
fn entry_range(entry: &[u8], base: u64) -> Option<Range<u64>> {
    let (first, count) = (u64::from(le32(entry, 8)?), u64::from(le32(entry, 12)?));
    (count > 0).then(|| base + first * SECTOR..base + (first + count) * SECTOR)
}

fn checked(mut partitions: Vec<Range<u64>>, tables: Vec<Range<u64>>) -> Table {
    partitions.sort_by_key(|range| range.start);
    if partitions.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Table::Damaged("partitions overlap");
    }
    Table::Partitions { partitions, tables }
}
