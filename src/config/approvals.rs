//! `[approvals]`: how long a destructive call waits for a person.

use std::time;

use super::duration::Duration;
use super::table::Section;

/// How approvals are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approvals {
    /// After so long an approval can be neither given nor used
    pub ttl: time::Duration,
}

pub(super) const KEYS: &[&str] = &["ttl"];

const TTL_MIN: Duration = Duration::from_millis(1000);
const TTL_MAX: Duration = Duration::from_millis(24 * 60 * 60 * 1000);

impl Default for Approvals {
    fn default() -> Approvals {
        Approvals { ttl: time::Duration::from_secs(10 * 60) }
    }
}

impl Approvals {
    pub(super) fn read(section: &Section<'_>) -> Approvals {
        Approvals { ttl: section.duration("ttl", TTL_MIN..=TTL_MAX, Approvals::default().ttl) }
    }
}
