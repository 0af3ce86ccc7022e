//! ext2, ext3 and ext4: block bitmaps of every group, and all group metadata.
//!
//! Source: the kernel's `Documentation/filesystems/ext4/` (super.rst, group_descr.rst, bitmaps.rst).

use std::io;

use super::bytes::{ReadAt, le16, le32};
use super::map::FileSystem;
use super::ranges::{Ranges, push_set_bits};

const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
const BG_BLOCK_UNINIT: u16 = 0x2;
const STATE_CLEAN: u16 = 0x1;

struct Layout {
    block: u64,
    blocks: u64,
    first_data: u64,
    per_group: u64,
    inode_table_blocks: u64,
    descriptor: usize,
    reserved_gdt: u64,
    sparse: bool,
    uninit_is_meant: bool,
}

/// Reads the map if the volume is a clean ext file system; `None` if it is no ext file system.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < 4096 {
        return Ok(None);
    }
    let sb = volume.read_vec(1024, 1024)?;
    if le16(&sb, 56) != Some(0xef53) {
        return Ok(None);
    }
    let whole = |why| Ok(Some(FileSystem::Whole { name: "ext", why }));
    let Some((layout, incompat, state)) = layout(&sb) else {
        return whole("its superblock is damaged");
    };
    if state & STATE_CLEAN == 0 || incompat & INCOMPAT_RECOVER != 0 {
        return whole("it is mounted or was not unmounted cleanly");
    }
    if incompat & (INCOMPAT_META_BG | INCOMPAT_JOURNAL_DEV) != 0 {
        return whole("its group descriptors are laid out in a way that is not read here");
    }
    if le32(&sb, 100).is_none_or(|ro| ro & RO_COMPAT_BIGALLOC != 0)
        || le32(&sb, 92).is_none_or(|c| c & COMPAT_SPARSE_SUPER2 != 0)
    {
        return whole("it allocates in a way that is not read here (bigalloc or sparse_super2)");
    }
    if layout.blocks.checked_mul(layout.block).is_none_or(|end| end > volume.size()) {
        return whole("it is larger than its partition");
    }
    match map(volume, &layout)? {
        Some(used) => Ok(Some(FileSystem::Mapped { name: "ext", used })),
        None => whole("its group descriptors point outside the file system"),
    }
}

fn layout(sb: &[u8]) -> Option<(Layout, u32, u16)> {
    let log_block = le32(sb, 24).filter(|log| *log <= 6)?;
    let block = 1024u64 << log_block;
    let (incompat, ro) = (le32(sb, 96)?, le32(sb, 100)?);
    let wide = incompat & INCOMPAT_64BIT != 0;
    let high = if wide { u64::from(le32(sb, 0x150)?) } else { 0 };
    let revision = le32(sb, 76)?;
    let inode_size = if revision == 0 { 128 } else { u64::from(le16(sb, 88)?) };
    let per_group = u64::from(le32(sb, 32)?);
    let inodes_per_group = u64::from(le32(sb, 40)?);
    let descriptor = if wide { usize::from(le16(sb, 254)?) } else { 32 };
    let sane = (1..=block * 8).contains(&per_group)
        && (1..=block * 8).contains(&inodes_per_group)
        && (32..=1024).contains(&descriptor)
        && (128..=block).contains(&inode_size);
    sane.then_some((
        Layout {
            block,
            blocks: u64::from(le32(sb, 4)?) | high << 32,
            first_data: u64::from(le32(sb, 20)?),
            per_group,
            inode_table_blocks: (inodes_per_group * inode_size).div_ceil(block),
            descriptor,
            reserved_gdt: u64::from(le16(sb, 206)?),
            sparse: ro & RO_COMPAT_SPARSE_SUPER != 0,
            uninit_is_meant: ro & (RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM) != 0,
        },
        incompat,
        le16(sb, 58)?,
    ))
}

/// Every allocated block and every block of metadata; `None` if a descriptor points outside.
fn map(volume: &dyn ReadAt, fs: &Layout) -> io::Result<Option<Ranges>> {
    let groups = fs.blocks.saturating_sub(fs.first_data).div_ceil(fs.per_group);
    let table_bytes = groups * fs.descriptor as u64;
    let table_blocks = table_bytes.div_ceil(fs.block);
    let table_at = (fs.first_data + 1) * fs.block;
    if table_at + table_bytes > volume.size() {
        return Ok(None);
    }
    let table = volume.read_vec(table_at, table_bytes as usize)?;
    // The boot block, and whatever lies behind the last block of the file system.
    let mut used = vec![0..(fs.first_data + 1) * fs.block, fs.blocks * fs.block..volume.size()];
    for (group, descriptor) in (0..groups).zip(table.chunks_exact(fs.descriptor)) {
        let first = fs.first_data + group * fs.per_group;
        let count = fs.per_group.min(fs.blocks - first);
        let low = |at| le32(descriptor, at).map(u64::from);
        let high = |at| if fs.descriptor >= 64 { le32(descriptor, at).map_or(0, u64::from) << 32 } else { 0 };
        let (Some(block_bitmap), Some(inode_bitmap), Some(inode_table)) = (low(0), low(4), low(8)) else {
            return Ok(None);
        };
        let block_bitmap = block_bitmap | high(0x20);
        for (at, length) in
            [(block_bitmap, 1), (inode_bitmap | high(0x24), 1), (inode_table | high(0x28), fs.inode_table_blocks)]
        {
            if at < fs.first_data || at.checked_add(length).is_none_or(|end| end > fs.blocks) {
                return Ok(None);
            }
            used.push(at * fs.block..(at + length) * fs.block);
        }
        if has_backup(group, fs.sparse) {
            let length = (1 + table_blocks + fs.reserved_gdt).min(count);
            used.push(first * fs.block..(first + length) * fs.block);
        }
        // An uninitialised bitmap stands for "nothing but metadata", which is marked above.
        let uninit = fs.uninit_is_meant && le16(descriptor, 18).is_some_and(|flags| flags & BG_BLOCK_UNINIT != 0);
        if !uninit {
            let bitmap = volume.read_vec(block_bitmap * fs.block, fs.block as usize)?;
            push_set_bits(&bitmap, count, first, fs.block, &mut used);
        }
    }
    Ok(Some(Ranges::from_unsorted(used)))
}

/// Whether the group carries a copy of superblock and descriptors.
fn has_backup(group: u64, sparse: bool) -> bool {
    let is_power = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    !sparse || group <= 1 || is_power(3) || is_power(5) || is_power(7)
}

#[cfg(test)]
mod tests {
    use super::has_backup;

    #[test]
    fn backups_lie_in_powers_of_three_five_and_seven() {
        let groups: Vec<u64> = (0..130).filter(|group| has_backup(*group, true)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }
}
