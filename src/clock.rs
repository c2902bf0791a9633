//! The time as it comes in from outside: a moment in UTC, and the clock that tells it.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in milliseconds since the Unix epoch: an integer in the store, RFC 3339 on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time; write it like 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 (UTC) or 2026-01-31")]
pub struct NotATime {
    text: String,
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl Timestamp {
    /// What four digits of RFC 3339 can say for a year, in every offset.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000);
    pub const MAX: Timestamp = Timestamp(253_402_207_200_999);

    /// Moments outside of [`MIN`](Timestamp::MIN) and [`MAX`](Timestamp::MAX) become the nearer of the two.
    pub const fn from_millis(millis: i64) -> Timestamp {
        if millis < Timestamp::MIN.0 {
            Timestamp::MIN
        } else if Timestamp::MAX.0 < millis {
            Timestamp::MAX
        } else {
            Timestamp(millis)
        }
    }

    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs.saturating_mul(1000))
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds, rounded towards the past.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time that has passed since `earlier`; zero if it lies ahead.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Stops at [`Timestamp::MAX`].
impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, wait: Duration) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_add(millis(wait)))
    }
}

/// Stops at [`Timestamp::MIN`].
impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, wait: Duration) -> Timestamp {
        Timestamp::from_millis(self.0.saturating_sub(millis(wait)))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(moment: jiff::Timestamp) -> Timestamp {
        Timestamp::from_millis(moment.as_nanosecond().div_euclid(1_000_000) as i64)
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(moment: Timestamp) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(moment.0).unwrap_or(jiff::Timestamp::MAX)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp::from_millis(millis(after)),
            Err(before) => Timestamp::from_millis(-millis(before.duration())),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", jiff::Timestamp::from(*self))
    }
}

/// Reads RFC 3339 with any offset, and without one `2026-01-31 12:00:00` and `2026-01-31`, both in UTC.
impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Timestamp, NotATime> {
        let not_a_time = || NotATime { text: text.chars().take(64).collect() };
        if !is_written_plainly(text) {
            return Err(not_a_time());
        }
        if let Ok(moment) = text.parse::<jiff::Timestamp>() {
            return Ok(moment.into());
        }
        let civil = text.parse::<jiff::civil::DateTime>().map_err(|_| not_a_time())?;
        let moment = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| not_a_time())?;
        Ok(moment.timestamp().into())
    }
}

/// Whether a text begins with `YYYY-MM-DD` and has a time, if any, to the second. The parser
/// below would also take ISO 8601's basic forms, signed years and names of time zones.
fn is_written_plainly(text: &str) -> bool {
    let matches = |text: &[u8], pattern: &[u8]| {
        pattern.len() <= text.len()
            && pattern.iter().zip(text).all(|(pattern, byte)| match pattern {
                b'9' => byte.is_ascii_digit(),
                b'T' => matches!(byte, b'T' | b't' | b' '),
                other => other == byte,
            })
    };
    let bytes = text.as_bytes();
    let plain = bytes.iter().all(|byte| byte.is_ascii_digit() || b"-:.+TtZz ".contains(byte));
    plain && matches(bytes, b"9999-99-99") && (bytes.len() == 10 || matches(bytes, b"9999-99-99T99:99:99"))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Timestamp> {
        let millis = value.as_i64()?;
        let moment = Timestamp::from_millis(millis);
        if moment.0 != millis {
            return Err(FromSqlError::OutOfRange(millis));
        }
        Ok(moment)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl ManualClock {
    pub fn at(moment: Timestamp) -> ManualClock {
        ManualClock(AtomicI64::new(moment.0))
    }

    pub fn set(&self, moment: Timestamp) {
        self.0.store(moment.0, Ordering::SeqCst);
    }

    pub fn advance(&self, wait: Duration) {
        self.set(self.now() + wait);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_has_many_spellings_and_one_form() {
        let moment = Timestamp::from_millis(1_769_860_800_250);
        assert_eq!(moment.to_string(), "2026-01-31T12:00:00.250Z");
        for text in [
            "2026-01-31T12:00:00.250Z",
            "2026-01-31T12:00:00.25z",
            "2026-01-31T12:00:00.250999Z",
            "2026-01-31T14:00:00.250+02:00",
            "2026-01-31T06:30:00.250-05:30",
            "2026-01-31 12:00:00.250Z",
            "2026-01-31 12:00:00.25",
            "2026-01-31T12:00:00.250",
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
        let midnight: Timestamp = "2026-01-31".parse().unwrap();
        assert_eq!(midnight.to_string(), "2026-01-31T00:00:00.000Z");
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_form_to_write() {
        for text in [
            "",
            "now",
            "1769860800",
            "20260131",
            "2026-01",
            "2026-1-31",
            "2026-02-30",
            "2026-01-31 25:00:00",
            "2026-01-31T12",
            "2026-01-31T12:00",
            "+002026-01-31",
            "2026-01-31T12:00:00Z[Europe/Berlin]",
            "2026-01-31T12:00:00+02:00[Europe/Berlin]",
            " 2026-01-31",
            "2026-01-31 ",
            "2026-01-3\u{661}",
        ] {
            let error = text.parse::<Timestamp>().expect_err(text);
            assert!(error.to_string().contains("2026-01-31T12:00:00Z"), "{error}");
        }
    }

    #[test]
    fn the_bounds_are_four_digit_years() {
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.999Z");
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MIN - Duration::MAX, Timestamp::MIN);
        assert_eq!(Timestamp::from_secs(i64::MAX), Timestamp::MAX);
    }

    #[test]
    fn moments_before_the_epoch_round_towards_the_past() {
        let moment: Timestamp = "1969-12-31T23:59:59.9995Z".parse().unwrap();
        assert_eq!(moment.as_millis(), -1);
        assert_eq!(moment.as_secs(), -1);
        assert_eq!(moment.to_string(), "1969-12-31T23:59:59.999Z");
    }

    proptest::proptest! {
        #[test]
        fn every_moment_survives_text_json_and_the_store(millis in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let moment = Timestamp::from_millis(millis);
            assert_eq!(moment.to_string().parse(), Ok(moment));
            let json = serde_json::to_string(&moment).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
            assert_eq!(Timestamp::column_result(ValueRef::Integer(millis)).unwrap(), moment);
        }
    }

    #[test]
    fn the_store_holds_integers_in_range_only() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let moment = Timestamp::from_millis(42);
        let (kind, read): (String, Timestamp) =
            db.query_row("select typeof(?1), ?1", [moment], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((kind.as_str(), read), ("integer", moment));
        assert!(Timestamp::column_result(ValueRef::Text(b"2026-01-31")).is_err());
        assert!(Timestamp::column_result(ValueRef::Integer(i64::MAX)).is_err());
    }

    #[test]
    fn the_schema_is_a_date_time_in_place() {
        let schema = schemars::schema_for!(Timestamp);
        assert_eq!(schema.get("format").unwrap(), "date-time");
        assert_eq!(schema.get("type").unwrap(), "string");
    }

    #[test]
    fn a_manual_clock_moves_when_told() {
        let clock = ManualClock::at("2026-01-31".parse().unwrap());
        clock.advance(Duration::from_secs(90));
        assert_eq!(clock.now().to_string(), "2026-01-31T00:01:30.000Z");
        clock.set(Timestamp::default());
        assert_eq!(clock.now().as_millis(), 0);
    }

    #[test]
    fn the_system_clock_tells_this_century() {
        let now = SystemClock.now();
        assert!("2025-01-01".parse::<Timestamp>().unwrap() < now && now < "2100-01-01".parse().unwrap());
    }
}
