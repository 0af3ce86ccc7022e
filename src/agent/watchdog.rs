//! The machine's watchdog: a device that restarts the machine unless it is fed, fed only while the agent shows signs of life.
//!
//! Whatever the agent does next, it first says within what time the following sign will come; when that time has passed
//! without one, the agent hangs, nothing is fed any more, and the machine starts again, into the agent. A kernel that hangs
//! feeds nothing either.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The first watchdog of the machine: of its hardware if that has one, else the kernel's own.
const DEVICE: &str = "/dev/watchdog";
/// Drivers restart the machine after thirty seconds or more.
const FEED: Duration = Duration::from_secs(5);
/// Told to the device, it means that nobody is going to feed it because nobody needs to.
const DISARM: &[u8] = b"V";

/// The next sign of life of an agent that waits for work comes within this time.
pub(super) const IDLE: Duration = Duration::from_secs(10 * 60);
/// That of a step without a timeout of its own.
pub(super) const STEP: Duration = Duration::from_secs(3 * 3600);
/// That of a capture: a disk that dies takes long over each of its sectors, and so does a controller that is away.
pub(super) const CAPTURE: Duration = Duration::from_secs(45 * 60);

/// Until when the agent counts as alive, in milliseconds since [`begun`].
static ALIVE_UNTIL: AtomicU64 = AtomicU64::new(0);

fn begun() -> Instant {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    *BEGUN.get_or_init(Instant::now)
}

/// A sign of life; the next one comes within `time`.
pub(super) fn alive_for(time: Duration) {
    ALIVE_UNTIL.store(deadline(begun().elapsed(), time), Ordering::Relaxed);
}

fn deadline(now: Duration, time: Duration) -> u64 {
    u64::try_from((now + time).as_millis()).unwrap_or(u64::MAX)
}

fn is_alive() -> bool {
    begun().elapsed().as_millis() <= u128::from(ALIVE_UNTIL.load(Ordering::Relaxed))
}

/// An armed watchdog; disarmed when this is dropped.
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Arms the machine's watchdog; `None` if it has none. `hangs` is told when it is not fed any more.
    pub(super) fn arm(hangs: impl Fn() + Send + 'static) -> io::Result<Option<Self>> {
        match OpenOptions::new().write(true).open(DEVICE) {
            Ok(device) => Self::feeding(device, FEED, Arc::new(is_alive), hangs).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn feeding(
        mut device: File,
        every: Duration,
        alive: Arc<dyn Fn() -> bool + Send + Sync>,
        hangs: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        alive_for(IDLE);
        let (stop, stopped): (Sender<()>, Receiver<()>) = channel();
        let feed = move || {
            let mut said = false;
            loop {
                match alive() {
                    // A device that takes no food restarts the machine, and that is what it is for.
                    true => drop(device.write_all(b"1")),
                    false if !std::mem::replace(&mut said, true) => hangs(),
                    false => {}
                }
                match stopped.recv_timeout(every) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => break,
                }
            }
            // Without it the machine would be restarted on its way down.
            let _ = device.write_all(DISARM);
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(feed)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and nobody to say it to.
            let _ = thread.join();
        }
    }
}

/// Which driver serves it, for people.
pub(super) fn identity() -> String {
    let text = std::fs::read_to_string(Path::new("/sys/class/watchdog/watchdog0/identity")).unwrap_or_default();
    if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn it_is_fed_while_there_are_signs_of_life_and_disarmed_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (alive, told) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
        let (asked, hangs) = (alive.clone(), told.clone());
        let watchdog = Watchdog::feeding(
            file.reopen().unwrap(),
            Duration::from_millis(1),
            Arc::new(move || asked.load(Ordering::Relaxed)),
            move || {
                hangs.fetch_add(1, Ordering::Relaxed);
            },
        )
        .unwrap();
        let len = || std::fs::metadata(file.path()).unwrap().len();
        while len() < 5 {
            std::thread::yield_now();
        }
        alive.store(false, Ordering::Relaxed);
        while told.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        let hungry = len();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!((len(), told.load(Ordering::Relaxed)), (hungry, 1), "not fed any more, and said once");
        drop(watchdog);
        let all = std::fs::read(file.path()).unwrap();
        assert!(all.ends_with(b"1V") && all[..all.len() - 1].iter().all(|byte| *byte == b'1'));
    }

    #[test]
    fn each_sign_of_life_says_when_the_next_one_comes() {
        alive_for(Duration::from_secs(60));
        assert!(is_alive());
        assert_eq!(deadline(Duration::from_secs(1), Duration::from_secs(2)), 3000);
        assert_eq!(deadline(Duration::MAX / 2, Duration::from_secs(2)), u64::MAX);
    }
}
