//! Digests of whole disks, for comparing what is in the store with what is on a disk, by us or by anybody.

use std::fmt;
use std::path::Path;

use super::chunk::{ChunkDigest, DiskDigest, DiskHasher, chunk_count, is_zero};
use super::control::Control;
use super::error::{ImageError, Result};
use super::fan::fan;
use super::format::source_identity;
use super::manifest::{ImageId, SourceRecord};
use super::name::DiskName;
use super::source::{ReadPlan, Source};
use super::store::Store;
use super::stream::{Buffers, Content, Stream};
use super::walk::{Piece, Walk};
use crate::device::PageBuffer;
use crate::hardware::DiskFormat as ImageFormat;
use crate::units::ByteCount;

/// The plain BLAKE3 of a disk's bytes, holes read as zeros: what `b3sum` prints for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainDigest(blake3::Hash);

impl fmt::Display for PlainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_hex())
    }
}

/// Hashes zeros without making them each time.
fn update_zeros(hasher: &mut blake3::Hasher, mut len: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while len > 0 {
        let step = len.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..step as usize]);
        len -= step;
    }
}

/// Both digests of a disk file or block device, read as a capture would read it.
pub fn digest_source(
    path: &Path,
    format: ImageFormat,
    plan: ReadPlan,
    chunk_size: u32,
    control: &Control<'_>,
) -> Result<(DiskDigest, PlainDigest)> {
    let identity = source_identity(path, format).map_err(ImageError::file("looking at", path))?;
    let record = SourceRecord { path: path.to_owned(), format: format.name().into(), identity };
    let source = Source::open(path, format, plan, &record)?;
    let size = source.size();
    let mut walk = Walk::new(&*source.disk, chunk_size, 0);
    let (mut tree, mut plain) = (DiskHasher::new(size, chunk_size), blake3::Hasher::new());
    let (buffers, mut done) = (Buffers::default(), 0);
    fan(
        control.thread_count(),
        control.thread_count() + 2,
        || match control.stopped() {
            true => Ok(None),
            false => walk.next().map_err(ImageError::file("reading the map of", path)),
        },
        || Ok(()),
        |(), piece| {
            let Piece::Read { first, count, cached } = piece else {
                return Ok((piece, Vec::new(), PageBuffer::default()));
            };
            let offset = first * u64::from(chunk_size);
            let len = (size - offset).min(count * u64::from(chunk_size));
            control.pace(len);
            let mut content = buffers.take(len as usize);
            source.read(&mut content, offset)?;
            if !cached {
                source.disk.drop_cache(offset, len);
            }
            let digests: Vec<Option<ChunkDigest>> = content
                .chunks(chunk_size as usize)
                .map(|chunk| (!is_zero(chunk)).then(|| ChunkDigest::of(chunk)))
                .collect();
            Ok((piece, digests, content))
        },
        |(piece, digests, content)| {
            if let Piece::Zeros { count } = piece {
                tree.zeros(count);
                let end = ((done + count) * u64::from(chunk_size)).min(size);
                update_zeros(&mut plain, end - done * u64::from(chunk_size));
                done += count;
            } else {
                plain.update(&content);
                done += digests.len() as u64;
                digests.iter().for_each(|digest| match digest {
                    Some(digest) => tree.chunk(digest),
                    None => tree.zeros(1),
                });
                buffers.give(content);
            }
            control.tick((done * u64::from(chunk_size)).min(size), size);
            Ok(())
        },
    )?;
    source.check_unchanged()?;
    match done < chunk_count(size, chunk_size) {
        true => Err(ImageError::Stopped { done: ByteCount(done * u64::from(chunk_size)), total: ByteCount(size) }),
        false => Ok((tree.finish(), PlainDigest(plain.finalize()))),
    }
}

/// The plain digest of the disk that an image makes: every chunk is read, authenticated and decoded.
pub fn digest_image(store: &Store, disk: &DiskName, id: ImageId, control: &Control<'_>) -> Result<PlainDigest> {
    let run = || {
        let _lease = store.lease(&format!("hash an image of {disk}"))?;
        let manifest = store.manifest(disk, id)?;
        let stream = Stream { store, manifest: &manifest, control };
        let (mut plain, buffers) = (blake3::Hasher::new(), Buffers::default());
        stream.runs(
            0,
            Some,
            |reader, run| stream.decode(reader, &buffers, run),
            |(run, bytes)| {
                let (start, end) = (stream.offset(run.chunk), stream.offset(run.end()));
                if let Content::Zeros(_) = run.content {
                    update_zeros(&mut plain, end - start);
                }
                bytes.into_iter().for_each(|bytes| {
                    plain.update(&bytes);
                    buffers.give(bytes);
                });
                control.tick(end, manifest.size);
                Ok(())
            },
        )?;
        Ok(PlainDigest(plain.finalize()))
    };
    run().map_err(ImageError::of("hash an image of", disk))
}
