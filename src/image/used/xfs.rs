//! XFS: the free-space B+tree of every allocation group, once the log has proved that it was unmounted.
//!
//! Source: "XFS Algorithms & Data Structures", 3rd edition: superblock, AG free space management, journaling log.

use std::io;
use std::ops::Range;

use super::bytes::{ReadAt, be16, be32, be64};
use super::map::FileSystem;
use super::ranges::Ranges;

const LOG_RECORD_MAGIC: u32 = 0xfeed_babe;
const UNMOUNT_OPERATION: u8 = 0x20;
/// A longer log is not searched; the file system is then used whole.
const LOG_SEARCH_MAX: u64 = 512 << 20;
const BASIC_BLOCK: usize = 512;

struct Layout {
    block: u64,
    blocks: u64,
    ag_blocks: u64,
    ag_count: u64,
    ag_log: u32,
    sector: u64,
    version5: bool,
    log_start: u64,
    log_blocks: u64,
}

/// Reads the map if the volume is a cleanly unmounted XFS; `None` if it is no XFS.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < 4096 {
        return Ok(None);
    }
    let sb = volume.read_vec(0, 512)?;
    if sb[..4] != *b"XFSB" {
        return Ok(None);
    }
    let whole = |why| Ok(Some(FileSystem::Whole { name: "xfs", why }));
    let Some(fs) = layout(&sb) else { return whole("its superblock is damaged") };
    if fs.blocks.checked_mul(fs.block).is_none_or(|end| end > volume.size()) {
        return whole("it is larger than its partition");
    }
    if !unmounted(volume, &fs)? {
        return whole("it is mounted, was not unmounted cleanly, or keeps its log elsewhere");
    }
    match free_space(volume, &fs)? {
        Some(free) => {
            let used = Ranges::from_unsorted(free).complement(0..volume.size());
            Ok(Some(FileSystem::Mapped { name: "xfs", used }))
        }
        None => whole("its free-space tree is damaged"),
    }
}

fn layout(sb: &[u8]) -> Option<Layout> {
    let fs = Layout {
        block: u64::from(be32(sb, 4)?),
        blocks: be64(sb, 8)?,
        ag_blocks: u64::from(be32(sb, 84)?),
        ag_count: u64::from(be32(sb, 88)?),
        ag_log: u32::from(sb[124]),
        sector: u64::from(be16(sb, 102)?),
        version5: be16(sb, 100)? & 0xf == 5,
        log_start: be64(sb, 48)?,
        log_blocks: u64::from(be32(sb, 96)?),
    };
    let sane = (512..=65536).contains(&fs.block)
        && fs.block.is_power_of_two()
        && (512..=32768).contains(&fs.sector)
        && fs.ag_blocks > 0
        && fs.ag_log < 32
        && fs.ag_count == fs.blocks.div_ceil(fs.ag_blocks)
        && sb[126] == 0; // mkfs or growfs had finished
    sane.then_some(fs)
}

/// Whether the record with the highest sequence number in the log is an unmount record.
fn unmounted(volume: &dyn ReadAt, fs: &Layout) -> io::Result<bool> {
    let length = fs.log_blocks * fs.block;
    if fs.log_start == 0 || length == 0 || length > LOG_SEARCH_MAX {
        return Ok(false);
    }
    let (group, within) = (fs.log_start >> fs.ag_log, fs.log_start & ((1 << fs.ag_log) - 1));
    let at = group.checked_mul(fs.ag_blocks).and_then(|blocks| blocks.checked_add(within)?.checked_mul(fs.block));
    let Some(at) = at.filter(|at| at.checked_add(length).is_some_and(|end| end <= volume.size())) else {
        return Ok(false);
    };
    let mut newest: Option<(u64, Vec<u8>, u64)> = None;
    const WINDOW: u64 = 4 << 20;
    let mut offset = 0;
    while offset < length {
        let window = volume.read_vec(at + offset, WINDOW.min(length - offset) as usize)?;
        for (i, header) in window.chunks_exact(BASIC_BLOCK).enumerate() {
            if be32(header, 0) != Some(LOG_RECORD_MAGIC) {
                continue;
            }
            let sequence = be64(header, 16).unwrap_or(0);
            if newest.as_ref().is_none_or(|(highest, ..)| sequence > *highest) {
                newest = Some((sequence, header.to_vec(), offset + (i * BASIC_BLOCK) as u64));
            }
        }
        offset += window.len() as u64;
    }
    let Some((_, header, position)) = newest else { return Ok(false) };
    let header_blocks = match (be32(&header, 8), be32(&header, 320)) {
        (Some(2), Some(size)) if size > 32768 => u64::from(size).div_ceil(32768),
        _ => 1,
    };
    let body_at = (position + header_blocks * BASIC_BLOCK as u64) % length;
    let body = volume.read_vec(at + body_at, BASIC_BLOCK)?;
    // A block of a record begins with the record's cycle number; another one there means that it was not written.
    let written = be32(&body, 0) == be32(&header, 4);
    Ok(written && be32(&header, 40) == Some(1) && body[9] & UNMOUNT_OPERATION != 0)
}

/// Every free extent of every allocation group; `None` when a tree is damaged.
fn free_space(volume: &dyn ReadAt, fs: &Layout) -> io::Result<Option<Vec<Range<u64>>>> {
    let mut free = Vec::new();
    for group in 0..fs.ag_count {
        let base = group * fs.ag_blocks * fs.block;
        let length = fs.ag_blocks.min(fs.blocks - group * fs.ag_blocks);
        let agf = volume.read_vec(base + fs.sector, 64)?;
        let (Some(root), Some(levels)) = (be32(&agf, 16), be32(&agf, 28)) else { return Ok(None) };
        if agf[..4] != *b"XAGF" || be32(&agf, 12).map(u64::from) != Some(length) {
            return Ok(None);
        }
        if !walk(volume, fs, base, length, root, levels, &mut free)? {
            return Ok(None);
        }
    }
    Ok(Some(free))
}

/// Walks the leaves of one tree from left to right; false when it is damaged.
fn walk(
    volume: &dyn ReadAt,
    fs: &Layout,
    base: u64,
    length: u64,
    root: u32,
    levels: u32,
    free: &mut Vec<Range<u64>>,
) -> io::Result<bool> {
    let (magic, header) = if fs.version5 { (*b"AB3B", 56) } else { (*b"ABTB", 16) };
    let node_slots = (fs.block as usize - header) / 12;
    let leaf_slots = (fs.block as usize - header) / 8;
    let mut block = u64::from(root);
    let mut level = levels;
    let mut visited = 0;
    loop {
        visited += 1;
        if block >= length || visited > length || levels > 16 {
            return Ok(false);
        }
        let node = volume.read_vec(base + block * fs.block, fs.block as usize)?;
        let (Some(at_level), Some(records), Some(right)) = (be16(&node, 4), be16(&node, 6), be32(&node, 12)) else {
            return Ok(false);
        };
        let records = usize::from(records);
        if node[..4] != magic || (level > 0 && u32::from(at_level) + 1 != level) {
            return Ok(false);
        }
        if at_level > 0 {
            let Some(first) = be32(&node, header + node_slots * 8).filter(|_| records > 0) else { return Ok(false) };
            // A tree that says it has no levels and yet has them.
            let Some(below) = level.checked_sub(1) else { return Ok(false) };
            (block, level) = (u64::from(first), below);
            continue;
        }
        if records > leaf_slots {
            return Ok(false);
        }
        for record in node[header..].chunks_exact(8).take(records) {
            let (Some(start), Some(count)) = (be32(record, 0), be32(record, 4)) else { return Ok(false) };
            let (start, end) = (u64::from(start), u64::from(start) + u64::from(count));
            if end > length {
                return Ok(false);
            }
            free.push(base + start * fs.block..base + end * fs.block);
        }
        if right == u32::MAX {
            return Ok(true);
        }
        (block, level) = (u64::from(right), 1);
    }
}
