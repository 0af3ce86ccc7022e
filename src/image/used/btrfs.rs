//! Btrfs on one device: the extent tree, mapped through the chunk tree.
//!
//! Source: the btrfs documentation, "On-disk format". Copy-on-write keeps the trees of the superblock whole at any
//! moment; only a pending log tree (after a crash) lies outside the extent tree, and is refused.

use std::io;
use std::ops::Range;

use super::bytes::{ReadAt, le16, le32, le64};
use super::map::FileSystem;
use super::ranges::Ranges;

const SUPERBLOCK: u64 = 64 << 10;
const MIRRORS: [u64; 2] = [64 << 20, 256 << 30];
/// The first MiB is reserved for boot loaders.
const RESERVED: u64 = 1 << 20;
const HEADER: usize = 101;
const ITEM: usize = 25;
const POINTER: usize = 33;
const EXTENT_TREE: u64 = 2;
const KEY_ROOT: u8 = 132;
const KEY_EXTENT: u8 = 168;
const KEY_METADATA: u8 = 169;
const KEY_CHUNK: u8 = 228;
const PROFILE_MASK: u64 = 0x7f8;
const PROFILE_DUP: u64 = 0x20;
const INCOMPAT_EXTENT_TREE_V2: u64 = 1 << 13;

struct Key {
    object: u64,
    kind: u8,
    offset: u64,
}

fn key(bytes: &[u8], at: usize) -> Option<Key> {
    Some(Key { object: le64(bytes, at)?, kind: *bytes.get(at + 8)?, offset: le64(bytes, at + 9)? })
}

/// A stretch of logical addresses, and each place on the device that holds it.
struct Chunk {
    logical: Range<u64>,
    copies: Vec<u64>,
}

struct Tree<'a> {
    volume: &'a dyn ReadAt,
    node: u64,
    chunks: Vec<Chunk>,
}

/// Reads the map if the volume is a btrfs on this device alone; `None` if it is no btrfs.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < SUPERBLOCK + 4096 {
        return Ok(None);
    }
    let sb = volume.read_vec(SUPERBLOCK, 4096)?;
    if sb[64..72] != *b"_BHRfS_M" {
        return Ok(None);
    }
    let whole = |why| Ok(Some(FileSystem::Whole { name: "btrfs", why }));
    if le64(&sb, 136) != Some(1) {
        return whole("it spans several devices");
    }
    if le64(&sb, 96) != Some(0) {
        return whole("it was not unmounted cleanly");
    }
    if le64(&sb, 188).is_none_or(|incompat| incompat & INCOMPAT_EXTENT_TREE_V2 != 0) {
        return whole("its extent tree is laid out in a way that is not read here");
    }
    match map(volume, &sb)? {
        Some(used) => Ok(Some(FileSystem::Mapped { name: "btrfs", used })),
        None => whole("its trees are damaged or use a profile that is not read here"),
    }
}

fn map(volume: &dyn ReadAt, sb: &[u8]) -> io::Result<Option<Ranges>> {
    let (Some(total), Some(node), Some(root), Some(chunk_root)) =
        (le64(sb, 112), le32(sb, 148), le64(sb, 80), le64(sb, 88))
    else {
        return Ok(None);
    };
    if total > volume.size() || !(4096..=65536).contains(&node) {
        return Ok(None);
    }
    let Some(chunks) = system_chunks(sb) else { return Ok(None) };
    let mut tree = Tree { volume, node: u64::from(node), chunks };
    let mut all = Vec::new();
    let sound = tree.walk(chunk_root, &mut |key, data| {
        if key.kind == KEY_CHUNK {
            all.push(chunk(key.offset, data)?);
        }
        Some(())
    })?;
    if !sound {
        return Ok(None);
    }
    all.sort_by_key(|chunk: &Chunk| chunk.logical.start);
    tree.chunks = all;
    let mut extent_root = None;
    let sound = tree.walk(root, &mut |key, data| {
        if key.kind == KEY_ROOT && key.object == EXTENT_TREE {
            extent_root = Some(le64(data, 176)?);
        }
        Some(())
    })?;
    let Some(extent_root) = extent_root.filter(|_| sound) else { return Ok(None) };
    let mut used = vec![0..RESERVED, total..volume.size()];
    used.extend(MIRRORS.iter().filter(|at| **at + 4096 <= total).map(|at| *at..at + 4096));
    let node = tree.node;
    let sound = tree.walk(extent_root, &mut |key, _| {
        let length = match key.kind {
            KEY_EXTENT => key.offset,
            KEY_METADATA => node,
            _ => return Some(()),
        };
        tree.physical(key.object, length, &mut used)
    })?;
    Ok(sound.then(|| Ranges::from_unsorted(used)))
}

/// The chunks that hold the chunk tree itself, from the superblock.
fn system_chunks(sb: &[u8]) -> Option<Vec<Chunk>> {
    let length = le32(sb, 160)? as usize;
    let array = sb.get(811..811 + length.min(2048))?;
    let (mut chunks, mut at) = (Vec::new(), 0);
    while at < array.len() {
        let key = key(array, at)?;
        let data = array.get(at + 17..)?;
        chunks.push(chunk(key.offset, data)?);
        at += 17 + 48 + 32 * usize::from(le16(data, 44)?);
    }
    chunks.sort_by_key(|chunk| chunk.logical.start);
    Some(chunks)
}

/// A chunk item; `None` for profiles that stripe.
fn chunk(logical: u64, data: &[u8]) -> Option<Chunk> {
    let (length, profile) = (le64(data, 0)?, le64(data, 24)? & PROFILE_MASK);
    if profile != 0 && profile != PROFILE_DUP {
        return None;
    }
    let copies =
        (0..usize::from(le16(data, 44)?)).map(|i| le64(data, 48 + i * 32 + 8)).collect::<Option<Vec<u64>>>()?;
    Some(Chunk { logical: logical..logical.checked_add(length)?, copies })
}

impl Tree<'_> {
    /// Appends every place on the device that holds the logical range; `None` when no chunk does.
    fn physical(&self, start: u64, length: u64, out: &mut Vec<Range<u64>>) -> Option<()> {
        let index = self.chunks.partition_point(|chunk| chunk.logical.start <= start).checked_sub(1)?;
        let chunk = &self.chunks[index];
        if start.checked_add(length)? > chunk.logical.end {
            return None;
        }
        for copy in &chunk.copies {
            let at = copy.checked_add(start - chunk.logical.start)?;
            if at.checked_add(length)? > self.volume.size() {
                return None;
            }
            out.push(at..at + length);
        }
        Some(())
    }

    /// Visits every item of the tree's leaves; false when the tree is damaged or the visitor says so.
    fn walk(&self, root: u64, visit: &mut dyn FnMut(Key, &[u8]) -> Option<()>) -> io::Result<bool> {
        let most = self.volume.size() / self.node;
        let mut open = vec![root];
        let mut visited = 0;
        while let Some(address) = open.pop() {
            visited += 1;
            let mut places = Vec::new();
            if visited > most || self.physical(address, self.node, &mut places).is_none() {
                return Ok(false);
            }
            let Some(place) = places.first() else { return Ok(false) };
            let node = self.volume.read_vec(place.start, self.node as usize)?;
            let Some(count) = le32(&node, 96).map(|count| count as usize) else { return Ok(false) };
            if le64(&node, 48) != Some(address) || count > self.node as usize / ITEM {
                return Ok(false);
            }
            let sound = match node[100] {
                0 => leaf(&node, count, visit),
                _ => (0..count)
                    .rev()
                    .try_for_each(|i| le64(&node, HEADER + i * POINTER + 17).map(|child| open.push(child))),
            };
            if sound.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn leaf(node: &[u8], count: usize, visit: &mut dyn FnMut(Key, &[u8]) -> Option<()>) -> Option<()> {
    for at in (0..count).map(|i| HEADER + i * ITEM) {
        let (offset, size) = (le32(node, at + 17)? as usize, le32(node, at + 21)? as usize);
        let data = node.get(HEADER + offset..HEADER.checked_add(offset)?.checked_add(size)?)?;
        visit(key(node, at)?, data)?;
    }
    Some(())
}
