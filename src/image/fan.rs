//! The one pipeline of this module: a source of work in order, threads that do it side by side, a sink that sees the
//! results in order. What is in flight is bounded, so memory is.
//!
//! ```text
//! next (one at a time) --> work (threads) --> sink (the caller's thread, in order)
//!        ^------------------ a permit per item --------------------'
//! ```
//! A thread takes its permit before it asks for work, so the oldest item in flight always has one: no deadlock.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::error::Result;

/// Runs until `next` gives nothing, or an error. At most `window` items are between `next` and `sink`.
pub(super) fn fan<T, R: Send, S>(
    threads: usize,
    window: usize,
    next: impl FnMut() -> Result<Option<T>> + Send,
    state: impl Fn() -> Result<S> + Sync,
    work: impl Fn(&mut S, T) -> Result<R> + Sync,
    mut sink: impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let source = Mutex::new((next, 0u64, false));
    let abort = AtomicBool::new(false);
    let (give_permit, permits) = channel();
    for _ in 0..window.max(threads) {
        give_permit.send(()).expect("the receiver is alive");
    }
    let permits: Mutex<Receiver<()>> = Mutex::new(permits);
    let (send, results) = channel::<(u64, Result<R>)>();

    let claim = || -> Result<Option<(u64, T)>> {
        let permit = permits.lock().expect("no thread panics while it waits").recv();
        if permit.is_err() || abort.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (next, number, ended) = &mut *source.lock().expect("no thread panics while it claims");
        if *ended {
            return Ok(None);
        }
        match next() {
            Ok(Some(item)) => {
                *number += 1;
                Ok(Some((*number - 1, item)))
            }
            Ok(None) => {
                *ended = true;
                Ok(None)
            }
            Err(error) => {
                *ended = true;
                Err(error)
            }
        }
    };

    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (send, claim, state, work, abort) = (send.clone(), &claim, &state, &work, &abort);
            scope.spawn(move || {
                // A failure outside any item goes to the end of the line: whatever is before it is still delivered.
                let failed = |error| {
                    abort.store(true, Ordering::Relaxed);
                    let _ = send.send((u64::MAX, Err(error)));
                };
                let mut state = match state() {
                    Ok(state) => state,
                    Err(error) => return failed(error),
                };
                loop {
                    match claim() {
                        Ok(Some((number, item))) => {
                            let result = work(&mut state, item);
                            if result.is_err() {
                                abort.store(true, Ordering::Relaxed);
                            }
                            if send.send((number, result)).is_err() {
                                return;
                            }
                        }
                        Ok(None) => return,
                        Err(error) => return failed(error),
                    }
                }
            });
        }
        drop(send);
        let outcome = deliver(&results, &give_permit, &mut sink);
        if outcome.is_err() {
            abort.store(true, Ordering::Relaxed);
        }
        // Wakes whoever still waits for a permit.
        drop(give_permit);
        outcome
    })
}

/// Gives the results to the sink in order; of several errors, the first in order is returned.
fn deliver<R>(
    results: &Receiver<(u64, Result<R>)>,
    give_permit: &std::sync::mpsc::Sender<()>,
    sink: &mut impl FnMut(R) -> Result<()>,
) -> Result<()> {
    let (mut waiting, mut expected, mut late) = (BTreeMap::new(), 0u64, None);
    for (number, result) in results {
        match (number, result) {
            (u64::MAX, Err(error)) => late = late.or(Some(error)),
            (_, result) => drop(waiting.insert(number, result)),
        }
        while let Some(result) = waiting.remove(&expected) {
            expected += 1;
            sink(result?)?;
            let _ = give_permit.send(());
        }
    }
    match (late, waiting.into_values().find_map(Result::err)) {
        (Some(error), _) | (None, Some(error)) => Err(error),
        (None, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageError;
    use std::sync::atomic::AtomicU64;

    fn refused(what: &str) -> ImageError {
        ImageError::Refused { what: what.into() }
    }

    #[test]
    fn results_arrive_in_order_and_few_are_in_flight() {
        let (mut given, taken, most) = (0u64, AtomicU64::new(0), AtomicU64::new(0));
        let mut seen = Vec::new();
        fan(
            4,
            8,
            || {
                given += 1;
                most.fetch_max(given - taken.load(Ordering::SeqCst), Ordering::SeqCst);
                Ok((given <= 1000).then_some(given))
            },
            || Ok(()),
            |(), number| Ok(number * 2),
            |result| {
                seen.push(result);
                taken.fetch_add(1, Ordering::SeqCst);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, (1..=1000).map(|number| number * 2).collect::<Vec<_>>());
        assert!(most.into_inner() <= 9);
    }

    #[test]
    fn an_error_anywhere_ends_the_run() {
        for failing in 0..3 {
            let mut given = 0;
            let mut delivered = 0;
            let error = fan(
                3,
                6,
                || {
                    given += 1;
                    if failing == 0 && given == 50 { Err(refused("next")) } else { Ok(Some(given)) }
                },
                || Ok(()),
                |(), number| if failing == 1 && number == 50 { Err(refused("work")) } else { Ok(number) },
                |number| {
                    delivered = number;
                    if failing == 2 && number == 50 { Err(refused("sink")) } else { Ok(()) }
                },
            )
            .unwrap_err();
            assert_eq!(error.to_string(), ["next", "work", "sink"][failing]);
            assert!(delivered <= 50);
        }
    }
}
