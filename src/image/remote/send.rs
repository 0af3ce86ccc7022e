//! The disk's side: read, hash, ask, send what is lacking.

use std::collections::HashSet;
use std::ops::Range;

use crate::image::chunk::{ChunkDigest, is_zero};
use crate::image::codec::{Compression, Encoder};
use crate::image::control::Control;
use crate::image::error::{ImageError, Result};
use crate::image::fan::fan;
use crate::image::format::DiskReader;
use crate::image::source::{OnReadError, ReadFault, read_past};
use crate::image::walk::{Piece, Walk};

use super::batch::{Batch, BatchAnswer, Entry, push_content};

/// Why a sink does not take a batch; its own words.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// Takes batches to the receiver. One per thread; it tries again by itself as long as that makes sense.
pub trait BatchSink {
    /// Delivers a batch and brings the answer. What is left in `batch` is a buffer for the next one.
    fn deliver(&mut self, batch: &mut Vec<u8>) -> std::result::Result<BatchAnswer, SinkError>;
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Bytes read from the disk.
    pub read: u64,
    /// Bytes of content that travelled, as they were encoded.
    pub sent: u64,
    /// Bytes of content that needed not travel.
    pub known: u64,
    /// Bytes that the medium did not give; they are zeros.
    pub unreadable: u64,
}

/// Bytes of content in one batch: bounds memory, together with the number of threads.
const BATCH_BYTES: u64 = 4 << 20;
/// Runs of zeros that may go into one batch.
const BATCH_PIECES: usize = 256;

fn reading(error: std::io::Error) -> ImageError {
    ImageError::Remote { doing: "reading the disk", error: Box::new(error) }
}

fn faulty(fault: ReadFault) -> ImageError {
    match fault {
        ReadFault::Other(error) => reading(error),
        bad => ImageError::Remote { doing: "reading the disk", error: Box::new(bad) },
    }
}

/// What is sent.
struct Source<'a> {
    disk: &'a dyn DiskReader,
    chunk_size: u32,
    on_error: OnReadError,
    control: &'a Control<'a>,
}

/// One thread's buffers and its way to the receiver.
struct Worker<S> {
    content: Vec<u8>,
    bytes: Vec<u8>,
    encoder: Encoder,
    sink: S,
}

/// A batch without contents, and where in the buffer the content of each of its entries lies.
struct Gathered {
    batch: Batch<'static>,
    places: Vec<(u32, Range<usize>)>,
}

impl<S: BatchSink> Worker<S> {
    /// Reads and hashes pieces that begin at chunk `first`.
    fn gather(
        &mut self,
        source: &Source<'_>,
        first: u64,
        pieces: Vec<Piece>,
        done: &mut SendReport,
    ) -> Result<Gathered> {
        let Source { disk, chunk_size, on_error, control } = *source;
        let (mut entries, mut unreadable) = (Vec::new(), Vec::<Range<u64>>::new());
        let (mut places, mut end) = (Vec::new(), 0);
        for piece in pieces {
            let (first, count) = match piece {
                Piece::Zeros { count } => {
                    push_zeros(&mut entries, count);
                    continue;
                }
                Piece::Read { first, count, .. } => (first, count),
            };
            let offset = first * u64::from(chunk_size);
            let len = (disk.size() - offset).min(count * u64::from(chunk_size));
            control.pace(len);
            done.read += len;
            // What was just read is still in the processor's cache when it is hashed, if that follows at once.
            let step = if disk.reads_cheaply() { u64::from(chunk_size) } else { len };
            for at in (offset..offset + len).step_by(step as usize) {
                let room = end..end + (offset + len - at).min(step) as usize;
                if self.content.len() < room.end {
                    self.content.resize(room.end, 0);
                }
                for lost in read_past(disk, &mut self.content[room.clone()], at, on_error).map_err(faulty)? {
                    done.unreadable += lost.end - lost.start;
                    match unreadable.last_mut() {
                        Some(last) if last.end == lost.start => last.end = lost.end,
                        _ => unreadable.push(lost),
                    }
                }
                let mut start = room.start;
                for content in self.content[room].chunks(chunk_size as usize) {
                    let place = start..start + content.len();
                    start = place.end;
                    if is_zero(content) {
                        push_zeros(&mut entries, 1);
                        continue;
                    }
                    places.push((entries.len() as u32, place));
                    entries.push(Entry::Chunk(ChunkDigest::of(content)));
                    // Zeros behind it need no place.
                    end = start;
                }
            }
        }
        Ok(Gathered { batch: Batch { first, entries, unreadable, contents: Vec::new() }, places })
    }

    /// Asks what the receiver lacks, and sends it.
    fn deliver(&mut self, gathered: &Gathered, done: &mut SendReport) -> Result<()> {
        let Gathered { batch, places } = gathered;
        let bare = batch.encode();
        // Bytes of content, before encoding, that the batch under way carries.
        let mut carried = 0;
        self.bytes.clear();
        self.bytes.extend_from_slice(&bare);
        // A receiver may lose something between two answers, but not again and again.
        for _ in 0..5 {
            let delivery = ImageError::remote("handing chunks to the store");
            let lacking = match self.sink.deliver(&mut self.bytes).map_err(delivery)? {
                BatchAnswer::Accepted => {
                    done.known = places.iter().map(|(_, place)| place.len() as u64).sum::<u64>() - carried;
                    return Ok(());
                }
                BatchAnswer::Lacking(lacking) => lacking,
            };
            carried = 0;
            self.bytes.clear();
            self.bytes.extend_from_slice(&bare);
            let mut carries = HashSet::new();
            for (entry, place) in places.iter().filter(|(entry, _)| lacking.contains(entry)) {
                // One content serves every entry behind it that has the same digest.
                if let Some(Entry::Chunk(digest)) = batch.entries.get(*entry as usize)
                    && !carries.insert(*digest)
                {
                    continue;
                }
                let content = &self.content[place.clone()];
                let (codec, encoded) = self.encoder.encode(content).map_err(reading)?;
                push_content(&mut self.bytes, *entry, codec, encoded);
                done.sent += encoded.len() as u64;
                carried += content.len() as u64;
            }
        }
        let endless = std::io::Error::other("it lacks what it was just given");
        Err(ImageError::Remote { doing: "handing chunks to the store", error: Box::new(endless) })
    }
}

/// Reads a disk from chunk `next` on and delivers it through sinks, as many at once as `control` has threads. What the
/// medium does not give is an error, or zeros that the receiver is told of.
pub fn send_disk<S: BatchSink>(
    disk: &dyn DiskReader,
    chunk_size: u32,
    next: u64,
    compression: Compression,
    on_error: OnReadError,
    connect: impl Fn() -> std::result::Result<S, SinkError> + Sync,
    control: &Control<'_>,
) -> Result<SendReport> {
    let size = disk.size();
    let source = Source { disk, chunk_size, on_error, control };
    let mut walk = Walk::new(disk, chunk_size, next);
    let mut first = next;
    let mut ahead: Option<Piece> = None;
    let mut report = SendReport::default();
    let mut reached = next;
    fan(
        control.thread_count(),
        control.thread_count(),
        || {
            if control.stopped() {
                return Ok(None);
            }
            let (begin, mut pieces, mut bytes) = (first, Vec::new(), 0);
            while pieces.len() < BATCH_PIECES {
                let piece = match ahead.take() {
                    Some(piece) => Some(piece),
                    None => walk.next().map_err(reading)?,
                };
                let Some(piece) = piece else { break };
                let (count, content) = match piece {
                    Piece::Zeros { count } => (count, 0),
                    Piece::Read { count, .. } => (count, count * u64::from(chunk_size)),
                };
                if !pieces.is_empty() && bytes + content > BATCH_BYTES {
                    ahead = Some(piece);
                    break;
                }
                bytes += content;
                first += count;
                pieces.push(piece);
            }
            Ok((!pieces.is_empty()).then_some((begin, pieces)))
        },
        || {
            let encoder = Encoder::new(compression, chunk_size).map_err(reading)?;
            let sink = connect().map_err(|error| ImageError::Remote { doing: "connecting to the store", error })?;
            Ok(Worker { content: Vec::new(), bytes: Vec::new(), encoder, sink })
        },
        |worker, (begin, pieces)| {
            let mut done = SendReport::default();
            let gathered = worker.gather(&source, begin, pieces, &mut done)?;
            worker.deliver(&gathered, &mut done)?;
            Ok((begin + gathered.batch.chunks().unwrap_or(0), done))
        },
        |(end, done): (u64, SendReport)| {
            report.read += done.read;
            report.sent += done.sent;
            report.known += done.known;
            report.unreadable += done.unreadable;
            reached = end;
            control.tick((reached * u64::from(chunk_size)).min(size), size);
            Ok(())
        },
    )?;
    if reached < size.div_ceil(u64::from(chunk_size)) {
        let done = crate::units::ByteCount((reached * u64::from(chunk_size)).min(size));
        return Err(ImageError::Stopped { done, total: crate::units::ByteCount(size) });
    }
    Ok(report)
}

fn push_zeros(entries: &mut Vec<Entry>, count: u64) {
    match entries.last_mut() {
        Some(Entry::Zeros(before)) => *before += count,
        _ => entries.push(Entry::Zeros(count)),
    }
}
