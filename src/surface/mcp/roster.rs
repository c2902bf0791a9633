//! Who holds which session and how many streams: the caps, and who makes room for whom.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::mcp::Mcp as Limits;
use crate::error::{Code, Error, Result};

/// The sessions that live in this process.
pub struct Roster {
    limits: Limits,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    seats: HashMap<String, Seat>,
    /// Open event streams by principal.
    streams: HashMap<String, Streams>,
    /// Sessions used since the store was last told.
    used: Vec<String>,
}

struct Seat {
    principal: String,
    used_at: Instant,
    is_noted: bool,
    /// Calls that run and streams that are open; such a session is not idle.
    busy: usize,
    end: Box<dyn Fn() + Send + Sync>,
}

/// The streams that one caller has open.
#[derive(Default)]
struct Streams {
    count: usize,
    end: CancellationToken,
}

/// Something that keeps a session from being idle; dropped when it ends.
pub struct Busy {
    roster: Arc<Roster>,
    session_id: String,
}

/// An open stream of a caller; dropped when it ends.
pub struct Stream {
    roster: Arc<Roster>,
    principal: String,
    end: CancellationToken,
}

impl Stream {
    /// Waits until its caller may listen no longer.
    pub fn ended(&self) -> WaitForCancellationFutureOwned {
        self.end.clone().cancelled_owned()
    }
}

impl Roster {
    pub fn new(limits: Limits) -> Arc<Roster> {
        Arc::new(Roster { limits, inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a session its seat. Where all are taken, the longest idle one of the same caller
    /// makes room; the store brings it back should its client return. `end` ends it.
    pub fn admit(&self, session_id: &str, principal: &str, end: impl Fn() + Send + Sync + 'static) -> Result<()> {
        let mut inner = self.lock();
        let own = inner.seats.values().filter(|seat| seat.principal == principal).count();
        let evicted = if self.limits.sessions_per_caller <= own {
            Some(inner.longest_idle(|seat| seat.principal == principal).ok_or_else(|| self.full(own))?)
        } else if self.limits.sessions_max <= inner.seats.len() {
            let own = inner.longest_idle(|seat| seat.principal == principal);
            Some(own.or_else(|| inner.longest_idle(|_| true)).ok_or_else(|| self.full(inner.seats.len()))?)
        } else {
            None
        };
        if let Some(seat) = evicted.and_then(|evicted| inner.seats.remove(&evicted)) {
            (seat.end)();
        }
        let seat = Seat {
            principal: principal.to_owned(),
            used_at: Instant::now(),
            is_noted: true,
            busy: 0,
            end: Box::new(end),
        };
        if let Some(before) = inner.seats.insert(session_id.to_owned(), seat) {
            (before.end)();
        }
        Ok(())
    }

    fn full(&self, n_sessions: usize) -> Error {
        Error::new(Code::RateLimited, format_args!("{n_sessions} sessions are open and none of yours is idle"))
            .with_hint("close a session with DELETE, or raise `mcp.sessions_per_caller` and `mcp.sessions_max`")
            .with_retry_after(self.limits.session_idle.clamp(Duration::from_secs(1), Duration::from_secs(60)))
    }

    pub fn owner(&self, session_id: &str) -> Option<String> {
        self.lock().seats.get(session_id).map(|seat| seat.principal.clone())
    }

    /// Notes that the client of a session said something.
    pub fn note_use(&self, session_id: &str) {
        let mut inner = self.lock();
        let Some(seat) = inner.seats.get_mut(session_id) else { return };
        seat.used_at = Instant::now();
        if !std::mem::replace(&mut seat.is_noted, true) {
            inner.used.push(session_id.to_owned());
        }
    }

    /// Keeps a session from being idle.
    pub fn busy(self: &Arc<Self>, session_id: &str) -> Busy {
        if let Some(seat) = self.lock().seats.get_mut(session_id) {
            seat.busy += 1;
        }
        Busy { roster: Arc::clone(self), session_id: session_id.to_owned() }
    }

    /// Opens one more stream for a caller.
    pub fn open_stream(self: &Arc<Self>, principal: &str) -> Result<Stream> {
        let most = self.limits.streams_per_caller;
        let mut inner = self.lock();
        let streams = inner.streams.entry(principal.to_owned()).or_default();
        if most <= streams.count {
            return Err(Error::new(Code::RateLimited, format_args!("`{principal}` has {most} streams open already"))
                .with_hint("close one, or raise `mcp.streams_per_caller`")
                .with_retry_after(Duration::from_secs(5)));
        }
        streams.count += 1;
        let end = streams.end.clone();
        Ok(Stream { roster: Arc::clone(self), principal: principal.to_owned(), end })
    }

    /// Whoever has a session or a stream here.
    pub fn principals(&self) -> Vec<String> {
        let inner = self.lock();
        let mut principals: Vec<String> =
            inner.seats.values().map(|seat| &seat.principal).chain(inner.streams.keys()).cloned().collect();
        principals.sort_unstable();
        principals.dedup();
        principals
    }

    /// Ends all that a caller has open, busy or not, and names the sessions that it had.
    pub fn end(&self, principal: &str) -> Vec<String> {
        let mut inner = self.lock();
        if let Some(streams) = inner.streams.get(principal) {
            streams.end.cancel();
        }
        let ended = inner.seats.extract_if(|_, seat| seat.principal == principal);
        ended
            .map(|(session_id, seat)| {
                (seat.end)();
                session_id
            })
            .collect()
    }

    pub fn forget(&self, session_id: &str) {
        self.lock().seats.remove(session_id);
    }

    /// Ends every session that has been idle for too long.
    pub fn end_idle(&self) {
        let mut inner = self.lock();
        let idle: Vec<String> = inner
            .seats
            .iter()
            .filter(|(_, seat)| seat.busy == 0 && self.limits.session_idle <= seat.used_at.elapsed())
            .map(|(session_id, _)| session_id.clone())
            .collect();
        for session_id in idle {
            if let Some(seat) = inner.seats.remove(&session_id) {
                (seat.end)();
            }
        }
    }

    /// The sessions used since the last time this was asked.
    pub fn take_used(&self) -> Vec<String> {
        let mut inner = self.lock();
        let used = std::mem::take(&mut inner.used);
        for seat in inner.seats.values_mut() {
            seat.is_noted = false;
        }
        used
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl Inner {
    fn longest_idle(&self, of: impl Fn(&Seat) -> bool) -> Option<String> {
        let idle = self.seats.iter().filter(|(_, seat)| seat.busy == 0 && of(seat));
        idle.min_by_key(|(_, seat)| seat.used_at).map(|(session_id, _)| session_id.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(seat) = self.roster.lock().seats.get_mut(&self.session_id) {
            seat.busy = seat.busy.saturating_sub(1);
            seat.used_at = Instant::now();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut inner = self.roster.lock();
        if let Some(streams) = inner.streams.get_mut(&self.principal) {
            streams.count -= 1;
            if streams.count == 0 {
                inner.streams.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn roster(max: usize, per_caller: usize) -> Arc<Roster> {
        Roster::new(Limits {
            sessions_max: max,
            sessions_per_caller: per_caller,
            streams_per_caller: 1,
            ..Limits::default()
        })
    }

    #[tokio::test]
    async fn the_longest_idle_session_of_the_caller_makes_room() {
        let (roster, ended) = (roster(9, 2), Arc::new(AtomicUsize::new(0)));
        for id in ["1", "2", "3"] {
            let ended = Arc::clone(&ended);
            let end = move || {
                ended.fetch_add(1, Ordering::SeqCst);
            };
            roster.admit(id, "a", end).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ended.load(Ordering::SeqCst), 1);
        assert_eq!((roster.owner("1"), roster.owner("3")), (None, Some("a".into())));
    }

    #[tokio::test]
    async fn busy_sessions_are_not_dropped() {
        let roster = roster(1, 1);
        roster.admit("1", "a", || ()).unwrap();
        let busy = roster.busy("1");
        let error = roster.admit("2", "b", || ()).unwrap_err();
        assert_eq!(error.code, Code::RateLimited);
        assert!(error.retry_after().is_some());
        drop(busy);
        roster.admit("2", "b", || ()).unwrap();
    }

    #[tokio::test]
    async fn streams_are_counted_per_caller() {
        let roster = roster(1, 1);
        let stream = roster.open_stream("a").unwrap();
        assert!(roster.open_stream("a").is_err());
        roster.open_stream("b").unwrap();
        drop(stream);
        roster.open_stream("a").unwrap();
    }

    #[tokio::test]
    async fn a_caller_that_is_ended_keeps_nothing_and_others_keep_all() {
        let (roster, ended) = (roster(9, 9), Arc::new(AtomicUsize::new(0)));
        for (id, principal) in [("1", "a"), ("2", "a"), ("3", "b")] {
            let ended = Arc::clone(&ended);
            let end = move || {
                ended.fetch_add(1, Ordering::SeqCst);
            };
            roster.admit(id, principal, end).unwrap();
        }
        let (_busy, of_a, of_b) =
            (roster.busy("1"), roster.open_stream("a").unwrap(), roster.open_stream("b").unwrap());
        assert_eq!(roster.principals(), ["a", "b"]);
        let mut sessions = roster.end("a");
        sessions.sort();
        assert_eq!((sessions, ended.load(Ordering::SeqCst)), (vec!["1".to_owned(), "2".to_owned()], 2));
        of_a.ended().await;
        let wait = Duration::from_millis(20);
        assert!(tokio::time::timeout(wait, of_b.ended()).await.is_err());
        drop(of_a);
        assert_eq!(roster.principals(), ["b"]);
    }
}
