//! NTFS: the `$Bitmap` file, once `$Volume` and `$LogFile` have proved that the volume is clean.
//!
//! Source: the NTFS documentation of the Linux-NTFS project (boot sector, file records, attributes, data runs).

use std::io;

use super::bytes::{ReadAt, le16, le32, le64};
use super::map::FileSystem;
use super::ranges::{Ranges, push_set_bits};

const RECORD_LOGFILE: u64 = 2;
const RECORD_VOLUME: u64 = 3;
const RECORD_BITMAP: u64 = 6;
const ATTRIBUTE_VOLUME_INFORMATION: u32 = 0x70;
const ATTRIBUTE_DATA: u32 = 0x80;
const VOLUME_DIRTY: u16 = 0x1;
const LOG_CLIENT_NONE: u16 = 0xffff;
const LOG_VOLUME_IS_CLEAN: u16 = 0x2;

struct Layout {
    cluster: u64,
    clusters: u64,
    record: u64,
    mft_at: u64,
}

/// Reads the map if the volume is a clean NTFS; `None` if it is no NTFS.
pub(super) fn read(volume: &dyn ReadAt) -> io::Result<Option<FileSystem>> {
    if volume.size() < 4096 {
        return Ok(None);
    }
    let boot = volume.read_vec(0, 512)?;
    if boot[3..11] != *b"NTFS    " {
        return Ok(None);
    }
    let whole = |why| Ok(Some(FileSystem::Whole { name: "ntfs", why }));
    let Some(fs) = layout(&boot, volume.size()) else { return whole("its boot sector is damaged") };
    let dirty = match attribute(volume, &fs, RECORD_VOLUME, ATTRIBUTE_VOLUME_INFORMATION)? {
        Some(Attribute::Resident(value)) => le16(&value, 10).is_none_or(|flags| flags & VOLUME_DIRTY != 0),
        _ => true,
    };
    if dirty {
        return whole("its volume is marked dirty, or that mark cannot be read");
    }
    if !log_is_clean(volume, &fs)? {
        return whole("its log is not closed: it is mounted, hibernated or fast-started");
    }
    let Some(bitmap) = stream(volume, &fs, RECORD_BITMAP, fs.clusters.div_ceil(8))? else {
        return whole("its cluster bitmap cannot be read");
    };
    // The boot sector's copy lies in the sectors behind the last cluster.
    let mut used = vec![0..fs.cluster, fs.clusters * fs.cluster..volume.size()];
    push_set_bits(&bitmap, fs.clusters, 0, fs.cluster, &mut used);
    Ok(Some(FileSystem::Mapped { name: "ntfs", used: Ranges::from_unsorted(used) }))
}

fn layout(boot: &[u8], size: u64) -> Option<Layout> {
    let sector = u64::from(le16(boot, 11).filter(|size| matches!(size, 512 | 1024 | 2048 | 4096))?);
    let per_cluster = match boot[13] {
        n @ 0..=0x80 => u64::from(n),
        n => 1u64.checked_shl(u32::from(n.wrapping_neg()))?,
    };
    let cluster = sector.checked_mul(per_cluster)?;
    if !cluster.is_power_of_two() || cluster > 2 << 20 {
        return None;
    }
    let record = match boot[64] as i8 {
        n @ 1.. => n as u64 * cluster,
        n @ -16..=-9 => 1 << -n,
        _ => return None,
    };
    let clusters = le64(boot, 40)? / per_cluster;
    let mft_at = le64(boot, 48)?.checked_mul(cluster)?;
    let fits = clusters.checked_mul(cluster)? <= size && mft_at.checked_add(16 * record)? <= size;
    (fits && record >= 512).then_some(Layout { cluster, clusters, record, mft_at })
}

enum Attribute {
    Resident(Vec<u8>),
    /// Runs of clusters (`None` = sparse) with their lengths, and the stream's length in bytes.
    Runs(Vec<(Option<u64>, u64)>, u64),
}

/// The first unnamed attribute of that type in one of the first sixteen file records, which are never moved.
fn attribute(volume: &dyn ReadAt, fs: &Layout, record: u64, kind: u32) -> io::Result<Option<Attribute>> {
    let mut bytes = volume.read_vec(fs.mft_at + record * fs.record, fs.record as usize)?;
    if bytes[..4] != *b"FILE" || !apply_fixups(&mut bytes) {
        return Ok(None);
    }
    let mut at = usize::from(le16(&bytes, 20).unwrap_or(u16::MAX));
    while let (Some(found), Some(length)) = (le32(&bytes, at), le32(&bytes, at + 4)) {
        let length = length as usize;
        if found == u32::MAX || length < 24 || at + length > bytes.len() {
            break;
        }
        let body = &bytes[at..at + length];
        if found == kind && body[9] == 0 {
            return Ok(value_of(body));
        }
        at += length;
    }
    Ok(None)
}

fn value_of(body: &[u8]) -> Option<Attribute> {
    if body[8] == 0 {
        let (length, offset) = (le32(body, 16)? as usize, usize::from(le16(body, 20)?));
        return body.get(offset..offset.checked_add(length)?).map(|value| Attribute::Resident(value.to_vec()));
    }
    let flags = le16(body, 12)?;
    if flags != 0 || le64(body, 16)? != 0 {
        return None; // compressed, encrypted, or a continuation
    }
    let runs = data_runs(body.get(usize::from(le16(body, 32)?)..)?)?;
    Some(Attribute::Runs(runs, le64(body, 48)?))
}

/// Decodes a run list: a header byte (sizes of length and offset), the length, the signed offset from the last run.
fn data_runs(mut bytes: &[u8]) -> Option<Vec<(Option<u64>, u64)>> {
    let (mut runs, mut at) = (Vec::new(), 0i64);
    loop {
        let header = *bytes.first()?;
        if header == 0 {
            return Some(runs);
        }
        let (lengths, offsets) = (usize::from(header & 0xf), usize::from(header >> 4));
        if lengths == 0 || lengths > 8 || offsets > 8 {
            return None;
        }
        let length = little(bytes.get(1..1 + lengths)?);
        let offset = bytes.get(1 + lengths..1 + lengths + offsets)?;
        bytes = bytes.get(1 + lengths + offsets..)?;
        if offset.is_empty() {
            runs.push((None, length));
            continue;
        }
        let shift = 64 - 8 * offset.len() as u32;
        at = at.checked_add(((little(offset) << shift) as i64) >> shift)?;
        runs.push((Some(u64::try_from(at).ok()?), length));
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Puts back the last two bytes of each 512-byte sector; false when one was not written with the others.
fn apply_fixups(record: &mut [u8]) -> bool {
    let (Some(offset), Some(count)) = (le16(record, 4), le16(record, 6)) else { return false };
    let (offset, count) = (usize::from(offset), usize::from(count));
    if count < 1 || offset + count * 2 > record.len() || (count - 1) * 512 > record.len() {
        return false;
    }
    let mark = [record[offset], record[offset + 1]];
    for i in 1..count {
        let end = i * 512;
        if record[end - 2..end] != mark {
            return false;
        }
        let saved = [record[offset + i * 2], record[offset + i * 2 + 1]];
        record[end - 2..end].copy_from_slice(&saved);
    }
    true
}

/// The first `length` bytes of a record's unnamed data; `None` when they cannot be read whole.
fn stream(volume: &dyn ReadAt, fs: &Layout, record: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
    let (runs, size) = match attribute(volume, fs, record, ATTRIBUTE_DATA)? {
        Some(Attribute::Runs(runs, size)) => (runs, size),
        Some(Attribute::Resident(value)) => return Ok((value.len() as u64 >= length).then_some(value)),
        None => return Ok(None),
    };
    if size < length {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (start, clusters) in runs {
        let wanted = length - bytes.len() as u64;
        if wanted == 0 {
            break;
        }
        let inside = start.and_then(|start| start.checked_add(clusters)).is_some_and(|end| end <= fs.clusters);
        let Some(start) = start.filter(|_| inside) else { return Ok(None) };
        let part = wanted.min(clusters * fs.cluster);
        bytes.extend(volume.read_vec(start * fs.cluster, part as usize)?);
    }
    Ok((bytes.len() as u64 == length).then_some(bytes))
}

/// Whether both restart pages say that no client holds the log, or that the volume is clean; an empty log (all
/// bytes 0xff, as mkntfs and chkdsk leave it) is clean too.
fn log_is_clean(volume: &dyn ReadAt, fs: &Layout) -> io::Result<bool> {
    const PAGE: u64 = 4096;
    let Some(pages) = stream(volume, fs, RECORD_LOGFILE, 2 * PAGE)? else { return Ok(false) };
    if pages.iter().all(|byte| *byte == 0xff) {
        return Ok(true);
    }
    let mut seen = false;
    for page in pages.chunks_exact(PAGE as usize).filter(|page| page[..4] == *b"RSTR") {
        let Some(area) = le16(page, 24).map(usize::from) else { return Ok(false) };
        let (Some(in_use), Some(flags)) = (le16(page, area + 12), le16(page, area + 14)) else { return Ok(false) };
        if in_use != LOG_CLIENT_NONE && flags & LOG_VOLUME_IS_CLEAN == 0 {
            return Ok(false);
        }
        seen = true;
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::data_runs;

    #[test]
    fn run_lists_decode_signed_offsets() {
        let runs = data_runs(&[0x21, 0x18, 0x34, 0x56, 0x11, 0x04, 0xf0, 0x01, 0x08, 0x00]);
        assert_eq!(runs, Some(vec![(Some(0x5634), 0x18), (Some(0x5624), 4), (None, 8)]));
        assert_eq!(data_runs(&[0x21, 0x18]), None);
    }
}
