//! Amounts of every kind that a formula takes or gives.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::units::{ByteCount, ByteRate, Frequency, Percent, human_duration};

/// A network speed or load in bits per second, as adapters are labelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BitRate(pub u64);

impl BitRate {
    /// A number of megabits per second, the largest that fits if it is larger.
    pub const fn megabits(number: u64) -> Self {
        Self(number.saturating_mul(1_000_000))
    }
}

impl From<ByteRate> for BitRate {
    fn from(rate: ByteRate) -> Self {
        Self(rate.0.saturating_mul(8))
    }
}

/// In megabits per second, exactly.
impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1_000_000 {
            0 => write!(f, "{} Mb/s", self.0 / 1_000_000),
            rest => write!(f, "{}.{} Mb/s", self.0 / 1_000_000, format!("{rest:06}").trim_end_matches('0')),
        }
    }
}

/// An amount of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Memory or disk space.
    Bytes(ByteCount),
    /// Clock rate, or processor work counted in it.
    Frequency(Frequency),
    /// Network speed or load.
    BitRate(BitRate),
    /// A share.
    Percent(Percent),
    /// A number of things.
    Count(u64),
    /// A length of time.
    Time(Duration),
}

macro_rules! amounts {
    ($($kind:ident($inner:ty)),* $(,)?) => {
        $(impl From<$inner> for Amount {
            fn from(inner: $inner) -> Self {
                Self::$kind(inner)
            }
        })*
    };
}

amounts!(Bytes(ByteCount), Frequency(Frequency), BitRate(BitRate), Percent(Percent), Count(u64), Time(Duration),);

/// Bytes without loss: the largest unit that leaves no rest, `5160 MiB`.
pub fn exact_bytes(bytes: ByteCount) -> String {
    const STEPS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match STEPS.iter().find(|(_, factor)| bytes.0 > 0 && bytes.0.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{} {unit}", bytes.0 / factor),
        None => format!("{} B", bytes.0),
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&exact_bytes(*bytes)),
            Self::Frequency(frequency) => frequency.fmt(f),
            Self::BitRate(rate) => rate.fmt(f),
            Self::Percent(percent) => percent.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Time(time) if time.as_secs() >= 86_400 && time.as_secs() % 86_400 == 0 => {
                write!(f, "{} d", time.as_secs() / 86_400)
            }
            Self::Time(time) => f.write_str(&human_duration(*time)),
        }
    }
}

/// As `{ "value": 400000000, "unit": "hertz", "text": "400 MHz" }`.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record {
            value: u64,
            unit: &'static str,
            text: String,
        }
        let (value, unit) = match self {
            Self::Bytes(bytes) => (bytes.0, "bytes"),
            Self::Frequency(frequency) => (frequency.0, "hertz"),
            Self::BitRate(rate) => (rate.0, "bits per second"),
            Self::Percent(percent) => (u64::from(percent.0), "hundredths of a percent"),
            Self::Count(count) => (*count, "count"),
            Self::Time(time) => (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), "milliseconds"),
        };
        Record { value, unit, text: self.to_string() }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_without_loss() {
        assert_eq!(Amount::from(ByteCount(5160 << 20)).to_string(), "5160 MiB");
        assert_eq!(Amount::from(ByteCount(6 << 30)).to_string(), "6 GiB");
        assert_eq!(Amount::from(ByteCount(1_000_000_001)).to_string(), "1000000001 B");
        assert_eq!(Amount::from(ByteCount(0)).to_string(), "0 B");
        assert_eq!(Amount::from(BitRate(1_544_000)).to_string(), "1.544 Mb/s");
        assert_eq!(Amount::from(Duration::from_secs(14 * 86_400)).to_string(), "14 d");
    }
}
