//! Deploy: an image becomes a disk again. Chunks are decoded side by side and written in disk order; the first MiB is
//! kept back until everything else is durable, so that a half-written disk never boots.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::catalog::ChunkReader;
use super::chunk::{ChunkDigest, DiskDigest, is_zero};
use super::control::Control;
use super::error::{ImageError, Result};
use super::format::{DiskWriter, Qcow2Disk, Subformat, create, look, open_target};
use super::manifest::{ImageId, Manifest};
use super::map::MapEntry;
use super::marker::{Deployed, Deploying, Markers};
use super::name::DiskName;
use super::store::Store;
use super::stream::{Buffers, Content, Decoded, Run, Step, Stream};
use crate::device;
use crate::hardware::DiskFormat as ImageFormat;

/// What to deploy.
#[derive(Clone, Debug)]
pub struct DeployRequest {
    /// Whose disk.
    pub disk: DiskName,
    /// Which image of it; `None` takes that of the newest sealed set, else the newest.
    pub image: Option<ImageId>,
    /// An existing disk file or block device.
    pub target: PathBuf,
    /// The target's format.
    pub format: ImageFormat,
    /// Read back what was written and compare.
    pub read_back: bool,
}

/// What a deploy did.
#[derive(Clone, Debug)]
pub struct DeployReport {
    /// The image.
    pub id: ImageId,
    /// The digest of what the target holds now.
    pub digest: DiskDigest,
    /// Bytes of the logical disk.
    pub size: u64,
    /// Bytes of data written by this run.
    pub written: u64,
    /// Whether it was deployed already, so that nothing was done.
    pub present: bool,
}

/// Where a deploy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployState {
    /// The target holds the image.
    Complete,
    /// A deploy was begun, or the target holds another image.
    Partial,
    /// Nothing was deployed there.
    Absent,
}

/// Whether `request` is fulfilled.
pub fn deploy_state(store: &Store, request: &DeployRequest) -> Result<DeployState> {
    let markers = Markers::of(&request.target);
    if !request.target.exists() {
        return Ok(DeployState::Absent);
    }
    if markers.deploying()?.is_some() {
        return Ok(DeployState::Partial);
    }
    Ok(match markers.deployed()? {
        None => DeployState::Absent,
        Some(marker) if marker.image == store.chosen(&request.disk, request.image)?.id => DeployState::Complete,
        Some(_) => DeployState::Partial,
    })
}

/// Makes the target an empty disk of the same size again, not deployed.
pub fn undo(disk: &DiskName, target: &Path, format: ImageFormat) -> Result<()> {
    let run = || {
        let markers = Markers::of(target);
        markers.remove_deployed()?;
        if target.exists() {
            empty(target, format)?;
        }
        markers.remove_deploying()
    };
    run().map_err(ImageError::of("undo the deploy of", disk))
}

fn empty(target: &Path, format: ImageFormat) -> Result<()> {
    match format {
        ImageFormat::Qcow2 => {
            let size = open_target(target, format)?.size();
            Qcow2Disk::create(target, size)
        }
        ImageFormat::Raw if target.is_file() => {
            let disk = device::open_exclusive(target).map_err(ImageError::file("opening", target))?;
            device::size(&disk)
                .and_then(|size| disk.set_len(0).and_then(|()| disk.set_len(size)))
                .and_then(|()| disk.sync_all())
                .map_err(ImageError::target("emptying", target))
        }
        ImageFormat::Raw => {
            let disk = open_target(target, format)?;
            let size = disk.size();
            disk.zero(0, size).and_then(|()| disk.flush()).map_err(ImageError::target("emptying", target))
        }
        _ => {
            // By its header: what a killed process left may not open.
            let size = look(target, Some(format))?.size;
            create(target, format, Subformat::Default, size)
        }
    }
}

/// Deploys an image. Run again after any interruption, it goes on where it stopped.
pub fn deploy(store: &Store, request: &DeployRequest, control: &Control<'_>) -> Result<DeployReport> {
    run(store, request, control).map_err(ImageError::of("deploy", &request.disk))
}

fn run(store: &Store, request: &DeployRequest, control: &Control<'_>) -> Result<DeployReport> {
    let _lease = store.lease(&format!("deploy {}", request.disk))?;
    let manifest = store.chosen(&request.disk, request.image)?;
    let path = &request.target;
    let markers = Markers::of(path);
    let deploying = markers.deploying()?;
    let digest = store.believed_digest(&manifest)?;
    if deploying.is_none() && markers.deployed()?.is_some_and(|marker| marker.image == manifest.id) && path.exists() {
        return Ok(DeployReport { id: manifest.id, digest, size: manifest.size, written: 0, present: true });
    }
    let begun = deploying.filter(|marker| marker.image == manifest.id);
    let torn = match request.format {
        ImageFormat::Raw | ImageFormat::Ova => false,
        ImageFormat::Qcow2 => markers.deploying()?.is_some_and(|marker| !marker.reserved),
        // These formats have no way to reserve space without writing it: cut off anywhere, the disk is made anew.
        _ => markers.deploying()?.is_some(),
    };
    let begun = begun.filter(|_| !torn);
    if torn && path.exists() {
        // Killed while the tables were written: they cannot be trusted, and nothing else is there yet.
        empty(path, request.format)?;
    }
    let target = open_target(path, request.format)?;
    if target.size() < manifest.size {
        return Err(ImageError::TargetTooSmall { path: path.clone(), target: target.size(), image: manifest.size });
    }
    let mark = |next_chunk, reserved| markers.set_deploying(&Deploying { image: manifest.id, next_chunk, reserved });
    let stream = Stream { store, manifest: &manifest, control };
    let restore = Restore { stream, target: &*target, path, hold_head: true };
    let head = restore.head_chunks();
    let next_chunk = match begun {
        Some(marker) if marker.reserved => marker.next_chunk.max(head),
        _ => {
            mark(head, false)?;
            markers.remove_deployed()?;
            restore.prepare()?;
            mark(head, true)?;
            head
        }
    };
    let save = |next_chunk| mark(next_chunk, true);
    let written = restore.run(next_chunk, &save)?;
    if request.read_back {
        restore.read_back()?;
    }
    drop(target);
    markers.set_deployed(&Deployed {
        image: manifest.id,
        machine: manifest.machine.clone(),
        disk: manifest.disk.clone(),
        digest: digest.to_string(),
        size: manifest.size,
    })?;
    Ok(DeployReport { id: manifest.id, digest, size: manifest.size, written, present: false })
}

impl Store {
    /// The image that is meant when none, or one, is named.
    pub(super) fn chosen(&self, disk: &DiskName, image: Option<ImageId>) -> Result<Manifest> {
        if let Some(id) = image {
            return self.manifest(disk, id);
        }
        let sealed = super::set::newest_set(self, disk.machine())?
            .and_then(|set| set.disks.into_iter().find(|member| member.disk == disk.disk()));
        match sealed {
            Some(member) => self.manifest(disk, member.image),
            None => self.newest(disk),
        }
    }

    /// The digest that the manifest promises.
    pub(super) fn believed_digest(&self, manifest: &Manifest) -> Result<DiskDigest> {
        self.digest(manifest).ok_or_else(|| {
            let path = manifest.name().map_or_else(|_| self.images(), |name| self.manifest_path(&name, manifest.id));
            ImageError::damaged(&path, "its digest does not authenticate")
        })
    }
}

/// Writes an image to a disk; also what `export` does.
pub(super) struct Restore<'a> {
    pub(super) stream: Stream<'a>,
    pub(super) target: &'a dyn DiskWriter,
    pub(super) path: &'a Path,
    /// Whether the first MiB is written last, so that a half-written disk never boots; else all is written in order.
    pub(super) hold_head: bool,
}

/// Bytes of the disk between two records of how far it is.
const SAVE_EVERY: u64 = 256 << 20;
const SAVE_AFTER: Duration = Duration::from_secs(1);
/// A disk with more data than this is not left in the page cache: it would push everything else out.
pub(super) const KEPT_IN_CACHE: u64 = 1 << 30;
/// Threads beyond those that decode, because so many wait for the target.
const WRITERS: usize = 2;
/// Bytes that are read back at once, if a chunk is not longer.
const READ_BACK: usize = 4 << 20;
/// Kept back until the end.
const HEAD: u64 = 1 << 20;

impl Restore<'_> {
    /// Chunks that hold the first MiB.
    fn head_chunks(&self) -> u64 {
        let Manifest { chunk_size, data_chunks, zero_chunks, .. } = *self.stream.manifest;
        match self.hold_head {
            true => HEAD.div_ceil(chunk_size.into()).min(data_chunks + zero_chunks),
            false => 0,
        }
    }

    /// Empties the head and what lies behind the image on a larger target, and gives everything its place where the
    /// format keeps tables. Afterwards the target is durable so far.
    pub(super) fn prepare(&self) -> Result<()> {
        let Manifest { size, .. } = *self.stream.manifest;
        self.zero(size, self.target.size() - size)?;
        let head_end = self.stream.offset(self.head_chunks());
        if !self.target.keeps_tables() {
            self.zero(0, head_end)?;
            return self.flush();
        }
        self.stream.runs(
            0,
            Some,
            |_, run| Ok(run),
            |run| {
                let (start, end) = (self.stream.offset(run.chunk), self.stream.offset(run.end()));
                match run.content {
                    Content::Zeros(_) => self.zero(start, end - start),
                    Content::Data(_) => {
                        self.target.reserve(start, end - start).map_err(ImageError::target("preparing", self.path))?;
                        match end.min(head_end).saturating_sub(start) {
                            0 => Ok(()),
                            // What was there before must not boot, and clearing it later would change the tables.
                            len => self.put(&vec![0; len as usize], start),
                        }
                    }
                }
            },
        )?;
        self.flush()
    }

    /// Writes everything from `next_chunk` on, then the head; returns bytes of data written.
    pub(super) fn run(&self, next_chunk: u64, save: &dyn Fn(u64) -> Result<()>) -> Result<u64> {
        let head_chunks = self.head_chunks();
        let (mut head, mut written) = (Vec::new(), 0);
        let (mut saved, mut last, mut reached) = (next_chunk, Instant::now(), next_chunk);
        let buffers = Buffers::default();
        // Each thread writes what it decoded, or all is written here, in order.
        let at_once = self.target.any_order();
        let outcome = self.stream.runs(
            if at_once { WRITERS } else { 0 },
            |step| match step.chunk < head_chunks {
                true => {
                    head.push(step);
                    None
                }
                false => skip_to(step, next_chunk),
            },
            |reader, run| {
                let decoded = self.stream.decode(reader, &buffers, run)?;
                match at_once {
                    true => self.write(decoded, &buffers).map(Work::Done),
                    false => Ok(Work::Decoded(decoded)),
                }
            },
            |work| {
                let done = match work {
                    Work::Done(done) => done,
                    Work::Decoded(decoded) => self.write(decoded, &buffers)?,
                };
                (written, reached) = (written + done.bytes, done.end);
                self.stream.control.tick(self.stream.offset(reached), self.stream.manifest.size);
                if self.stream.offset(reached) - self.stream.offset(saved) >= SAVE_EVERY || last.elapsed() >= SAVE_AFTER
                {
                    self.flush()?;
                    save(reached)?;
                    if written > KEPT_IN_CACHE {
                        self.target.drop_cache(
                            self.stream.offset(saved),
                            self.stream.offset(reached) - self.stream.offset(saved),
                        );
                    }
                    (saved, last) = (reached, Instant::now());
                }
                Ok(())
            },
        );
        if let Err(error) = outcome {
            // Keep what is written, if that is possible, but report the error that stopped us.
            let _ = self.flush().and_then(|()| save(reached));
            return Err(error);
        }
        self.flush()?;
        save(self.stream.manifest.data_chunks + self.stream.manifest.zero_chunks)?;
        let mut reader = ChunkReader::new(self.stream.store)?;
        for run in self.stream.joined(head) {
            let decoded = self.stream.decode(&mut reader, &buffers, run)?;
            written += self.write(decoded, &buffers)?.bytes;
        }
        self.flush()?;
        Ok(written)
    }

    fn write(&self, (run, bytes): Decoded, buffers: &Buffers) -> Result<Done> {
        let (start, end) = (self.stream.offset(run.chunk), run.end());
        let bytes = match bytes {
            Some(bytes) => {
                self.put(&bytes, start)?;
                let len = bytes.len() as u64;
                buffers.give(bytes);
                len
            }
            None => {
                self.zero(start, self.stream.offset(end) - start)?;
                0
            }
        };
        Ok(Done { end, bytes })
    }

    fn put(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.target.write_at(bytes, offset).map_err(ImageError::target("writing", self.path))
    }

    fn zero(&self, offset: u64, len: u64) -> Result<()> {
        match len {
            0 => Ok(()),
            len => self.target.zero(offset, len).map_err(ImageError::target("writing", self.path)),
        }
    }

    fn flush(&self) -> Result<()> {
        self.target.flush().map_err(ImageError::target("flushing", self.path))
    }

    /// Reads the target and compares it with the map's digests.
    pub(super) fn read_back(&self) -> Result<()> {
        let chunk_size = self.stream.manifest.chunk_size as usize;
        let step = READ_BACK.max(chunk_size);
        let differs = |offset| ImageError::ReadBack { path: self.path.to_owned(), offset };
        let buffers = Buffers::default();
        // Calls `same` with each chunk's number in the run and its content.
        let each = |run: &Run, same: &dyn Fn(usize, &[u8]) -> bool| {
            let (start, end) = (self.stream.offset(run.chunk), self.stream.offset(run.end()));
            for (part, at) in (start..end).step_by(step).enumerate() {
                let mut buffer = buffers.take((end - at).min(step as u64) as usize);
                self.target.read_back(&mut buffer, at).map_err(ImageError::target("reading back", self.path))?;
                let first = part * (step / chunk_size);
                for (number, content) in (0..).zip(buffer.chunks(chunk_size)) {
                    if !same(first + number, content) {
                        return Err(differs(at + (number * chunk_size) as u64));
                    }
                }
                buffers.give(buffer);
            }
            Ok(())
        };
        self.stream.runs(
            WRITERS,
            Some,
            |_, run| match &run.content {
                Content::Zeros(_) => each(&run, &|_, content| is_zero(content)),
                Content::Data(digests) => {
                    each(&run, &|number, content| digests.get(number).is_some_and(|it| ChunkDigest::of(content) == *it))
                }
            },
            Ok,
        )
    }
}

/// A run, on its way to the target.
enum Work {
    Decoded(Decoded),
    Done(Done),
}

/// A run that is written.
struct Done {
    /// The chunk after its last.
    end: u64,
    /// Bytes of data.
    bytes: u64,
}

/// The part of a step that lies at or after chunk `from`.
fn skip_to(step: Step, from: u64) -> Option<Step> {
    let end = step.chunk + step.entry.chunks();
    match (step.entry, step.chunk >= from) {
        (_, true) => Some(step),
        (MapEntry::Zeros(_), false) if end > from => Some(Step { chunk: from, entry: MapEntry::Zeros(end - from) }),
        _ => None,
    }
}
