//! When a capture's progress is made durable: chunks first, then the map frame that names them.

use std::time::{Duration, Instant};

use super::append::Appender;
use super::error::Result;
use super::map::{MapEntry, MapWriter};

/// A checkpoint after so many bytes read, so that a killed capture repeats little.
const EVERY_BYTES: u64 = 256 << 20;
/// And after so long, for slow sources.
const EVERY: Duration = Duration::from_secs(2);
/// And after so many entries, so that frames stay small.
const EVERY_ENTRIES: usize = 65_536;

/// Collects map entries and writes them in frames.
pub(super) struct Checkpoints<'a> {
    appender: &'a Appender<'a>,
    waiting: Vec<MapEntry>,
    bytes: u64,
    last: Instant,
}

impl<'a> Checkpoints<'a> {
    pub(super) fn new(appender: &'a Appender<'a>) -> Self {
        Self { appender, waiting: Vec::new(), bytes: 0, last: Instant::now() }
    }

    /// Adds entries, in disk order; `true` if this made a checkpoint.
    pub(super) fn add(&mut self, map: &mut MapWriter, entries: Vec<MapEntry>, bytes: u64) -> Result<bool> {
        for entry in entries {
            match (self.waiting.last_mut(), entry) {
                (Some(MapEntry::Zeros(before)), MapEntry::Zeros(count)) => *before += count,
                _ => self.waiting.push(entry),
            }
        }
        self.bytes += bytes;
        let due = self.bytes >= EVERY_BYTES || self.waiting.len() >= EVERY_ENTRIES || self.last.elapsed() >= EVERY;
        if due {
            self.write(map)?;
        }
        Ok(due)
    }

    /// Makes what was added durable.
    pub(super) fn write(&mut self, map: &mut MapWriter) -> Result<()> {
        self.appender.sync()?;
        if !self.waiting.is_empty() {
            map.append(&self.waiting)?;
            self.waiting.clear();
        }
        (self.bytes, self.last) = (0, Instant::now());
        Ok(())
    }
}
