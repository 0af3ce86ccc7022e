//! How long a source must be observed before its peaks are known.

use std::time::Duration;

use crate::plan::LoadPattern;

const WEEK: u64 = 7 * 86_400;

/// What an observation is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The whole recommended time.
    Enough,
    /// Long enough to use, shorter than recommended.
    Short {
        /// What is recommended.
        better: Duration,
    },
    /// Too short: the peak may not be in it.
    TooShort {
        /// What is needed at least.
        least: Duration,
    },
}

/// Judges an observation: one to two weeks for a constant load, two to four where there are peaks every month or two,
/// longer than that, a quarter at best, where there are seasons.
pub fn observation_window(observed: Duration, load: LoadPattern) -> Window {
    let (least, better) = match load {
        LoadPattern::Constant => (1, 2),
        LoadPattern::Periodic => (2, 4),
        LoadPattern::Seasonal => (5, 13),
    };
    let (least, better) = (Duration::from_secs(least * WEEK), Duration::from_secs(better * WEEK));
    match observed {
        observed if observed < least => Window::TooShort { least },
        observed if observed < better => Window::Short { better },
        _ => Window::Enough,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_pattern_of_the_load() {
        let days = |number: u64| Duration::from_secs(number * 86_400);
        assert_eq!(observation_window(days(6), LoadPattern::Constant), Window::TooShort { least: days(7) });
        assert_eq!(observation_window(days(7), LoadPattern::Constant), Window::Short { better: days(14) });
        assert_eq!(observation_window(days(14), LoadPattern::Constant), Window::Enough);
        assert_eq!(observation_window(days(13), LoadPattern::Periodic), Window::TooShort { least: days(14) });
        assert_eq!(observation_window(days(28), LoadPattern::Periodic), Window::Enough);
        assert_eq!(observation_window(days(28), LoadPattern::Seasonal), Window::TooShort { least: days(35) });
    }
}
