//! The disk's side of a deploy elsewhere: the map first, then the contents of chunks over several connections, each
//! compared with its digest before it is written. The first MiB comes last.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::device::PageBuffer;
use crate::image::chunk::{ChunkDigest, DiskHasher, chunk_count, chunk_len};
use crate::image::codec::Decoder;
use crate::image::control::Control;
use crate::image::error::{ImageError, Result};
use crate::image::fan::fan;
use crate::image::manifest::ImageId;
use crate::units::ByteCount;

use super::batch::Entry;
use super::mark::{AT, LEN, Mark};
use super::parts::{Contents, MOST_WANTED, MapPart, Wanted};
use super::send::SinkError;
use super::target::DiskTarget;

/// Brings parts of an image. One per thread; it tries again by itself as long as that makes sense.
pub trait ImageGiver: Send {
    /// Bytes that came.
    type Answer: AsRef<[u8]> + Default;
    /// A [`MapPart`] that begins at chunk `first`.
    fn map(&mut self, first: u64) -> std::result::Result<Self::Answer, SinkError>;
    /// The [`Contents`] of a list of chunks, a [`Wanted`].
    fn contents(&mut self, wanted: Vec<u8>) -> std::result::Result<Self::Answer, SinkError>;
}

/// The image that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub image: ImageId,
    /// Bytes of the disk.
    pub size: u64,
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// The disk's digest, as it is written.
    pub digest: String,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes written to the disk, zeros not counted.
    pub written: u64,
    /// Bytes of content that came, as they were encoded.
    pub received: u64,
    /// Bytes of the disk that an earlier, cut-off deploy had done.
    pub resumed: u64,
}

/// Kept back until the end.
const HEAD: u64 = 1 << 20;
/// Bytes of content in one request: bounds memory, together with the number of threads.
const PIECE: u64 = 4 << 20;
/// Bytes of zeros that are written at once.
const ZEROS: u64 = 256 << 20;
/// When progress is made durable.
const SAVE_EVERY: u64 = 256 << 20;
const SAVE_AFTER: Duration = Duration::from_secs(2);

fn remote(error: impl Into<SinkError>) -> ImageError {
    ImageError::Remote { doing: "fetching the image", error: error.into() }
}

fn nonsense(what: String) -> ImageError {
    remote(what)
}

/// Reads the map from its begin, proves it, and cuts it into pieces of work.
struct Walk<G> {
    giver: G,
    chunk_size: u32,
    total: u64,
    next: u64,
    entries: std::vec::IntoIter<Entry>,
    hasher: DiskHasher,
    ahead: Option<(u64, Entry)>,
}

/// A run of chunks.
struct Piece {
    first: u64,
    entries: Vec<Entry>,
}

impl<G: ImageGiver> Walk<G> {
    /// The next entry, with the chunk that it begins at.
    fn entry(&mut self) -> Result<Option<(u64, Entry)>> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        if self.next >= self.total {
            return Ok(None);
        }
        let entry = match self.entries.next() {
            Some(entry) => entry,
            None => {
                let part = MapPart::decode(self.giver.map(self.next).map_err(remote)?.as_ref()).map_err(remote)?;
                if part.first != self.next {
                    return Err(nonsense(format!("the map goes on at chunk {}, not at {}", part.first, self.next)));
                }
                self.entries = part.entries.into_iter();
                self.entries.next().ok_or_else(|| nonsense("a part of the map is empty".into()))?
            }
        };
        let (first, end) = (self.next, self.next.checked_add(entry.chunks()));
        self.next =
            end.filter(|end| *end <= self.total).ok_or_else(|| nonsense("the map has too many chunks".into()))?;
        match entry {
            Entry::Zeros(count) => self.hasher.zeros(count),
            Entry::Chunk(digest) => self.hasher.chunk(&digest),
        }
        Ok(Some((first, entry)))
    }

    /// The next piece of chunks that lie all before `border` or all behind it.
    fn piece(&mut self, border: u64) -> Result<Option<Piece>> {
        let most_zeros = (ZEROS / u64::from(self.chunk_size)).max(1);
        let (mut piece, mut bytes): (Option<Piece>, u64) = (None, 0);
        while let Some((first, entry)) = self.entry()? {
            // Of a long run of zeros only so much now.
            let mut count = entry.chunks();
            if let Entry::Zeros(_) = entry {
                count = count.min(most_zeros);
                if first < border {
                    count = count.min(border - first);
                }
                if count < entry.chunks() {
                    self.ahead = Some((first + count, Entry::Zeros(entry.chunks() - count)));
                }
            }
            let entry = match entry {
                Entry::Zeros(_) => Entry::Zeros(count),
                chunk => chunk,
            };
            let content = match entry {
                Entry::Zeros(_) => 0,
                Entry::Chunk(_) => u64::from(self.chunk_size),
            };
            let Some(open) = &mut piece else {
                (piece, bytes) = (Some(Piece { first, entries: vec![entry] }), content);
                continue;
            };
            let full = bytes + content > PIECE || open.entries.len() >= MOST_WANTED;
            if full || first == border {
                // Back to where it was taken from, with what was cut off it.
                let rest = self.ahead.take().map_or(0, |(_, rest)| rest.chunks());
                self.ahead = Some(match entry {
                    Entry::Zeros(count) => (first, Entry::Zeros(count + rest)),
                    chunk => (first, chunk),
                });
                return Ok(piece);
            }
            bytes += content;
            open.entries.push(entry);
        }
        Ok(piece)
    }
}

/// One thread's way to the image.
struct Worker<G> {
    giver: G,
    decoder: Decoder,
    buffer: PageBuffer,
}

impl<G: ImageGiver> Worker<G> {
    fn new(giver: G) -> Result<Self> {
        let decoder = Decoder::new().map_err(remote)?;
        Ok(Self { giver, decoder, buffer: PageBuffer::default() })
    }

    /// Fetches a piece and gives each chunk's content to `put`, with its number; zeros as `None`.
    fn fetch(
        &mut self,
        offer: &Offer,
        piece: &Piece,
        mut put: impl FnMut(u64, u64, Option<&[u8]>) -> Result<()>,
    ) -> Result<u64> {
        // One content serves every chunk of the piece that has the same digest.
        let (mut wanted, mut places, mut chunk) = (Vec::new(), HashMap::<ChunkDigest, usize>::new(), piece.first);
        for entry in &piece.entries {
            if let Entry::Chunk(digest) = entry {
                places.entry(*digest).or_insert_with(|| {
                    wanted.push(chunk);
                    wanted.len() - 1
                });
            }
            chunk += entry.chunks();
        }
        let answer = match wanted.is_empty() {
            true => G::Answer::default(),
            false => self.giver.contents(Wanted(wanted.clone()).encode()).map_err(remote)?,
        };
        let contents = match wanted.is_empty() {
            true => Vec::new(),
            false => Contents::decode(answer.as_ref()).map_err(remote)?.0,
        };
        if contents.len() != wanted.len() {
            return Err(nonsense(format!("{} contents came for {} chunks", contents.len(), wanted.len())));
        }
        chunk = piece.first;
        for entry in &piece.entries {
            match entry {
                Entry::Zeros(count) => put(chunk, *count, None)?,
                Entry::Chunk(digest) => {
                    let (codec, encoded) = contents[places[digest]];
                    self.buffer.resize(chunk_len(offer.size, offer.chunk_size, chunk));
                    let plain = &mut self.buffer[..];
                    if !self.decoder.decode(codec, encoded, plain) || ChunkDigest::of(plain) != *digest {
                        return Err(nonsense(format!("chunk {chunk} arrived damaged: it is not what its digest says")));
                    }
                    put(chunk, 1, Some(plain))?;
                }
            }
            chunk += entry.chunks();
        }
        Ok(contents.iter().map(|(_, encoded)| encoded.len() as u64).sum())
    }
}

/// Puts an image on a disk, over as many connections as `control` has threads. Run again after any interruption, by
/// whomever, it goes on where the disk itself says that it stopped.
pub fn fetch_disk<G: ImageGiver>(
    target: &DiskTarget,
    offer: &Offer,
    connect: impl Fn() -> std::result::Result<G, SinkError> + Sync,
    control: &Control<'_>,
) -> Result<FetchReport> {
    let Offer { image, size, chunk_size, .. } = *offer;
    if !chunk_size.is_power_of_two() || !(4096..=64 << 20).contains(&chunk_size) || size == 0 {
        return Err(nonsense(format!("an image of {size} bytes in chunks of {chunk_size} is none")));
    }
    if target.size() < size {
        let path = target.path().to_owned();
        return Err(ImageError::TargetTooSmall { path, target: target.size(), image: size });
    }
    let total = chunk_count(size, chunk_size);
    let border = HEAD.div_ceil(u64::from(chunk_size)).min(total);
    let offset = |chunk: u64| (chunk * u64::from(chunk_size)).min(size);
    // A disk that is all head has nothing to go on with.
    let marked = size >= HEAD && border < total;
    let same = |mark: &Mark| (mark.image, mark.size, mark.chunk_size) == (image, size, chunk_size);
    let begun = target.mark()?.filter(same).filter(|mark| marked && (border..=total).contains(&mark.next_chunk));
    let mut mark = begun.unwrap_or(Mark { image, size, chunk_size, turn: 0, next_chunk: border });
    if begun.is_none() {
        // What was there before must not boot.
        target.zero(0, offset(border))?;
        target.flush()?;
        target.zero(size, target.size() - size)?;
    }
    let mut save = |reached: u64| -> Result<()> {
        target.flush()?;
        if marked {
            (mark.turn, mark.next_chunk) = (mark.turn + 1, reached);
            target.set_mark(&mark)?;
        }
        Ok(())
    };
    let resume = begun.map_or(border, |mark| mark.next_chunk);
    let mut report = FetchReport { resumed: offset(resume) - offset(border), ..FetchReport::default() };
    save(resume)?;
    let giver = connect().map_err(remote)?;
    let mut walk = Walk {
        giver,
        chunk_size,
        total,
        next: 0,
        entries: Vec::new().into_iter(),
        hasher: DiskHasher::new(size, chunk_size),
        ahead: None,
    };
    let (mut head, mut reached, mut saved, mut last) = (Vec::new(), resume, resume, Instant::now());
    let outcome = fan(
        control.thread_count(),
        control.thread_count(),
        || loop {
            if control.stopped() {
                return Ok(None);
            }
            let Some(piece) = walk.piece(border)? else { return Ok(None) };
            let end = piece.first + piece.entries.iter().map(Entry::chunks).sum::<u64>();
            match () {
                () if piece.first < border => head.push(piece),
                () if end <= resume => {}
                () => return Ok(Some((piece, end))),
            }
        },
        || Worker::new(connect().map_err(remote)?),
        |worker, (piece, end)| {
            let mut written = 0;
            let received = worker.fetch(offer, &piece, |chunk, count, content| match content {
                None => target.zero(offset(chunk), offset(chunk + count) - offset(chunk)),
                Some(content) => {
                    control.pace(content.len() as u64);
                    written += content.len() as u64;
                    target.write(content, offset(chunk))
                }
            })?;
            Ok((end, written, received))
        },
        |(end, written, received): (u64, u64, u64)| {
            report.written += written;
            report.received += received;
            reached = end;
            control.tick(offset(reached), size);
            if offset(reached) - offset(saved) >= SAVE_EVERY || last.elapsed() >= SAVE_AFTER {
                save(reached)?;
                (saved, last) = (reached, Instant::now());
            }
            Ok(())
        },
    );
    if let Err(error) = outcome {
        // Keep what is written, if that is possible, but report the error that stopped us.
        let _ = save(reached);
        return Err(error);
    }
    save(reached)?;
    if walk.next < total || reached < total {
        return Err(ImageError::Stopped { done: ByteCount(offset(reached)), total: ByteCount(size) });
    }
    let Walk { giver, hasher, .. } = walk;
    if hasher.finish().to_string() != offer.digest {
        return Err(nonsense("the map does not make the digest that was offered".into()));
    }
    let mut bytes = PageBuffer::default();
    bytes.resize(offset(border) as usize);
    bytes.fill(0);
    let mut worker = Worker::new(giver)?;
    for piece in &head {
        report.received += worker.fetch(offer, piece, |chunk, _, content| {
            if let Some(content) = content {
                let at = offset(chunk) as usize;
                bytes[at..at + content.len()].copy_from_slice(content);
                report.written += content.len() as u64;
            }
            Ok(())
        })?;
    }
    // The boot sector goes with the marks that it takes the place of, when everything else is durable.
    let boot = (AT as usize + 2 * LEN).min(bytes.len());
    target.write(&bytes[boot..], boot as u64)?;
    target.flush()?;
    target.write(&bytes[..boot], 0)?;
    target.flush()?;
    control.tick(size, size);
    Ok(report)
}
