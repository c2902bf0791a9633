//! Durations as people write them: `250ms`, `45s`, `5m`, `1h30m`, `90d`.

use std::fmt;
use std::str::FromStr;
use std::time;

/// A duration of whole milliseconds that is written and read as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

/// Why a text is no duration, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotADuration {
    #[error("`{0}` has no unit; write `{0}s` for seconds, or use ms, m, h, d or w")]
    NoUnit(String),
    #[error("`{0}` is too long a time")]
    TooLong(String),
    #[error("`{0}` is not a duration; write one like 250ms, 45s, 5m, 1h30m or 90d")]
    Other(String),
}

/// Largest first. Weeks are read, but days are written, so that `90d` stays what it is.
const UNITS: [(&str, u64); 6] =
    [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Duration {
    pub const fn from_millis(millis: u64) -> Duration {
        Duration(millis)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = NotADuration;

    /// Reads numbers with units, each unit smaller than the one before.
    fn from_str(text: &str) -> Result<Duration, NotADuration> {
        let shown = || text.chars().take(32).collect::<String>();
        let other = || NotADuration::Other(shown());
        if text.is_empty() {
            return Err(other());
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotADuration::NoUnit(shown()));
        }
        let mut rest = text;
        let mut units = UNITS.iter();
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (number, after) = split_while(rest, |byte| byte.is_ascii_digit());
            let (unit, after) = split_while(after, |byte| byte.is_ascii_alphabetic());
            let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(other)?;
            if number.is_empty() {
                return Err(other());
            }
            total = number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(*millis))
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| NotADuration::TooLong(shown()))?;
            rest = after;
        }
        Ok(Duration(total))
    }
}

fn split_while(text: &str, is_part: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !is_part(byte)).unwrap_or(text.len());
    text.split_at(end)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in &UNITS[1..] {
            if *millis <= rest {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> time::Duration {
        time::Duration::from_millis(duration.0)
    }
}

/// Fractions of a millisecond are dropped.
impl From<time::Duration> for Duration {
    fn from(duration: time::Duration) -> Duration {
        Duration(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        for (text, millis) in [
            ("250ms", 250),
            ("0s", 0),
            ("45s", 45_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2w", 14 * 86_400_000),
            ("90d", 90 * 86_400_000),
            ("1m1ms", 60_001),
        ] {
            assert_eq!(text.parse(), Ok(Duration(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "5", "5 m", "-5m", "+5m", "1.5h", "5M", "5min", "30m1h", "1s1s", "m5", "5m6", "٣s", "5m "]
        {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        assert_eq!(
            "99999999999999999999d".parse::<Duration>(),
            Err(NotADuration::TooLong("99999999999999999999d".into()))
        );
        assert!("45".parse::<Duration>().unwrap_err().to_string().contains("write `45s`"));
    }

    #[test]
    fn durations_are_shown_in_their_largest_units() {
        for text in ["0s", "250ms", "5m", "1m30s", "1h", "90d", "1d12h"] {
            assert_eq!(text.parse::<Duration>().unwrap().to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_duration_is_read_as_it_is_shown(millis: u64) {
            assert_eq!(Duration(millis).to_string().parse(), Ok(Duration(millis)));
        }
    }
}
