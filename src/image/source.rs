//! The source of a capture: opened with or without its used-block map, read in spite of bad sectors where that is
//! asked for, and compared with what it was when the capture began.

use std::io;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{ImageError, Result};
use super::format::{DiskReader, open_source, source_identity};
use super::manifest::SourceRecord;
use super::used::{Region, UsedDisk, is_medium_error};
use crate::hardware::DiskFormat as ImageFormat;
use crate::units::ByteCount;

/// Which parts of a disk are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadMode {
    /// What file systems have allocated, and whatever is not understood.
    #[default]
    Used,
    /// Everything.
    Whole,
}

/// What to do about bytes that the medium does not give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReadError {
    /// The capture fails and names them.
    #[default]
    Fail,
    /// They become zeros, and image and report name them.
    ZeroAndReport,
}

/// How a source is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadPlan {
    /// Which parts.
    pub mode: ReadMode,
    /// What about bad sectors.
    pub on_error: OnReadError,
}

impl ReadPlan {
    /// What every image satisfies.
    pub(super) const ANY: Self = Self { mode: ReadMode::Used, on_error: OnReadError::ZeroAndReport };

    /// Whether an image that was read so holds at least what this plan asks for.
    pub(super) fn is_satisfied_by(&self, reading: &Reading) -> bool {
        (self.mode == ReadMode::Used || reading.mode == ReadMode::Whole)
            && (self.on_error == OnReadError::ZeroAndReport || reading.unreadable.is_empty())
    }
}

/// How a source was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Which parts.
    pub mode: ReadMode,
    /// What was recognised, in disk order; nothing was looked at if everything was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// Bytes that the medium did not give; the image has zeros there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Range<u64>>,
    /// What is known of a disk that was in use while it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// A disk that was in use while it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Live {
    /// Whether all of it was read from one state of the disk.
    pub consistent: bool,
    /// How that is known, for people.
    pub how: String,
}

impl Reading {
    /// Everything was read.
    pub(super) fn whole() -> Self {
        Self { mode: ReadMode::Whole, regions: Vec::new(), unreadable: Vec::new(), live: None }
    }

    /// What a person should know: file systems that had to be read whole, and bytes that are lost.
    pub fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.regions.iter().flat_map(Region::warnings).collect();
        lines.extend(self.unreadable.iter().map(|Range { start, end }| {
            format!("{} at byte {start} could not be read and are zeros in the image", ByteCount(end - start))
        }));
        lines.extend(
            self.live.iter().filter(|live| !live.consistent).map(|live| {
                format!("NOT CONSISTENT: {}; a later capture by the agent moves only what differs", live.how)
            }),
        );
        lines
    }

    /// Adds ranges that could not be read, in any order.
    pub(super) fn add_unreadable(&mut self, ranges: Vec<Range<u64>>) {
        if ranges.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.unreadable).into_iter().chain(ranges).collect();
        self.unreadable = super::used::Ranges::from_unsorted(all).as_slice().to_vec();
    }
}

/// What a capture is begun with, and gone on with only if it is the same.
pub(super) struct Origin<'a> {
    pub(super) record: &'a SourceRecord,
    pub(super) size: u64,
    pub(super) reading: &'a Reading,
    /// Digest of the ranges that are read.
    pub(super) ranges: blake3::Hash,
}

/// Separate bad ranges that a disk may have before it is too broken to go on.
const MOST_UNREADABLE: usize = 4096;
/// How finely bad sectors are told from good ones: the kernel reads pages.
const STEPS: [u64; 2] = [64 << 10, 4 << 10];

/// Why a disk could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
    /// The medium is bad, and that is no reason to go on.
    #[error(
        "bytes {} to {} of the disk cannot be read: the medium is bad there. Way out: with `capture: {{ on_read_error: \
         zero-and-report }}` they become zeros and the image names them", range.start, range.end
    )]
    Bad {
        /// The bytes.
        range: Range<u64>,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// Something else.
    #[error(transparent)]
    Other(io::Error),
}

/// Fills `buffer` from `offset`; returns what could not be read and is zeros now.
pub(super) fn read_past(
    disk: &dyn DiskReader,
    buffer: &mut [u8],
    offset: u64,
    on_error: OnReadError,
) -> std::result::Result<Vec<Range<u64>>, ReadFault> {
    match disk.read_at(buffer, offset) {
        Ok(()) => Ok(Vec::new()),
        Err(error) if is_medium_error(&error) => {
            let mut bad = Vec::new();
            read_around(disk, buffer, offset, on_error, &STEPS, &mut bad)?;
            Ok(bad)
        }
        Err(error) => Err(ReadFault::Other(error)),
    }
}

/// Reads in ever smaller steps, so that no more than the bad pages is lost.
fn read_around(
    disk: &dyn DiskReader,
    buffer: &mut [u8],
    offset: u64,
    on_error: OnReadError,
    steps: &[u64],
    bad: &mut Vec<Range<u64>>,
) -> std::result::Result<(), ReadFault> {
    let Some((step, finer)) = steps.split_first() else { return Ok(()) };
    for (index, part) in buffer.chunks_mut(*step as usize).enumerate() {
        let start = offset + index as u64 * step;
        match disk.read_at(part, start) {
            Ok(()) => {}
            Err(error) if !is_medium_error(&error) => return Err(ReadFault::Other(error)),
            Err(_) if !finer.is_empty() => read_around(disk, part, start, on_error, finer, bad)?,
            Err(error) => {
                let end = start + part.len() as u64;
                if on_error == OnReadError::Fail {
                    return Err(ReadFault::Bad { range: start..end, error });
                }
                part.fill(0);
                match bad.last_mut() {
                    Some(last) if last.end == start => last.end = end,
                    _ => bad.push(start..end),
                }
            }
        }
    }
    Ok(())
}

/// A disk that loses this much is not captured but rescued.
pub(super) fn check_unreadable(name: &str, reading: &Reading) -> Result<()> {
    match reading.unreadable.len() > MOST_UNREADABLE {
        true => Err(ImageError::Refused {
            what: format!(
                "{name} has more than {MOST_UNREADABLE} separate ranges that cannot be read: copy it with a rescue \
                 tool first (Debian package gddrescue) and capture the copy"
            ),
        }),
        false => Ok(()),
    }
}

/// An open source.
pub(super) struct Source<'a> {
    record: &'a SourceRecord,
    pub(super) disk: Box<dyn DiskReader>,
    reading: Reading,
    ranges: blake3::Hash,
    on_error: OnReadError,
    path: &'a Path,
    format: ImageFormat,
}

impl<'a> Source<'a> {
    pub(super) fn open(path: &'a Path, format: ImageFormat, plan: ReadPlan, record: &'a SourceRecord) -> Result<Self> {
        let disk = open_source(path, format)?;
        let mut reading = Reading { mode: plan.mode, regions: Vec::new(), unreadable: Vec::new(), live: None };
        let mut hasher = blake3::Hasher::new();
        let disk: Box<dyn DiskReader> = match plan.mode {
            ReadMode::Whole => disk,
            ReadMode::Used => {
                let disk = UsedDisk::new(disk).map_err(ImageError::file("reading the partitions of", path))?;
                reading.regions = disk.map().regions.clone();
                for range in disk.map().ranges.as_slice() {
                    hasher.update(&range.start.to_le_bytes()).update(&range.end.to_le_bytes());
                }
                Box::new(disk)
            }
        };
        Ok(Self { record, disk, reading, ranges: hasher.finalize(), on_error: plan.on_error, path, format })
    }

    pub(super) fn size(&self) -> u64 {
        self.disk.size()
    }

    pub(super) fn origin(&self) -> Origin<'_> {
        Origin { record: self.record, size: self.size(), reading: &self.reading, ranges: self.ranges }
    }

    /// Fills `buffer` from `offset`; returns what could not be read and is zeros now.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<Vec<Range<u64>>> {
        read_past(&*self.disk, buffer, offset, self.on_error).map_err(|fault| match fault {
            ReadFault::Bad { range: Range { start, end }, error } => {
                ImageError::BadSector { path: self.path.to_owned(), start, end, error }
            }
            ReadFault::Other(error) => self.read_error(error),
        })
    }

    /// Whether so much is lost that a capture is no use.
    pub(super) fn check_unreadable(&self, reading: &Reading) -> Result<()> {
        check_unreadable(&self.path.display().to_string(), reading)
    }

    /// A read past the end means that the source shrank.
    fn read_error(&self, error: io::Error) -> ImageError {
        let now = match error.kind() == io::ErrorKind::UnexpectedEof {
            true => self.size_now(),
            false => None,
        };
        match now.filter(|now| *now < self.size()) {
            Some(found) => self.shrank(found),
            None => ImageError::file("reading", self.path)(error),
        }
    }

    fn size_now(&self) -> Option<u64> {
        open_source(self.path, self.format).map(|now| now.size()).ok()
    }

    fn shrank(&self, found: u64) -> ImageError {
        ImageError::SourceShrank { path: self.path.to_owned(), expected: self.size(), found }
    }

    /// The source must be at the end what it was at the begin; otherwise the image would mix two states.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let now = source_identity(self.path, self.format).map_err(ImageError::file("looking at", self.path))?;
        if now == self.record.identity {
            return Ok(());
        }
        match self.size_now().filter(|size| *size < self.size()) {
            Some(found) => Err(self.shrank(found)),
            None => Err(changed(self.path, &self.record.identity, now)),
        }
    }
}

pub(super) fn changed(path: &Path, expected: &str, found: String) -> ImageError {
    ImageError::SourceChanged { path: path.to_owned(), expected: expected.to_owned(), found }
}
