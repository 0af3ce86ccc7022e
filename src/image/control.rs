//! How long work is steered from outside: progress ticks, a stop flag, a rate limit, a number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

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
    limit: Option<Limit>,
    threads: usize,
}

impl<'a> Control<'a> {
    /// `progress` is called from one thread at a time, often; once `stop` is true the work ends at its next
    /// checkpoint.
    pub fn new(stop: &'a AtomicBool, progress: &'a (dyn Fn(Tick) + Sync)) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One more than cores, so that one may wait for the disk.
        Self { stop, progress, limit: None, threads: cores + 1 }
    }

    /// Reads or writes at most so many bytes a second.
    pub fn limit(mut self, rate: Option<ByteRate>) -> Self {
        self.limit = rate.map(Limit::new);
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
        if let Some(limit) = &self.limit {
            limit.take(bytes, || self.stopped());
        }
    }
}

/// A bucket that refills at a rate; whoever takes more than is there waits for its own share.
struct Limit {
    rate: f64,
    /// When everything granted so far will have been paid for.
    paid: Mutex<Instant>,
}

impl Limit {
    fn new(rate: ByteRate) -> Self {
        Self { rate: rate.0.max(1) as f64, paid: Mutex::new(Instant::now()) }
    }

    fn take(&self, bytes: u64, stopped: impl Fn() -> bool) {
        let until = {
            let mut paid = self.paid.lock().expect("no thread panics while it counts");
            let start = (*paid).max(Instant::now());
            *paid = start + Duration::from_secs_f64(bytes as f64 / self.rate);
            *paid
        };
        while !stopped() {
            let wait = until.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            std::thread::sleep(wait.min(Duration::from_millis(100)));
        }
    }
}
