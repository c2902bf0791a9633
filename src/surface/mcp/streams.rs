//! What memory holds of the streams of `/mcp`: events that are not in SQLite yet, within bounds of bytes.
//!
//! Invariant: of a stream, everything after [`Stream::since`] is here, and what came before has
//! been saved or read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::store::sessions;
use crate::surface::ConnectionId;

/// What the events of one session may take, so that a busy client crowds out nobody else.
const SESSION_BYTES: usize = 1 << 20;
/// What the events of all sessions may take.
const TOTAL_BYTES: usize = 8 << 20;
/// An event and a stream beside their text, in round figures.
const EVENT_BYTES: usize = 128;
const STREAM_BYTES: usize = 512;
/// A client may come back for an answer that seemed to arrive, as its other calls went on: at
/// the latest, and, where memory is scarce, at first.
const SEEMINGLY_READ_STAYS: Duration = Duration::from_secs(60);
const SEEMINGLY_READ_STAYS_AT_LEAST: Duration = Duration::from_secs(5);
/// An answer takes no longer from its end to a connection that is alive.
const TAKING: Duration = Duration::from_millis(250);
/// An answer that was handed over has so long to be followed by another word from its client.
const READING: Duration = Duration::from_secs(1);

/// The streams of all sessions.
pub struct Streams {
    last_id: i64,
    sessions: HashMap<String, Session>,
    bytes: usize,
}

#[derive(Default)]
struct Session {
    streams: HashMap<String, Stream>,
    bytes: usize,
    /// When the client last said something new, so it is there and reads.
    used_at: Option<Instant>,
}

struct Stream {
    events: VecDeque<Held>,
    /// Every later event is in memory.
    since: i64,
    touched_at: Instant,
    has_ended: bool,
    handed_over: Option<HandedOver>,
    changed: watch::Sender<i64>,
}

/// When a connection had taken a stream to its end, and which.
#[derive(Clone, Copy)]
struct HandedOver {
    at: Instant,
    connection: Option<ConnectionId>,
}

/// An event as its client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub id: i64,
    /// The message as JSON; `null` for one that only says when to come back. A parsed message
    /// takes a multiple of it.
    pub json: Arc<str>,
}

/// Whether more events of a stream will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    More,
    End,
}

/// Which events go to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that a client may have missed.
    Missed,
    /// Whatever is in memory: there is no room, or the process ends.
    Every,
}

/// What comes next for a reader of a stream.
pub enum Next {
    /// These events, and word of more.
    Held(Vec<Held>, Then, watch::Receiver<i64>),
    /// Events that have left memory; those after the one that is named are still there.
    Saved { until: Option<i64> },
}

impl Streams {
    /// Ids go on after `last_id`.
    pub fn after(last_id: i64) -> Streams {
        Streams { last_id, sessions: HashMap::new(), bytes: 0 }
    }

    /// Takes an event and returns its id.
    pub fn push(&mut self, session_id: &str, stream_id: &str, json: Arc<str>, then: Then, now: Instant) -> i64 {
        let since = self.last_id;
        self.last_id += 1;
        let id = self.last_id;
        let size = EVENT_BYTES + json.len();
        let stream = self.stream(session_id, stream_id, since, now);
        stream.touched_at = now;
        stream.events.push_back(Held { id, json });
        stream.has_ended |= then == Then::End;
        stream.changed.send_replace(id);
        self.add(session_id, size);
        id
    }

    /// Makes a place for events to come.
    pub fn open(&mut self, session_id: &str, stream_id: &str, now: Instant) {
        self.stream(session_id, stream_id, self.last_id, now);
    }

    fn stream(&mut self, session_id: &str, stream_id: &str, since: i64, now: Instant) -> &mut Stream {
        if !self.sessions.contains_key(session_id) {
            self.sessions.insert(session_id.to_owned(), Session::default());
        }
        if !self.sessions[session_id].streams.contains_key(stream_id) {
            self.add(session_id, STREAM_BYTES);
        }
        let session = self.sessions.entry(session_id.to_owned()).or_default();
        session.streams.entry(stream_id.to_owned()).or_insert_with(|| Stream {
            events: VecDeque::new(),
            since,
            touched_at: now,
            has_ended: false,
            handed_over: None,
            changed: watch::channel(0).0,
        })
    }

    fn add(&mut self, session_id: &str, size: usize) {
        self.bytes += size;
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.bytes += size;
        }
    }

    /// Notes that the client of a session said something new.
    pub fn note_use(&mut self, session_id: &str, now: Instant) {
        if let Some(session) = self.sessions.get_mut(session_id) {
            session.used_at = Some(now);
        }
    }

    /// Notes that a connection has taken a stream up to its last event, which is `id`.
    pub fn note_handed_over(&mut self, session_id: &str, id: i64, connection: Option<ConnectionId>, at: Instant) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let is_it = |stream: &&mut Stream| stream.events.back().is_some_and(|event| event.id == id);
        if let Some(stream) = session.streams.values_mut().filter(|stream| stream.has_ended).find(is_it) {
            stream.handed_over = Some(HandedOver { at, connection });
        }
    }

    /// Drops what a connection had taken before it brought another request of the same session:
    /// who asks again there has read it.
    pub fn note_request(&mut self, session_id: &str, connection: ConnectionId) {
        let Some(session) = self.sessions.get(session_id) else { return };
        let is_read =
            |stream: &Stream| stream.handed_over.is_some_and(|handed_over| handed_over.connection == Some(connection));
        let read = session.streams.iter().filter(|(_, stream)| is_read(stream));
        let read: Vec<String> = read.map(|(stream_id, _)| stream_id.clone()).collect();
        for stream_id in read {
            self.remove(session_id, &stream_id);
        }
    }

    /// Forgets a session that its client has closed.
    pub fn forget(&mut self, session_id: &str) {
        if let Some(session) = self.sessions.remove(session_id) {
            self.bytes -= session.bytes;
        }
    }

    /// Whether a session holds more than it may, or all do, once what seems to have been read is gone.
    pub fn is_full(&mut self, session_id: &str, now: Instant) -> bool {
        let stays = |stream: &Stream, used_at| {
            !stream.seems_read(used_at) || stream.was_handed_over_within(SEEMINGLY_READ_STAYS_AT_LEAST, now)
        };
        if self.is_over(session_id) {
            self.retain(|id, used_at, stream| id != session_id || stays(stream, used_at));
        }
        if TOTAL_BYTES < self.bytes {
            self.retain(|_, used_at, stream| stays(stream, used_at));
        }
        self.is_over(session_id) || TOTAL_BYTES < self.bytes
    }

    fn is_over(&self, session_id: &str) -> bool {
        self.sessions.get(session_id).is_some_and(|session| SESSION_BYTES < session.bytes)
    }

    /// Drops the streams that nothing happened on for the longest time until there is room, and
    /// says how many of them had events that are nowhere else.
    pub fn drop_oldest(&mut self, session_id: &str) -> usize {
        let mut lost = 0;
        while self.is_over(session_id) || TOTAL_BYTES < self.bytes {
            let is_over = self.is_over(session_id);
            let sessions = self.sessions.iter().filter(|(id, _)| !is_over || *id == session_id);
            let streams = sessions.flat_map(|(id, session)| session.streams.iter().map(move |stream| (id, stream)));
            let Some((session_id, (stream_id, stream))) = streams.min_by_key(|(_, (_, stream))| stream.touched_at)
            else {
                break;
            };
            lost += usize::from(!stream.events.is_empty());
            let (session_id, stream_id) = (session_id.clone(), stream_id.clone());
            self.remove(&session_id, &stream_id);
        }
        lost
    }

    /// Drops what was read a while ago, and what nobody came back to for `retention`.
    pub fn prune(&mut self, retention: Duration, now: Instant) {
        self.retain(|_, used_at, stream| {
            let was_read = stream.seems_read(used_at) && !stream.was_handed_over_within(SEEMINGLY_READ_STAYS, now);
            let is_old = retention <= now.saturating_duration_since(stream.touched_at);
            let has_reader = 0 < stream.changed.receiver_count();
            !was_read && (has_reader || !is_old)
        });
    }

    fn remove(&mut self, session_id: &str, stream_id: &str) {
        let Some(session) = self.sessions.get_mut(session_id) else { return };
        let Some(stream) = session.streams.remove(stream_id) else { return };
        session.bytes -= stream.size();
        self.bytes -= stream.size();
        if session.streams.is_empty() {
            self.sessions.remove(session_id);
        }
    }

    fn retain(&mut self, keep: impl Fn(&str, Option<Instant>, &Stream) -> bool) {
        let Streams { sessions, bytes: total, .. } = self;
        sessions.retain(|session_id, Session { streams, bytes, used_at }| {
            streams.retain(|_, stream| {
                let stays = keep(session_id, *used_at, stream);
                if !stays {
                    *bytes -= stream.size();
                    *total -= stream.size();
                }
                stays
            });
            !streams.is_empty()
        });
    }

    /// The stream of a session that holds an event.
    pub fn stream_of(&self, session_id: &str, id: i64) -> Option<String> {
        let streams = &self.sessions.get(session_id)?.streams;
        let holds = |stream: &Stream| stream.events.binary_search_by_key(&id, |event| event.id).is_ok();
        streams.iter().find(|(_, stream)| holds(stream)).map(|(stream_id, _)| stream_id.clone())
    }

    /// What a reader of a stream gets after `last`.
    pub fn next(&self, session_id: &str, stream_id: &str, last: i64) -> Next {
        let stream = self.sessions.get(session_id).and_then(|session| session.streams.get(stream_id));
        match stream {
            None => Next::Saved { until: None },
            Some(stream) if last < stream.since => Next::Saved { until: Some(stream.since) },
            Some(stream) => {
                let events = stream.events.iter().filter(|event| last < event.id).cloned().collect();
                let then = if stream.has_ended { Then::End } else { Then::More };
                Next::Held(events, then, stream.changed.subscribe())
            }
        }
    }

    /// The events to save.
    pub fn unsaved(&self, which: Which, now: Instant) -> Vec<sessions::Event> {
        let mut unsaved = Vec::new();
        for (session_id, session) in &self.sessions {
            for (stream_id, stream) in &session.streams {
                let is_left_out = match which {
                    Which::Missed => stream.seems_read(session.used_at) || stream.is_being_read(now),
                    Which::Every => false,
                };
                if is_left_out {
                    continue;
                }
                unsaved.extend(stream.events.iter().map(|event| sessions::Event {
                    event_id: event.id,
                    stream_id: stream_id.clone(),
                    session_id: session_id.clone(),
                    event: Arc::clone(&event.json),
                }));
            }
        }
        unsaved
    }

    /// Lets go of events that are in SQLite now.
    pub fn mark_saved(&mut self, events: &[sessions::Event]) {
        for event in events {
            let Some(session) = self.sessions.get_mut(&event.session_id) else { continue };
            let Some(stream) = session.streams.get_mut(&event.stream_id) else { continue };
            while stream.events.front().is_some_and(|held| held.id <= event.event_id) {
                let size = stream.events.pop_front().map_or(0, |held| held.size());
                session.bytes -= size;
                self.bytes -= size;
            }
            stream.since = stream.since.max(event.event_id);
            if stream.has_ended && stream.events.is_empty() {
                self.remove(&event.session_id, &event.stream_id);
            }
        }
    }
}

impl Stream {
    fn size(&self) -> usize {
        STREAM_BYTES + self.events.iter().map(Held::size).sum::<usize>()
    }

    /// Whether its client seems to have it: a connection took all of it, and the client went on
    /// by another one. It may have lost the first.
    fn seems_read(&self, used_at: Option<Instant>) -> bool {
        let Some(HandedOver { at, .. }) = self.handed_over else { return false };
        used_at.is_some_and(|used_at| at < used_at)
    }

    /// Whether its client may still be about to take it and to go on.
    fn is_being_read(&self, now: Instant) -> bool {
        let is_being_taken = self.has_ended && now.saturating_duration_since(self.touched_at) < TAKING;
        is_being_taken || self.was_handed_over_within(READING, now)
    }

    fn was_handed_over_within(&self, age: Duration, now: Instant) -> bool {
        self.handed_over.is_some_and(|handed_over| now.saturating_duration_since(handed_over.at) < age)
    }
}

impl Held {
    fn size(&self) -> usize {
        EVENT_BYTES + self.json.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn answer(streams: &mut Streams, session_id: &str, stream_id: &str, bytes: usize, now: Instant) -> i64 {
        streams.push(session_id, stream_id, "null".into(), Then::More, now);
        streams.push(session_id, stream_id, "x".repeat(bytes).into(), Then::End, now)
    }

    /// What SQLite would hold after a save.
    fn save(streams: &mut Streams, which: Which, now: Instant) -> Vec<i64> {
        let events = streams.unsaved(which, now);
        streams.mark_saved(&events);
        let mut ids: Vec<i64> = events.iter().map(|event| event.event_id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_client_that_reads_crowds_out_no_answer_that_another_missed() {
        let (mut streams, start) = (Streams::after(0), Instant::now());
        let missed = answer(&mut streams, "sleeper", "s", 1000, start);
        for n in 0..5000 {
            let now = start + ms(n);
            let id = answer(&mut streams, "busy", &format!("b{n}"), 20_000, now);
            streams.note_handed_over("busy", id, Some(ConnectionId(1)), now);
            assert!(!streams.is_full("busy", now) && streams.bytes < 25_000, "{}", streams.bytes);
            streams.note_request("sleeper", ConnectionId(1));
            streams.note_request("busy", ConnectionId(2));
            assert_eq!(streams.stream_of("busy", id), Some(format!("b{n}")));
            streams.note_request("busy", ConnectionId(1));
            assert_eq!(streams.stream_of("busy", id), None, "who asks again has read it");
        }
        assert_eq!(streams.stream_of("sleeper", missed).as_deref(), Some("s"));
        assert_eq!(save(&mut streams, Which::Missed, start + ms(5000)), [missed - 1, missed]);
        assert!(matches!(streams.next("sleeper", "s", missed - 1), Next::Saved { until: None }), "it has left memory");
    }

    #[test]
    fn an_answer_that_seems_to_be_read_is_not_saved_and_stays_for_a_while() {
        let (mut streams, start) = (Streams::after(0), Instant::now());
        let id = answer(&mut streams, "a", "1", 10, start);
        streams.note_use("a", start + ms(1));
        assert_eq!(streams.unsaved(Which::Missed, start + TAKING).len(), 2, "nobody took it");
        streams.note_handed_over("a", id, None, start + ms(2));
        assert_eq!(streams.unsaved(Which::Missed, start + ms(3)).len(), 0, "its client is reading");
        assert_eq!(streams.unsaved(Which::Missed, start + ms(2) + READING).len(), 2, "its client says nothing");
        streams.note_use("a", start + ms(4));
        assert_eq!(streams.unsaved(Which::Missed, start + ms(2) + READING).len(), 0);
        assert_eq!(streams.unsaved(Which::Every, start + ms(4)).len(), 2);

        streams.prune(HOUR, start + ms(1) + SEEMINGLY_READ_STAYS);
        assert!(streams.stream_of("a", id).is_some());
        streams.prune(HOUR, start + ms(2) + SEEMINGLY_READ_STAYS);
        assert_eq!((streams.sessions.len(), streams.bytes), (0, 0));
    }

    #[test]
    fn what_seems_to_be_read_makes_room_unless_it_is_too_early_to_come_back() {
        let (mut streams, start) = (Streams::after(0), Instant::now());
        let id = answer(&mut streams, "a", "1", SESSION_BYTES, start);
        streams.note_handed_over("a", id, None, start);
        streams.note_use("a", start + ms(1));
        assert!(streams.is_full("a", start + ms(2)));
        assert!(!streams.is_full("a", start + SEEMINGLY_READ_STAYS_AT_LEAST));
        assert_eq!(streams.bytes, 0);
    }

    #[test]
    fn what_is_not_read_makes_room_by_being_saved() {
        let (mut streams, now) = (Streams::after(0), Instant::now());
        let mut saved = Vec::new();
        for n in 0..300 {
            answer(&mut streams, "sleeper", &n.to_string(), 10_000, now);
            if streams.is_full("sleeper", now) {
                saved.extend(save(&mut streams, Which::Every, now));
                assert_eq!(streams.bytes, 0);
            }
            assert!(streams.bytes <= SESSION_BYTES);
        }
        saved.extend(save(&mut streams, Which::Every, now));
        assert_eq!(saved, (1..=600).collect::<Vec<_>>());
    }

    #[test]
    fn many_sessions_together_have_a_bound_too() {
        let (mut streams, now) = (Streams::after(0), Instant::now());
        let n_sessions = TOTAL_BYTES / (SESSION_BYTES / 2) + 1;
        let full: Vec<bool> = (0..n_sessions)
            .map(|n| {
                answer(&mut streams, &n.to_string(), "1", SESSION_BYTES / 2 - 1024, now + ms(n as u64));
                streams.is_full(&n.to_string(), now)
            })
            .collect();
        assert_eq!(full.iter().filter(|full| **full).count(), 1);
        // Nothing can be saved: the oldest goes.
        assert_eq!(streams.drop_oldest(&(n_sessions - 1).to_string()), 1);
        assert!(streams.bytes <= TOTAL_BYTES && !streams.sessions.contains_key("0"));
    }

    #[test]
    fn without_a_store_a_session_loses_its_own_oldest_answers_only() {
        let (mut streams, start) = (Streams::after(0), Instant::now());
        let kept = answer(&mut streams, "a", "1", 10, start);
        let fit = SESSION_BYTES as u64 / (STREAM_BYTES + 2 * EVENT_BYTES + 4 + 10_000) as u64;
        for n in 0..200 {
            answer(&mut streams, "b", &n.to_string(), 10_000, start + ms(1 + n));
            let lost = streams.drop_oldest("b");
            assert_eq!(lost, usize::from(fit <= n), "{n}");
        }
        assert!(streams.stream_of("a", kept).is_some());
        assert!(streams.sessions["b"].streams.contains_key("199"));
        assert!(streams.bytes <= SESSION_BYTES + STREAM_BYTES + 2 * EVENT_BYTES + 14);
    }

    #[test]
    fn a_stream_goes_on_after_its_first_events_were_saved() {
        let (mut streams, now) = (Streams::after(7), Instant::now());
        let first = streams.push("a", "1", "null".into(), Then::More, now);
        assert_eq!(first, 8);
        save(&mut streams, Which::Missed, now);
        let last = streams.push("a", "1", "{}".into(), Then::End, now);
        let Next::Held(events, then, _) = streams.next("a", "1", first) else { panic!("it left memory") };
        assert_eq!((events, then), (vec![Held { id: last, json: "{}".into() }], Then::End));
        assert!(matches!(streams.next("a", "1", 0), Next::Saved { until: Some(8) }));
        streams.forget("a");
        assert_eq!((streams.sessions.len(), streams.bytes), (0, 0));
    }

    #[test]
    fn nobody_comes_back_after_the_retention() {
        let (mut streams, start) = (Streams::after(0), Instant::now());
        streams.open("a", "a:common", start);
        streams.open("a", "1", start);
        let Next::Held(_, _, _listener) = streams.next("a", "a:common", 0) else { panic!("it is new") };
        streams.prune(HOUR, start + HOUR);
        assert_eq!(streams.sessions["a"].streams.keys().collect::<Vec<_>>(), ["a:common"]);
        assert_eq!(streams.bytes, STREAM_BYTES);
    }
}
