//! Token buckets and running calls, per principal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::limits::Limits;
use crate::error::{Code, Error, Result};

/// Principals remembered at once; the longest idle one makes room.
const PRINCIPALS: usize = 4096;

/// What is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Read,
    Write,
    Destructive,
}

pub struct Limiter {
    limits: Limits,
    buckets: Mutex<HashMap<(String, Class), Bucket>>,
    running: Arc<Mutex<HashMap<String, usize>>>,
}

struct Bucket {
    level: f64,
    filled_at: Timestamp,
}

/// A running call; dropping it makes room for another.
#[derive(Debug)]
pub struct Slot {
    running: Arc<Mutex<HashMap<String, usize>>>,
    principal: String,
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        Limiter { limits, buckets: Mutex::default(), running: Arc::default() }
    }

    /// Takes one call out of the principal's bucket.
    pub fn take(&self, principal: &str, class: Class, now: Timestamp) -> Result<()> {
        let (rate, size) = self.rate(class);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if PRINCIPALS <= buckets.len() {
            let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.filled_at).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                buckets.remove(&oldest);
            }
        }
        let bucket = buckets.entry((principal.to_owned(), class)).or_insert(Bucket { level: size, filled_at: now });
        let passed = now.since(bucket.filled_at).as_secs_f64();
        bucket.level = (bucket.level + passed * rate).min(size);
        bucket.filled_at = bucket.filled_at.max(now);
        if bucket.level < 1.0 {
            let wait = Duration::from_secs_f64(((1.0 - bucket.level) / rate).clamp(0.001, 86_400.0));
            return Err(Error::new(
                Code::RateLimited,
                format_args!("`{principal}` calls too often; wait {:.1} s", wait.as_secs_f64()),
            )
            .with_retry_after(wait));
        }
        bucket.level -= 1.0;
        Ok(())
    }

    /// Counts a call as running until the slot is dropped.
    pub fn enter(&self, principal: &str) -> Result<Slot> {
        let most = self.limits.concurrent_calls;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(principal.to_owned()).or_insert(0);
        if most <= *count {
            return Err(Error::new(Code::RateLimited, format_args!("`{principal}` has {most} calls running already"))
                .with_retry_after(Duration::from_secs(1)));
        }
        *count += 1;
        Ok(Slot { running: Arc::clone(&self.running), principal: principal.to_owned() })
    }

    /// Calls a second, and how many may come at once.
    fn rate(&self, class: Class) -> (f64, f64) {
        let burst = f64::from(self.limits.burst_seconds);
        match class {
            Class::Read => (f64::from(self.limits.reads_per_second), f64::from(self.limits.reads_per_second) * burst),
            Class::Write => {
                (f64::from(self.limits.writes_per_second), f64::from(self.limits.writes_per_second) * burst)
            }
            Class::Destructive => {
                let an_hour = f64::from(self.limits.destructive_per_hour);
                (an_hour / 3600.0, an_hour)
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(reads: u32, burst: u32, calls: usize) -> Limiter {
        let limits =
            Limits { reads_per_second: reads, burst_seconds: burst, concurrent_calls: calls, ..Limits::default() };
        Limiter::new(limits)
    }

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let (limiter, start) = (limiter(2, 5, 1), Timestamp::from_secs(1_000));
        for _ in 0..10 {
            limiter.take("a", Class::Read, start).unwrap();
        }
        let error = limiter.take("a", Class::Read, start).unwrap_err();
        assert_eq!(error.code, Code::RateLimited);
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        limiter.take("b", Class::Read, start).unwrap();
        limiter.take("a", Class::Read, start + Duration::from_millis(500)).unwrap();
    }

    #[test]
    fn a_slot_is_free_again_when_dropped() {
        let limiter = limiter(1, 1, 1);
        let slot = limiter.enter("a").unwrap();
        assert!(limiter.enter("a").is_err());
        limiter.enter("b").unwrap();
        drop(slot);
        limiter.enter("a").unwrap();
    }
}
