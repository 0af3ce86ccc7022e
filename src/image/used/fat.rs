//! FAT12, FAT16 and FAT32: the reserved area, both tables, the root directory, and allocated clusters.
//!
//! Source: Microsoft, "FAT: General Overview of On-Disk Format", version 1.03.

use std::io;

use super::bytes::{ReadAt, le16, le32};
use super::map::FileSystem;
use super::ranges::Ranges;

/// Reads the map if the volume is a clean FAT file system.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < 4096 {
        return Ok(None);
    }
    let bpb = volume.read_vec(0, 512)?;
    let named = bpb[54..57] == *b"FAT" || bpb[82..87] == *b"FAT32";
    if bpb[510..] != [0x55, 0xaa] || !named {
        return Ok(None);
    }
    let whole = |why| Ok(Some(FileSystem::Whole { name: "fat", why }));
    let Some(fs) = layout(&bpb) else { return whole("its boot sector is damaged") };
    if fs.end > volume.size() {
        return whole("it is larger than its partition");
    }
    // Not more of the table than there are clusters: its length is what the boot sector says.
    let table = volume.read_vec(fs.table_at, ((fs.clusters + 2) * u64::from(fs.bits)).div_ceil(8) as usize)?;
    if !fs.clean(&table) {
        return whole("it is mounted or was not unmounted cleanly");
    }
    let mut used = vec![0..fs.data_at, fs.end..volume.size()];
    for cluster in 0..fs.clusters {
        if fs.entry(&table, cluster + 2) != Some(0) {
            let at = fs.data_at + cluster * fs.cluster;
            match used.last_mut() {
                Some(last) if last.end == at => last.end += fs.cluster,
                _ => used.push(at..at + fs.cluster),
            }
        }
    }
    Ok(Some(FileSystem::Mapped { name: "fat", used: Ranges::from_unsorted(used) }))
}

struct Layout {
    bits: u32,
    cluster: u64,
    clusters: u64,
    table_at: u64,
    data_at: u64,
    end: u64,
}

fn layout(bpb: &[u8]) -> Option<Layout> {
    let sector = u64::from(le16(bpb, 11).filter(|size| matches!(size, 512 | 1024 | 2048 | 4096))?);
    let per_cluster = u64::from(bpb[13]);
    let reserved = u64::from(le16(bpb, 14)?);
    let tables = u64::from(bpb[16]);
    let root_entries = u64::from(le16(bpb, 17)?);
    let either = |short: u16, long: u32| if short != 0 { u64::from(short) } else { u64::from(long) };
    let sectors = either(le16(bpb, 19)?, le32(bpb, 32)?);
    let table_sectors = either(le16(bpb, 22)?, le32(bpb, 36)?);
    if !per_cluster.is_power_of_two() || reserved == 0 || !(1..=2).contains(&tables) || table_sectors > 1 << 22 {
        return None;
    }
    let data_sector = reserved + tables * table_sectors + (root_entries * 32).div_ceil(sector);
    let clusters = sectors.checked_sub(data_sector)? / per_cluster;
    let bits = match clusters {
        0..4085 => 12,
        4085..65525 => 16,
        _ => 32,
    };
    let table_bytes = table_sectors * sector;
    if (clusters + 2) * bits / 8 > table_bytes {
        return None;
    }
    Some(Layout {
        bits: bits as u32,
        cluster: per_cluster * sector,
        clusters,
        table_at: reserved * sector,
        data_at: data_sector * sector,
        end: (data_sector + clusters * per_cluster) * sector,
    })
}

impl Layout {
    fn entry(&self, table: &[u8], cluster: u64) -> Option<u32> {
        let cluster = cluster as usize;
        match self.bits {
            12 => le16(table, cluster + cluster / 2)
                .map(|pair| u32::from(if cluster % 2 == 1 { pair >> 4 } else { pair & 0xfff })),
            16 => le16(table, cluster * 2).map(u32::from),
            _ => le32(table, cluster * 4).map(|entry| entry & 0x0fff_ffff),
        }
    }

    /// The second entry's high bits say whether the volume was unmounted; FAT12 has no such bit.
    fn clean(&self, table: &[u8]) -> bool {
        match self.bits {
            12 => true,
            16 => le16(table, 2).is_some_and(|entry| entry & 0x8000 != 0),
            _ => le32(table, 4).is_some_and(|entry| entry & 0x0800_0000 != 0),
        }
    }
}
