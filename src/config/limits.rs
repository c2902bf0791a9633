//! `[limits]`: how much one caller may ask for.

use std::time;

use super::duration::Duration;
use super::table::Section;

/// Rates and sizes, each of them per caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub reads_per_second: u32,
    pub writes_per_second: u32,
    pub destructive_per_hour: u32,
    /// How many seconds' worth may be asked for at once
    pub burst_seconds: u32,
    pub concurrent_calls: usize,
    pub call_timeout: time::Duration,
    pub body_bytes: usize,
}

pub(super) const KEYS: &[&str] = &[
    "reads_per_second",
    "writes_per_second",
    "destructive_per_hour",
    "burst_seconds",
    "concurrent_calls",
    "call_timeout",
    "body_bytes",
];

const RATE_MAX: u64 = 1_000_000;
const BURST_SECONDS_MAX: u64 = 3600;
const CONCURRENT_CALLS_MAX: u64 = 10_000;
const CALL_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const CALL_TIMEOUT_MAX: Duration = Duration::from_millis(60 * 60 * 1000);
const BODY_BYTES_MIN: u64 = 1024;
const BODY_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            reads_per_second: 20,
            writes_per_second: 5,
            destructive_per_hour: 20,
            burst_seconds: 10,
            concurrent_calls: 16,
            call_timeout: time::Duration::from_secs(45),
            body_bytes: 1024 * 1024,
        }
    }
}

impl Limits {
    pub(super) fn read(section: &Section<'_>) -> Limits {
        let default = Limits::default();
        let timeout = CALL_TIMEOUT_MIN..=CALL_TIMEOUT_MAX;
        Limits {
            reads_per_second: section.integer("reads_per_second", 1..=RATE_MAX, default.reads_per_second),
            writes_per_second: section.integer("writes_per_second", 1..=RATE_MAX, default.writes_per_second),
            destructive_per_hour: section.integer("destructive_per_hour", 1..=RATE_MAX, default.destructive_per_hour),
            burst_seconds: section.integer("burst_seconds", 1..=BURST_SECONDS_MAX, default.burst_seconds),
            concurrent_calls: section.integer("concurrent_calls", 1..=CONCURRENT_CALLS_MAX, default.concurrent_calls),
            call_timeout: section.duration("call_timeout", timeout, default.call_timeout),
            body_bytes: section.integer("body_bytes", BODY_BYTES_MIN..=BODY_BYTES_MAX, default.body_bytes),
        }
    }
}
