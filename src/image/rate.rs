//! A rate with hours: `200MBps`, `50MBps 08:00-18:00`, `50MBps 22:00-06:00 else 400MBps in Europe/Berlin`, `unlimited`.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::units::ByteRate;

/// How fast something may go, by the time of day.
#[derive(Clone, Debug, PartialEq)]
pub struct RateSchedule {
    /// Within the hours, or always.
    rate: Option<ByteRate>,
    hours: Option<Hours>,
}

#[derive(Clone, Debug, PartialEq)]
struct Hours {
    from: Time,
    to: Time,
    /// Outside of them; `None` is without limit.
    otherwise: Option<ByteRate>,
    zone: Option<TimeZone>,
}

/// A text that is no rate with hours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no limit: {why}; write `200MBps`, `50MBps 08:00-18:00 else 400MBps in Europe/Berlin`, or `unlimited`"
)]
pub struct RateError {
    text: String,
    why: String,
}

impl RateSchedule {
    /// The same rate at any time.
    pub fn always(rate: Option<ByteRate>) -> Self {
        Self { rate, hours: None }
    }

    /// Reads the form that people write.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let error = |why: String| RateError { text: text.to_owned(), why };
        let mut words = text.split_whitespace();
        let first = words.next().ok_or_else(|| error("it is empty".into()))?;
        let rate = parse_rate(first).map_err(error)?;
        let Some(hours) = words.next() else { return Ok(Self { rate, hours: None }) };
        let ends = hours.split_once('-').and_then(|(from, to)| Some((parse_time(from)?, parse_time(to)?)));
        let (from, to) = ends.ok_or_else(|| error(format!("`{hours}` is not FROM-TO, such as 08:00-18:00")))?;
        let mut hours = Hours { from, to, otherwise: None, zone: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| error(format!("`{word}` stands alone")))?;
            match word {
                "else" => hours.otherwise = parse_rate(value).map_err(error)?,
                "in" => {
                    let zone = TimeZone::get(value).map_err(|_| error(format!("there is no time zone `{value}`")))?;
                    hours.zone = Some(zone);
                }
                _ => return Err(error(format!("`{word}` is neither `else` nor `in`"))),
            }
        }
        Ok(Self { rate, hours: Some(hours) })
    }

    /// The rate at a time; `None` is without limit.
    pub fn rate_at(&self, time: Timestamp) -> Option<ByteRate> {
        let Some(Hours { from, to, otherwise, zone }) = &self.hours else { return self.rate };
        let zone = zone.clone().unwrap_or_else(TimeZone::system);
        let now = time.to_zoned(zone).time();
        let within = match from <= to {
            true => *from <= now && now < *to,
            // Across midnight.
            false => *from <= now || now < *to,
        };
        if within { self.rate } else { *otherwise }
    }
}

fn parse_rate(text: &str) -> Result<Option<ByteRate>, String> {
    match text {
        "unlimited" => Ok(None),
        _ => match ByteRate::parse(text).map_err(|error| error.to_string())? {
            ByteRate(0) => Err("a rate of nothing never ends".into()),
            rate => Ok(Some(rate)),
        },
    }
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

fn rate(rate: Option<ByteRate>) -> String {
    rate.map_or_else(|| "unlimited".to_owned(), |rate| format!("{}Bps", rate.0))
}

/// In the form that is read.
impl fmt::Display for RateSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rate(self.rate))?;
        let Some(hours) = &self.hours else { return Ok(()) };
        let (from, to) = (hours.from, hours.to);
        write!(f, " {:02}:{:02}-{:02}:{:02}", from.hour(), from.minute(), to.hour(), to.minute())?;
        write!(f, " else {}", rate(hours.otherwise))?;
        match hours.zone.as_ref().and_then(TimeZone::iana_name) {
            Some(zone) => write!(f, " in {zone}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn hours_choose_the_rate_in_their_time_zone() {
        let day = RateSchedule::parse("50MBps 08:00-18:00 else 400MBps in Europe/Berlin").unwrap();
        // Berlin is two hours ahead of UTC in summer, one in winter.
        for (time, megabytes) in [
            ("2026-07-01T05:59:59Z", 400),
            ("2026-07-01T06:00:00Z", 50),
            ("2026-07-01T15:59:59Z", 50),
            ("2026-07-01T16:00:00Z", 400),
            ("2026-12-01T06:30:00Z", 400),
            ("2026-12-01T07:00:00Z", 50),
        ] {
            assert_eq!(day.rate_at(at(time)), Some(ByteRate(megabytes * 1_000_000)), "{time}");
        }
        let night = RateSchedule::parse("8Mbps 22:00-06:00 in UTC").unwrap();
        assert_eq!(night.rate_at(at("2026-07-01T23:00:00Z")), Some(ByteRate(1_000_000)));
        assert_eq!(night.rate_at(at("2026-07-01T05:00:00Z")), Some(ByteRate(1_000_000)));
        assert_eq!(night.rate_at(at("2026-07-01T12:00:00Z")), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["200MBps", "unlimited", "1Bps 00:00-23:59", "5kBps 08:30-18:00 else 7MBps in Europe/Berlin"] {
            let read = RateSchedule::parse(text).unwrap();
            assert_eq!(RateSchedule::parse(&read.to_string()), Ok(read.clone()), "{text}: {read}");
        }
    }

    #[test]
    fn mistakes_are_named_with_the_right_form() {
        for (text, says) in [
            ("", "empty"),
            ("fast", "fast"),
            ("0MBps", "never ends"),
            ("1MBps noon", "`noon` is not FROM-TO"),
            ("1MBps 08:00-25:00", "not FROM-TO"),
            ("1MBps 08:00-18:00 else", "`else` stands alone"),
            ("1MBps 08:00-18:00 in Nowhere/City", "no time zone `Nowhere/City`"),
            ("1MBps 08:00-18:00 at night", "`at` is neither"),
        ] {
            let error = RateSchedule::parse(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("50MBps 08:00-18:00"), "{text}: {error}");
        }
    }
}
