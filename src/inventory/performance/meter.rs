//! One metric of one machine, sample by sample.

use std::collections::VecDeque;

use super::curve::Curve;
use super::histogram::Histogram;

/// A gap is longer than this many intervals.
const GAP: i64 = 3;
/// Times are within 30,000 years of 1970.
const FAR: i64 = 1_000_000_000_000;
/// Samples of the window that are kept; denser samples are joined.
const WINDOW_SAMPLES: i64 = 900;

/// What is kept of a metric.
#[derive(Clone, Debug)]
pub struct Meter {
    window: i64,
    first: i64,
    last: i64,
    samples: u64,
    interval: i64,
    gaps: u64,
    missing: i64,
    peak: u64,
    peak_at: i64,
    recent: VecDeque<(i64, u64, u32)>,
    recent_sum: u128,
    recent_count: u64,
    sustained: Option<(u64, i64)>,
    histogram: Histogram,
    /// The curve for drawing.
    pub curve: Curve,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// When the first sample was taken, in seconds.
    pub first: i64,
    /// When the last sample was taken.
    pub last: i64,
    /// How many there are.
    pub samples: u64,
    /// Seconds between samples.
    pub interval: u64,
    /// Gaps.
    pub gaps: u64,
    /// Seconds in gaps.
    pub missing: u64,
    /// The largest sample and when it was taken.
    pub peak: (u64, i64),
    /// The highest mean over a whole window, rounded up, and when that window ended.
    pub sustained: Option<(u64, i64)>,
    /// Half, 95 and 99 of 100 samples are at most this.
    pub percentiles: [u64; 3],
}

/// A sample that is older than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backwards {
    /// When the sample before was taken.
    pub before: i64,
}

impl Meter {
    /// A meter; a load must last for `window` seconds to count as sustained.
    pub fn new(window: u64) -> Self {
        Self {
            window: i64::try_from(window).unwrap_or(i64::MAX).max(1),
            first: 0,
            last: 0,
            samples: 0,
            interval: 0,
            gaps: 0,
            missing: 0,
            peak: 0,
            peak_at: 0,
            recent: VecDeque::new(),
            recent_sum: 0,
            recent_count: 0,
            sustained: None,
            histogram: Histogram::default(),
            curve: Curve::default(),
        }
    }

    /// Adds a sample; one of the same time as the sample before is a repetition and is left out.
    pub fn add(&mut self, time: i64, value: u64) -> Result<(), Backwards> {
        let time = time.clamp(-FAR, FAR);
        if self.samples == 0 {
            (self.first, self.peak_at) = (time, time);
        } else {
            let step = time.checked_sub(self.last).unwrap_or(i64::MAX);
            match step {
                0 => return Ok(()),
                step if step < 0 => return Err(Backwards { before: self.last }),
                step => self.step(step),
            }
        }
        self.last = time;
        self.samples += 1;
        if value > self.peak {
            (self.peak, self.peak_at) = (value, time);
        }
        self.histogram.add(value);
        self.curve.add(time, value);
        self.slide(time, value);
        Ok(())
    }

    fn step(&mut self, step: i64) {
        if self.interval == 0 || step < self.interval {
            self.interval = step;
        } else if step > self.interval.saturating_mul(GAP) {
            self.gaps += 1;
            self.missing = self.missing.saturating_add(step - self.interval);
            self.recent.clear();
            (self.recent_sum, self.recent_count) = (0, 0);
        }
    }

    fn slide(&mut self, time: i64, value: u64) {
        let grain = (self.window / WINDOW_SAMPLES).max(1);
        match self.recent.back_mut().filter(|(at, ..)| time - *at < grain) {
            Some((_, sum, count)) => {
                *sum = sum.saturating_add(value);
                *count += 1;
            }
            None => self.recent.push_back((time, value, 1)),
        }
        self.recent_sum += u128::from(value);
        self.recent_count += 1;
        while let Some((at, sum, count)) = self.recent.front().copied()
            && time - at >= self.window
        {
            self.recent.pop_front();
            self.recent_sum -= u128::from(sum);
            self.recent_count -= u64::from(count);
        }
        let Some((oldest, ..)) = self.recent.front() else { return };
        // A sample stands for the interval that ends with it.
        let covered = time - oldest + self.interval;
        if self.interval > 0 && covered >= self.window.min(self.window - self.interval / 2).max(1) {
            let mean = self.recent_sum.div_ceil(u128::from(self.recent_count.max(1)));
            let mean = u64::try_from(mean).unwrap_or(u64::MAX);
            if self.sustained.is_none_or(|(highest, _)| mean > highest) {
                self.sustained = Some((mean, time));
            }
        }
    }

    /// What came out; nothing if there was no sample.
    pub fn summary(&self) -> Option<Summary> {
        let percentile = |percent| Some(self.histogram.percentile(percent)?.min(self.peak));
        Some(Summary {
            first: self.first,
            last: self.last,
            samples: self.samples,
            interval: self.interval.unsigned_abs(),
            gaps: self.gaps,
            missing: self.missing.unsigned_abs(),
            peak: (self.peak, self.peak_at),
            sustained: self.sustained,
            percentiles: [percentile(50)?, percentile(95)?, percentile(99)?],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meter(samples: &[(i64, u64)]) -> Summary {
        let mut meter = Meter::new(900);
        samples.iter().for_each(|(time, value)| meter.add(*time, *value).unwrap());
        meter.summary().unwrap()
    }

    #[test]
    fn a_short_spike_is_a_peak_and_not_sustained() {
        let samples: Vec<(i64, u64)> =
            (0..120).map(|minute| (minute * 60, if minute == 50 { 10_000 } else { 1_000 })).collect();
        let summary = meter(&samples);
        assert_eq!(summary.peak, (10_000, 3_000));
        assert_eq!(summary.sustained.map(|(mean, _)| mean), Some(1_600), "(14 x 1000 + 10000) / 15");
        assert_eq!((summary.interval, summary.gaps), (60, 0));
    }

    #[test]
    fn a_window_never_reaches_over_a_gap() {
        let mut samples: Vec<(i64, u64)> = (0..10).map(|minute| (minute * 60, 9_000)).collect();
        samples.extend((100..130).map(|minute| (minute * 60, 500)));
        let summary = meter(&samples);
        assert_eq!(summary.sustained.map(|(mean, _)| mean), Some(500), "ten minutes are no window of fifteen");
        assert_eq!((summary.gaps, summary.missing), (1, 90 * 60));
    }

    #[test]
    fn time_does_not_go_backwards() {
        let mut meter = Meter::new(900);
        meter.add(100, 1).unwrap();
        meter.add(100, 5).unwrap();
        assert_eq!(meter.add(99, 1), Err(Backwards { before: 100 }));
        assert_eq!(meter.summary().map(|summary| summary.samples), Some(1));
    }

    proptest! {
        #[test]
        fn the_sliding_window_is_the_obvious_one(values in proptest::collection::vec(0u64..10_000, 1..200)) {
            let samples: Vec<(i64, u64)> = values.iter().enumerate().map(|(at, value)| (at as i64 * 60, *value)).collect();
            let obvious = values.windows(15).map(|window| window.iter().sum::<u64>().div_ceil(15)).max();
            prop_assert_eq!(meter(&samples).sustained.map(|(mean, _)| mean), obvious);
        }
    }
}
