//! How long work is steered from outside: progress ticks, a stop flag, a rate limit, a number of threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::limit::{Limit, SystemClock};
use super::rate::RateSchedule;
use crate::units::ByteRate;

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Bytes of the disk that are done, holes included.
    pub done: u64,
    /// Bytes of the disk.
    pub total: u64,
}

/// What the caller holds on to while work runs.
pub struct Control<'a> {
    stop: &'a AtomicBool,
    progress: &'a (dyn Fn(Tick) + Sync),
    limits: Vec<Limit>,
    threads: usize,
}

impl<'a> Control<'a> {
    /// `progress` is called from one thread at a time, often; once `stop` is true the work ends at its next
    /// checkpoint.
    pub fn new(stop: &'a AtomicBool, progress: &'a (dyn Fn(Tick) + Sync)) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One more than cores, so that one may wait for the disk.
        Self { stop, progress, limits: Vec::new(), threads: cores + 1 }
    }

    /// Reads or writes at most so many bytes a second.
    pub fn limit(self, rate: Option<ByteRate>) -> Self {
        let limit = rate.map(|rate| Limit::own(RateSchedule::always(Some(rate)), None, Arc::new(SystemClock)));
        self.limits(limit)
    }

    /// Obeys further limits; all of them hold.
    pub fn limits(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits.extend(limits);
        self
    }

    /// Uses so many threads instead of as many as fit the processor.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn tick(&self, done: u64, total: u64) {
        (self.progress)(Tick { done, total });
    }

    pub(super) fn thread_count(&self) -> usize {
        self.threads
    }

    /// Waits until `bytes` more may pass.
    pub(super) fn pace(&self, bytes: u64) {
        for limit in &self.limits {
            limit.take(bytes, || self.stopped());
        }
    }
}
