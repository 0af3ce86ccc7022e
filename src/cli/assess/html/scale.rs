//! Axes: round numbers for amounts, round times for times.

use jiff::Timestamp;

use crate::assess::sizing::BitRate;
use crate::units::{ByteCount, Percent};

/// What a curve counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Hundredths of a percent.
    Percent,
    /// Bytes.
    Bytes,
    /// Bytes per second, shown as bits.
    Rate,
    /// Things per second.
    PerSecond,
}

impl Unit {
    /// The value for people.
    pub fn text(self, value: u64) -> String {
        match self {
            Self::Percent => Percent(u32::try_from(value).unwrap_or(u32::MAX)).to_string(),
            Self::Bytes => ByteCount(value).to_string(),
            Self::Rate => rate(value),
            Self::PerSecond => format!("{value} /s"),
        }
    }

    /// Round values from 0 to the first one that nothing exceeds, six at most.
    pub fn ticks(self, most: u64) -> Vec<u64> {
        let step = match self {
            Self::Percent => [100, 200, 500, 1000, 2500].into_iter().find(|step| most <= step * 5).unwrap_or(2500),
            Self::Bytes => (0..64).map(|power| 1_u64 << power).find(|step| most.div_ceil(*step) <= 5).unwrap_or(most),
            Self::Rate | Self::PerSecond => {
                let steps = (0..19).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
                // A rate is labelled in bits: a byte more or less does not matter for a line.
                let unit = if self == Self::Rate { 8 } else { 1 };
                let round = steps.map(|step| step.div_ceil(unit)).find(|step| most.div_ceil(*step) <= 5);
                round.unwrap_or(most)
            }
        };
        let step = step.max(1);
        (0..=most.div_ceil(step).max(1)).map(|tick| tick.saturating_mul(step)).collect()
    }
}

fn rate(bytes: u64) -> String {
    bits(bytes.saturating_mul(8))
}

/// Bits per second, rounded up to what a drawing needs.
pub(super) fn bits(bits: u64) -> String {
    match bits {
        0 => "0".to_owned(),
        1..1_000_000 => format!("{} kb/s", bits.div_ceil(1000)),
        1_000_000..10_000_000 if !bits.is_multiple_of(1_000_000) => format!("{:.1} Mb/s", bits as f64 / 1e6),
        _ => BitRate::megabits(bits.div_ceil(1_000_000)).to_string(),
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Round times within a span of seconds since 1970, nine at most, each with its label.
pub(super) fn times(from: i64, to: i64) -> Vec<(i64, String)> {
    const STEPS: [i64; 13] =
        [60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 91 * DAY];
    let span = to.saturating_sub(from).max(1);
    let step = STEPS.into_iter().find(|step| span / step <= 8).unwrap_or(span / 8 + 1);
    let format = match step {
        step if step < 12 * HOUR && span <= DAY => "%H:%M",
        step if step < DAY => "%m-%d %H:%M",
        _ => "%m-%d",
    };
    let first = from.div_euclid(step).saturating_add(i64::from(from.rem_euclid(step) > 0)).saturating_mul(step);
    (0..9)
        .map(|tick| first.saturating_add(step.saturating_mul(tick)))
        .take_while(|time| *time <= to)
        .map(|time| (time, moment(time, format)))
        .collect()
}

/// A time in UTC.
pub(super) fn moment(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_above_the_most() {
        assert_eq!(Unit::Percent.ticks(4_250), [0, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(Unit::Percent.ticks(9_999).last(), Some(&10_000));
        let gib = 1_u64 << 30;
        assert_eq!(Unit::Bytes.ticks(3 * gib), [0, gib, 2 * gib, 3 * gib]);
        assert_eq!(Unit::PerSecond.ticks(0), [0, 1]);
        for unit in [Unit::Percent, Unit::Bytes, Unit::Rate, Unit::PerSecond] {
            for most in [0, 1, 7, 99, 12_345, 1 << 40] {
                let ticks = unit.ticks(most.min(10_000_u64.max(if unit == Unit::Percent { 10_000 } else { most })));
                assert!(ticks.len() <= 6, "{unit:?} {most}: {ticks:?}");
            }
        }
        assert!(Unit::Bytes.ticks(u64::MAX).len() <= 6);
    }

    #[test]
    fn times_are_round() {
        let start = 1_790_000_000;
        let labels: Vec<String> = times(start, start + 14 * DAY).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels.first().map(String::as_str), Some("09-22"), "{labels:?}");
        assert!((4..=9).contains(&labels.len()), "{labels:?}");
        assert!(times(start, start).len() <= 1);
        assert!(times(i64::MIN, i64::MAX).len() <= 9);
    }
}
