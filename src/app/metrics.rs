//! Counts of calls, for `/metrics` and `system_health`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
pub const BOUNDS_S: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// Tools times doors times codes: what labels there can be is bounded by the registry.
#[derive(Default)]
pub struct Metrics {
    calls: Mutex<BTreeMap<(&'static str, &'static str, &'static str), u64>>,
    latency: Mutex<BTreeMap<&'static str, Latency>>,
}

#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// Calls within each bound, and at the end those beyond the last.
    pub buckets: [u64; BOUNDS_S.len() + 1],
    pub sum_s: f64,
    pub count: u64,
}

impl Metrics {
    /// Counts a finished call; `code` is `ok` or the word of the error.
    pub fn call(&self, tool: &'static str, door: &'static str, code: &'static str, took: Duration) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry((tool, door, code)).or_insert(0) += 1;
        let seconds = took.as_secs_f64();
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let latency = latency.entry(tool).or_default();
        let bucket = BOUNDS_S.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS_S.len());
        latency.buckets[bucket] += 1;
        latency.sum_s += seconds;
        latency.count += 1;
    }

    pub fn calls(&self) -> BTreeMap<(&'static str, &'static str, &'static str), u64> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn latency(&self) -> BTreeMap<&'static str, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
