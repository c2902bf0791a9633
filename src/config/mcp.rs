//! `[mcp]`: sessions and streams of MCP clients.

use std::time;

use super::duration::Duration;
use super::table::Section;

/// How many sessions there may be, and how long they last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mcp {
    /// After so long without a word from the client, a session ends
    pub session_idle: time::Duration,
    pub sessions_max: usize,
    pub sessions_per_caller: usize,
    pub streams_per_caller: usize,
    /// How long events are kept for clients that come back
    pub event_retention: time::Duration,
}

pub(super) const KEYS: &[&str] =
    &["session_idle", "sessions_max", "sessions_per_caller", "streams_per_caller", "event_retention"];

const SESSIONS_MAX: u64 = 100_000;
const SHORTEST: Duration = Duration::from_millis(100);
const SESSION_IDLE_MAX: Duration = Duration::from_millis(7 * 24 * 60 * 60 * 1000);
const EVENT_RETENTION_MAX: Duration = Duration::from_millis(30 * 24 * 60 * 60 * 1000);

impl Default for Mcp {
    fn default() -> Mcp {
        Mcp {
            session_idle: time::Duration::from_secs(5 * 60),
            sessions_max: 256,
            sessions_per_caller: 32,
            streams_per_caller: 16,
            event_retention: time::Duration::from_secs(60 * 60),
        }
    }
}

impl Mcp {
    pub(super) fn read(section: &Section<'_>) -> Mcp {
        let default = Mcp::default();
        let (idle, retention) = (SHORTEST..=SESSION_IDLE_MAX, SHORTEST..=EVENT_RETENTION_MAX);
        let mcp = Mcp {
            session_idle: section.duration("session_idle", idle, default.session_idle),
            sessions_max: section.integer("sessions_max", 1..=SESSIONS_MAX, default.sessions_max),
            sessions_per_caller: section.integer("sessions_per_caller", 1..=SESSIONS_MAX, default.sessions_per_caller),
            streams_per_caller: section.integer("streams_per_caller", 1..=SESSIONS_MAX, default.streams_per_caller),
            event_retention: section.duration("event_retention", retention, default.event_retention),
        };
        // A file that lowers the total alone means it for each caller, too.
        if let Some(per_caller) = section.get("sessions_per_caller")
            && mcp.sessions_max < mcp.sessions_per_caller
        {
            per_caller.wrong(format_args!("must not be above `mcp.sessions_max`, which is {}", mcp.sessions_max));
        }
        Mcp { sessions_per_caller: mcp.sessions_per_caller.min(mcp.sessions_max), ..mcp }
    }
}
