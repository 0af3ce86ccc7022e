//! What of which disk cannot be read: the images' maps held against what is known of the chunks.

use std::fmt;
use std::ops::Range;

use super::chunk::ChunkId;
use super::error::Result;
use super::manifest::{ImageId, Manifest};
use super::map::{MapEntry, MapReader};
use super::name::DiskName;
use super::store::Store;

/// What is lost of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whose disk.
    pub disk: DiskName,
    /// Which image of it.
    pub image: ImageId,
    /// What.
    pub what: Lost,
}

/// How much is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// These bytes of the disk, in order; the rest is there.
    Ranges(Vec<Range<u64>>),
    /// The manifest or the map cannot be read, for this reason: nothing of the image can be found.
    All(String),
}

impl Loss {
    /// Bytes that are lost, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        match &self.what {
            Lost::Ranges(ranges) => Some(ranges.iter().map(|range| range.end - range.start).sum()),
            Lost::All(_) => None,
        }
    }
}

/// Ranges that are written out; a report of thousands helps nobody.
const MOST_RANGES: usize = 8;

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} image {}: ", self.disk, self.image)?;
        let ranges = match &self.what {
            Lost::All(why) => return write!(f, "lost as a whole: {why}"),
            Lost::Ranges(ranges) => ranges,
        };
        write!(f, "{} bytes are lost, of the disk's bytes", self.bytes().unwrap_or(0))?;
        for (number, range) in ranges.iter().take(MOST_RANGES).enumerate() {
            write!(f, "{} {}..{}", if number == 0 { "" } else { "," }, range.start, range.end)?;
        }
        match ranges.len().saturating_sub(MOST_RANGES) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

/// Goes through every finished image and says what of it `there` denies.
pub(super) fn losses(store: &Store, there: &dyn Fn(&ChunkId) -> bool) -> Result<Vec<Loss>> {
    let mut found = Vec::new();
    for disk in store.disks()? {
        for image in store.image_ids(&disk)? {
            let lost = store.manifest(&disk, image).and_then(|manifest| lost(store, &disk, &manifest, there));
            let what = match lost {
                Ok(ranges) if ranges.is_empty() => continue,
                Ok(ranges) => Lost::Ranges(ranges),
                Err(error) => Lost::All(error.to_string()),
            };
            found.push(Loss { disk: disk.clone(), image, what });
        }
    }
    Ok(found)
}

/// The ranges of one image whose chunks `there` denies.
fn lost(
    store: &Store,
    disk: &DiskName,
    manifest: &Manifest,
    there: &dyn Fn(&ChunkId) -> bool,
) -> Result<Vec<Range<u64>>> {
    let Manifest { id, size, chunk_size, .. } = *manifest;
    let map = MapReader::open(&store.map_path(disk, id), id.bytes(), store.keys.map(&id.bytes()))?;
    let (mut chunk, mut ranges) = (0u64, Vec::<Range<u64>>::new());
    map.read_all(|entry| {
        if let MapEntry::Chunk(digest) = entry
            && !there(&digest.id(&store.keys.ids))
        {
            let start = chunk.saturating_mul(chunk_size.into()).min(size);
            let end = start.saturating_add(chunk_size.into()).min(size);
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        chunk = chunk.saturating_add(entry.chunks());
        Ok(())
    })?;
    Ok(ranges)
}

impl Store {
    /// Whether every chunk of an image has a place in a pack, as far as lengths tell.
    pub(super) fn is_whole(&self, disk: &DiskName, id: ImageId) -> Result<bool> {
        let manifest = self.manifest(disk, id)?;
        let catalog = self.catalog.read().expect("no thread panics while it holds the catalog");
        Ok(lost(self, disk, &manifest, &|id| catalog.has(id))?.is_empty())
    }
}
