//! Amounts with units, as people write them in plans and read them in reports.
//!
//! | kind | examples | stored as |
//! |---|---|---|
//! | size | `4GiB`, `500MB`, `512` (bytes) | bytes |
//! | duration | `90s`, `15m`, `2h`, `14d` | milliseconds |
//! | rate | `100Mbps` (bits), `200MBps` (bytes) | bytes per second |
//! | percentage | `10%` | hundredths of a percent |
//! | frequency | `2000MHz`, `2.4GHz` | hertz |
//!
//! Decimal (`kB MB GB TB`) and binary (`KiB MiB GiB TiB`) prefixes are told apart, as IEC 80000-13 has them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

/// A transfer rate in bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteRate(pub u64);

/// A share in hundredths of a percent: `10%` is 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(pub u32);

/// A processor's clock rate, or work that is counted in it, in hertz.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Frequency(pub u64);

/// Why a text is not an amount; `Display` names the accepted forms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text does not begin with a number.
    #[error("`{text}` does not begin with a number; write {forms}")]
    NoNumber {
        /// The text as written.
        text: String,
        /// What would be accepted.
        forms: &'static str,
    },
    /// The unit is not one of this kind.
    #[error("`{unit}` is not a unit here; write {forms}")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// What would be accepted.
        forms: &'static str,
    },
    /// The amount does not fit 64 bits.
    #[error("`{text}` is too large")]
    TooLarge {
        /// The text as written.
        text: String,
    },
}

const SIZE_FORMS: &str = "a size such as `512MiB`, `4GiB` or `500GB`";
const DURATION_FORMS: &str = "a duration such as `90s`, `15m`, `2h` or `14d`";
const RATE_FORMS: &str = "a rate such as `100Mbps` (bits) or `200MBps` (bytes)";
const PERCENT_FORMS: &str = "a percentage such as `10%`";
const FREQUENCY_FORMS: &str = "a frequency such as `2000MHz` or `2.4GHz`";

const SIZE_UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Splits `text` into number and unit and multiplies exactly; up to nine decimals.
fn scaled(text: &str, units: &[(&str, u64)], forms: &'static str) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..digits], trimmed[digits..].trim_start());
    let no_number = || UnitError::NoNumber { text: text.to_owned(), forms };
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| u128::from(*factor)).ok_or_else(
        || match number.is_empty() {
            true => no_number(),
            false => UnitError::UnknownUnit { unit: unit.to_owned(), forms },
        },
    )?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') || number.ends_with('.') {
        return Err(no_number());
    }
    let too_large = || UnitError::TooLarge { text: text.to_owned() };
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let scale = 10u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| no_number())? };
    let amount = whole.checked_mul(factor).ok_or_else(too_large)? + fraction * factor / scale;
    u64::try_from(amount).map_err(|_| too_large())
}

impl ByteCount {
    /// Reads a size; see the module's table.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        scaled(text, SIZE_UNITS, SIZE_FORMS).map(Self)
    }
}

impl ByteRate {
    /// Reads a rate: `bps` counts bits, `Bps` counts bytes.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        let form_error = || UnitError::UnknownUnit { unit: text.to_owned(), forms: RATE_FORMS };
        let (amount, bits) = match (text.strip_suffix("Bps"), text.strip_suffix("bps")) {
            (Some(amount), _) => (amount, 1),
            (None, Some(amount)) => (amount, 8),
            (None, None) => return Err(form_error()),
        };
        const PREFIXES: &[(&str, u64)] = &[
            ("", 1),
            ("k", 1_000),
            ("K", 1_000),
            ("M", 1_000_000),
            ("G", 1_000_000_000),
            ("Ki", 1 << 10),
            ("Mi", 1 << 20),
            ("Gi", 1 << 30),
        ];
        scaled(amount, PREFIXES, RATE_FORMS).map(|n| Self(n / bits))
    }
}

impl Percent {
    /// Reads a percentage with up to two decimals.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let amount = scaled(text, &[("%", 100)], PERCENT_FORMS)?;
        u32::try_from(amount).map(Self).map_err(|_| UnitError::TooLarge { text: text.to_owned() })
    }
}

impl Frequency {
    /// A number of megahertz, the largest that fits if it is larger.
    pub const fn megahertz(number: u64) -> Self {
        Self(number.saturating_mul(1_000_000))
    }

    /// Reads a frequency; see the module's table.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        const UNITS: &[(&str, u64)] = &[("Hz", 1), ("kHz", 1_000), ("MHz", 1_000_000), ("GHz", 1_000_000_000)];
        scaled(text, UNITS, FREQUENCY_FORMS).map(Self)
    }
}

/// Reads a duration; see the module's table.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const UNITS: &[(&str, u64)] =
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    scaled(text, UNITS, DURATION_FORMS).map(Duration::from_millis)
}

/// Writes a duration as people say it: `850ms`, `42s`, `3m 20s`, `2h 5m`.
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STEPS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match STEPS.iter().find(|(_, factor)| self.0 >= *factor) {
            Some((unit, factor)) if self.0.is_multiple_of(*factor) => write!(f, "{} {unit}", self.0 / factor),
            Some((unit, factor)) => write!(f, "{:.1} {unit}", self.0 as f64 / *factor as f64),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteCount(self.0))
    }
}

/// In megahertz, exactly: `400 MHz`, `2400.5 MHz`.
impl fmt::Display for Frequency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1_000_000 {
            0 => write!(f, "{} MHz", self.0 / 1_000_000),
            rest => write!(f, "{}.{} MHz", self.0 / 1_000_000, format!("{rest:06}").trim_end_matches('0')),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 100 {
            0 => write!(f, "{}%", self.0 / 100),
            rest => write!(f, "{}.{rest:02}%", self.0 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_tell_binary_from_decimal_prefixes() {
        assert_eq!(ByteCount::parse("4GiB"), Ok(ByteCount(4 << 30)));
        assert_eq!(ByteCount::parse("4 GB"), Ok(ByteCount(4_000_000_000)));
        assert_eq!(ByteCount::parse("1.5MiB"), Ok(ByteCount(3 << 19)));
        assert_eq!(ByteCount::parse("512"), Ok(ByteCount(512)));
    }

    #[test]
    fn rates_tell_bits_from_bytes() {
        assert_eq!(ByteRate::parse("100Mbps"), Ok(ByteRate(12_500_000)));
        assert_eq!(ByteRate::parse("200MBps"), Ok(ByteRate(200_000_000)));
    }

    #[test]
    fn frequencies_read_back_exactly() {
        assert_eq!(Frequency::parse("2.4GHz"), Ok(Frequency::megahertz(2400)));
        assert_eq!(Frequency::parse("2000 MHz").map(|f| f.to_string()), Ok("2000 MHz".into()));
        assert_eq!(Frequency(400_500_000).to_string(), "400.5 MHz");
        assert!(Frequency::parse("2000").unwrap_err().to_string().contains("2.4GHz"));
    }

    #[test]
    fn bad_amounts_name_the_accepted_forms() {
        for bad in ["", "GiB", "4GB s", "4.GiB", "4..1GiB", "1e3", "-1GiB"] {
            let error = ByteCount::parse(bad).unwrap_err().to_string();
            assert!(error.contains("4GiB"), "{bad}: {error}");
        }
        assert_eq!(ByteCount::parse("99999999999TiB"), Err(UnitError::TooLarge { text: "99999999999TiB".into() }));
    }

    #[test]
    fn durations_and_percentages_read_back() {
        assert_eq!(parse_duration("14d").map(|d| d.as_secs()), Ok(14 * 86_400));
        assert_eq!(Percent::parse("12.5%").map(|p| p.to_string()), Ok("12.50%".into()));
        assert_eq!(human_duration(Duration::from_secs(200)), "3m 20s");
    }
}
