//! Verifying images: that everything is there, or (deep) that every byte of it is what was captured.

use super::catalog::{ChunkReader, Place};
use super::chunk::{DiskHasher, chunk_len};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::manifest::{ImageId, Manifest};
use super::map::{MapEntry, MapReader};
use super::name::DiskName;
use super::store::Store;
use crate::units::ByteCount;

/// How thoroughly to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Manifests and maps authenticate; every chunk is in a pack that is long enough.
    Present,
    /// Every chunk is read, authenticated, decompressed and compared with its digest.
    Deep,
}

/// What is wrong with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose disk.
    pub disk: DiskName,
    /// Which image of it.
    pub image: ImageId,
    /// The error and its causes.
    pub message: String,
}

/// What was verified.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// Images looked at.
    pub images: u64,
    /// Chunks looked at.
    pub chunks: u64,
    /// Everything that is wrong; of one image at most [`MOST_FAULTS`].
    pub faults: Vec<Fault>,
}

/// Faults that are listed of one image; a disk that lost a pack would list thousands.
pub const MOST_FAULTS: usize = 20;

/// Verifies the images of the given disks, or only one of them.
pub fn verify(
    store: &Store,
    disks: &[DiskName],
    only: Option<ImageId>,
    depth: Depth,
    control: &Control<'_>,
) -> Result<CheckReport> {
    let _lease = store.lease("verify images")?;
    let mut images = Vec::new();
    for disk in disks {
        for id in store.image_ids(disk)? {
            if only.is_none_or(|only| only == id) {
                images.push((disk.clone(), id));
            }
        }
    }
    let mut report = CheckReport::default();
    let (mut done, mut total, mut manifests) = (0, 0, Vec::new());
    for (disk, id) in images {
        report.images += 1;
        match store.manifest(&disk, id) {
            Ok(manifest) => {
                total += manifest.size;
                manifests.push((disk, manifest));
            }
            Err(error) => report.faults.push(fault(&disk, id, &error)),
        }
    }
    for (disk, manifest) in manifests {
        let mut image =
            ImageCheck { store, manifest: &manifest, depth, control, base: done, total, faults: Vec::new() };
        let outcome = image.run();
        let found = std::mem::take(&mut image.faults);
        report.faults.extend(found.iter().take(MOST_FAULTS).map(|error| fault(&disk, manifest.id, error)));
        if found.len() > MOST_FAULTS {
            let more =
                ImageError::Refused { what: format!("{} more chunks cannot be read", found.len() - MOST_FAULTS) };
            report.faults.push(fault(&disk, manifest.id, &more));
        }
        match outcome {
            Ok(chunks) => report.chunks += chunks,
            Err(error) if error.is_stop() => return Err(error),
            Err(error) => report.faults.push(fault(&disk, manifest.id, &error)),
        }
        done += manifest.size;
    }
    Ok(report)
}

fn fault(disk: &DiskName, image: ImageId, error: &ImageError) -> Fault {
    let mut message = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        message.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    Fault { disk: disk.clone(), image, message }
}

struct ImageCheck<'a> {
    store: &'a Store,
    manifest: &'a Manifest,
    depth: Depth,
    control: &'a Control<'a>,
    base: u64,
    total: u64,
    faults: Vec<ImageError>,
}

impl ImageCheck<'_> {
    /// Returns the chunks looked at. Bad chunks are collected, so that one does not hide the others.
    fn run(&mut self) -> Result<u64> {
        let Self { store, manifest, depth, control, base, total, .. } = *self;
        let Manifest { id, size, chunk_size, .. } = *manifest;
        let path = store.map_path(&manifest.name()?, id);
        let promised = store.believed_digest(manifest)?;
        // The map alone first: it is small, and what it says is not worth following if it is wrong.
        let mut hasher = DiskHasher::new(size, chunk_size);
        let reader = || MapReader::open(&path, id.bytes(), store.keys.map(&id.bytes()));
        let (mut left, mut overrun) = (manifest.data_chunks + manifest.zero_chunks, false);
        let end = reader()?.read_all(|entry| {
            overrun |= entry.chunks() > left;
            left = left.saturating_sub(entry.chunks());
            match entry {
                _ if overrun => {}
                MapEntry::Zeros(count) => hasher.zeros(count),
                MapEntry::Chunk(digest) => hasher.chunk(&digest),
            }
            Ok(())
        })?;
        if overrun || left > 0 || end.size != size || end.digest != promised || hasher.finish() != promised {
            return Err(ImageError::damaged(&path, "it does not make the digest that the manifest promises"));
        }

        let (mut frames, mut entries, mut at) = (reader()?, Vec::new().into_iter(), 0u64);
        let mut stopped = false;
        let (mut seen, faults) = (0, &mut self.faults);
        fan(
            control.thread_count(),
            64,
            || loop {
                if control.stopped() {
                    stopped = true;
                    return Ok(None);
                }
                match entries.next() {
                    Some(MapEntry::Zeros(count)) => at += count,
                    Some(MapEntry::Chunk(digest)) => {
                        at += 1;
                        return Ok(Some((at - 1, digest)));
                    }
                    None => match frames.next()? {
                        super::map::Frame::Entries(more) => entries = more.into_iter(),
                        _ => return Ok(None),
                    },
                }
            },
            || Ok((ChunkReader::new(store)?, Vec::new())),
            |(reader, buffer), (chunk, digest)| {
                let place = Place { chunk, chunk_size };
                let outcome = match depth {
                    Depth::Present => reader.locate(&digest, place).map(drop),
                    Depth::Deep => {
                        buffer.resize(chunk_len(size, chunk_size, chunk), 0);
                        control.pace(buffer.len() as u64);
                        reader.read(&digest, place, buffer)
                    }
                };
                Ok((chunk, outcome))
            },
            |(chunk, outcome)| {
                seen += 1;
                faults.extend(outcome.err());
                control.tick(base + (chunk * u64::from(chunk_size)).min(size), total);
                Ok(())
            },
        )?;
        match stopped {
            true => Err(ImageError::Stopped { done: ByteCount(base), total: ByteCount(total) }),
            false => Ok(seen),
        }
    }
}
