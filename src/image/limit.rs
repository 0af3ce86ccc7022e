//! Limits that work obeys while it runs: of one job, or a budget that many processes share; changed at any time by
//! writing another rate into a file.
//!
//! A limit counts what was asked for and what has passed. Whoever asks waits until what has passed reaches its own share,
//! at the rate of the moment: a change holds for those who wait already, too.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::time::{ClockId, clock_gettime};

use super::rate::RateSchedule;

/// Time, as far as limits need it; tests bring their own.
pub trait Clock: Send + Sync {
    /// Time since the machine was started; the same for all processes.
    fn since_boot(&self) -> Duration;
    /// The time of day.
    fn now(&self) -> Timestamp;
    /// Waits.
    fn sleep(&self, time: Duration);
}

/// The machine's own time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn since_boot(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// How often a waiting job looks again, and how often the file is read.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A limit on bytes per second.
pub struct Limit {
    schedule: RateSchedule,
    /// What the file said when it was read, and when that was.
    changed: Mutex<(Option<Duration>, Option<RateSchedule>)>,
    file: Option<PathBuf>,
    account: Account,
    clock: Arc<dyn Clock>,
}

/// What was asked for and what has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    asked: u64,
    passed: u64,
    /// Nanoseconds since boot when it was counted.
    at: u64,
}

enum Account {
    Own(Mutex<Counts>),
    /// A lock on a file holds for a process; the mutex for its threads.
    Shared(Mutex<File>),
}

impl Limit {
    /// A limit of one job. `file` may come to hold another rate at any time.
    pub fn own(schedule: RateSchedule, file: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self { schedule, changed: Mutex::default(), file, account: Account::Own(Mutex::default()), clock }
    }

    /// A budget that every process shares that names the same folder; `NAME.limit` there may hold another rate.
    pub fn shared(folder: &Path, name: &str, schedule: RateSchedule, clock: Arc<dyn Clock>) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.budget"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let own = Some(limit_file(folder, name));
        Ok(Self { schedule, changed: Mutex::default(), file: own, account: Account::Shared(Mutex::new(file)), clock })
    }

    /// Waits until `bytes` more may pass, or until `stopped`.
    pub(super) fn take(&self, bytes: u64, stopped: impl Fn() -> bool) {
        let mut mine = None;
        loop {
            let now = self.clock.since_boot();
            let rate = self.schedule(now).rate_at(self.clock.now());
            let counts = self.count(|counts| {
                let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
                // A clock that went back is one of another start of the machine.
                let since = nanoseconds.saturating_sub(counts.at);
                counts.passed = match rate {
                    None => counts.asked,
                    Some(rate) => {
                        let more = u128::from(rate.0) * u128::from(since) / 1_000_000_000;
                        counts.passed.saturating_add(more.try_into().unwrap_or(u64::MAX)).min(counts.asked)
                    }
                };
                counts.at = nanoseconds;
                if mine.is_none() {
                    counts.asked = counts.asked.saturating_add(bytes);
                    mine = Some(counts.asked);
                }
            });
            let left = mine.unwrap_or(0).saturating_sub(counts.passed);
            match rate {
                Some(rate) if left > 0 && !stopped() => {
                    let needed = Duration::from_secs_f64(left as f64 / rate.0.max(1) as f64);
                    self.clock.sleep(needed.clamp(Duration::from_micros(100), LOOK_AGAIN));
                }
                _ => return,
            }
        }
    }

    /// The schedule that holds now: the file's, else the one it was made with.
    fn schedule(&self, now: Duration) -> RateSchedule {
        let mut changed = self.changed.lock().expect("no thread panics while it reads a rate");
        if let Some(file) = &self.file
            && changed.0.is_none_or(|read| now.saturating_sub(read) >= READ_AGAIN)
        {
            // A file that is gone or does not make sense changes nothing.
            let text = std::fs::read_to_string(file).ok();
            *changed = (Some(now), text.and_then(|text| RateSchedule::parse(text.trim()).ok()));
        }
        changed.1.clone().unwrap_or_else(|| self.schedule.clone())
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) -> Counts {
        match &self.account {
            Account::Own(counts) => {
                let mut counts = counts.lock().expect("no thread panics while it counts");
                change(&mut counts);
                *counts
            }
            Account::Shared(file) => {
                let file = &*file.lock().expect("no thread panics while it counts");
                // A budget that cannot be locked or written is not kept, which is better than work that hangs.
                let locked = flock(file, FlockOperation::LockExclusive);
                let mut bytes = [0; 24];
                let read = file.read_exact_at(&mut bytes, 0);
                let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
                let mut counts = match read {
                    // No machine ever copies 4 EiB: larger counts are none.
                    Ok(()) if number(8) <= number(0) && number(0) < 1 << 62 => {
                        Counts { asked: number(0), passed: number(8), at: number(16) }
                    }
                    _ => Counts::default(),
                };
                change(&mut counts);
                let fields = [counts.asked, counts.passed, counts.at].map(u64::to_le_bytes);
                let _ = file.write_all_at(fields.as_flattened(), 0);
                if locked.is_ok() {
                    let _ = flock(file, FlockOperation::Unlock);
                }
                counts
            }
        }
    }
}

/// The file in which a limit's other rate is written.
pub fn limit_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.limit"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Time that passes only when somebody sleeps.
    struct Still {
        nanoseconds: AtomicU64,
        start: Timestamp,
    }

    impl Still {
        fn at(start: &str) -> Arc<Self> {
            Arc::new(Self { nanoseconds: AtomicU64::new(5_000_000_000), start: start.parse().unwrap() })
        }

        fn seconds(&self) -> f64 {
            self.since_boot().as_secs_f64() - 5.0
        }
    }

    impl Clock for Still {
        fn since_boot(&self) -> Duration {
            Duration::from_nanos(self.nanoseconds.load(Ordering::SeqCst))
        }

        fn now(&self) -> Timestamp {
            self.start
                + jiff::SignedDuration::from_nanos(self.nanoseconds.load(Ordering::SeqCst) as i64 - 5_000_000_000)
        }

        fn sleep(&self, time: Duration) {
            self.nanoseconds.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
        }
    }

    fn rate(text: &str) -> RateSchedule {
        RateSchedule::parse(text).unwrap()
    }

    fn take_all(limit: &Limit, times: u64, bytes: u64) {
        (0..times).for_each(|_| limit.take(bytes, || false));
    }

    #[test]
    fn so_many_bytes_take_so_long() {
        let clock = Still::at("2026-07-01T12:00:00Z");
        let limit = Limit::own(rate("10MBps"), None, clock.clone());
        take_all(&limit, 40, 1_000_000);
        assert!((3.99..4.02).contains(&clock.seconds()), "{}", clock.seconds());
        let free = Limit::own(rate("unlimited"), None, clock.clone());
        let before = clock.seconds();
        take_all(&free, 1000, 1_000_000);
        assert_eq!(clock.seconds(), before);
    }

    #[test]
    fn idle_time_is_not_saved_up() {
        let clock = Still::at("2026-07-01T12:00:00Z");
        let limit = Limit::own(rate("1MBps"), None, clock.clone());
        take_all(&limit, 1, 1_000_000);
        clock.sleep(Duration::from_secs(100));
        let before = clock.seconds();
        take_all(&limit, 5, 1_000_000);
        assert!(clock.seconds() - before >= 4.99, "{}", clock.seconds() - before);
    }

    #[test]
    fn the_hours_hold_while_the_work_runs() {
        let clock = Still::at("2026-07-01T17:59:58Z");
        let limit = Limit::own(rate("1MBps 08:00-18:00 else 100MBps in UTC"), None, clock.clone());
        // Two seconds at the slow rate, the rest at the fast one.
        take_all(&limit, 102, 1_000_000);
        assert!((2.9..3.2).contains(&clock.seconds()), "{}", clock.seconds());
    }

    #[test]
    fn a_rate_that_is_written_holds_within_a_second() {
        let folder = tempfile::tempdir().unwrap();
        let file = limit_file(folder.path(), "web01");
        let clock = Still::at("2026-07-01T12:00:00Z");
        let limit = Limit::own(rate("1MBps"), Some(file.clone()), clock.clone());
        take_all(&limit, 2, 1_000_000);
        std::fs::write(&file, "100MBps\n").unwrap();
        take_all(&limit, 200, 1_000_000);
        assert!((2.0..5.2).contains(&clock.seconds()), "{}", clock.seconds());
        std::fs::write(&file, "nonsense").unwrap();
        clock.sleep(Duration::from_secs(2));
        let before = clock.seconds();
        take_all(&limit, 3, 1_000_000);
        assert!(clock.seconds() - before > 2.9, "nonsense changes nothing: the first rate holds again");
    }

    #[test]
    fn one_budget_holds_for_all_who_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Still::at("2026-07-01T12:00:00Z");
        let share = || Limit::shared(folder.path(), "lan", rate("10MBps"), clock.clone()).unwrap();
        let (one, two) = (share(), share());
        for _ in 0..20 {
            one.take(1_000_000, || false);
            two.take(1_000_000, || false);
        }
        assert!((3.99..4.02).contains(&clock.seconds()), "40 MB at 10 MB/s: {}", clock.seconds());
        // Counts that are no counts, as after a crash of the machine.
        std::fs::write(folder.path().join("lan.budget"), [0xff; 24]).unwrap();
        let before = clock.seconds();
        take_all(&share(), 10, 1_000_000);
        assert!(clock.seconds() - before < 1.2, "{}", clock.seconds() - before);
    }

    #[test]
    fn who_is_stopped_waits_no_longer() {
        let clock = Still::at("2026-07-01T12:00:00Z");
        let limit = Limit::own(rate("1Bps"), None, clock.clone());
        limit.take(1 << 40, || clock.seconds() > 1.0);
        assert!(clock.seconds() < 1.3, "{}", clock.seconds());
    }
}
