//! Events of `/mcp` streams: in memory while a client listens, in SQLite once it may have missed them.
//!
//! A stream that ended while its session goes on asking has been read, so busy sessions
//! leave no trace in the file.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::session::{
    EventId, EventStore, EventStoreError, EventStream, ServerSseMessage, SessionId,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use crate::app::App;
use crate::error::{Error, Result};
use crate::store::sessions;

/// Events kept of one stream.
const EVENTS_PER_STREAM: usize = 256;
/// Ended streams kept in memory.
const ENDED_STREAMS: usize = 512;
/// Events waiting for a client that reads slowly.
const REPLAY_QUEUE: usize = 64;
/// Sessions whose last use is remembered.
const SESSIONS: usize = 16_384;
/// The room for ids within a millisecond of the clock, as a shift.
const IDS_PER_MS: u32 = 16;

/// All streams of all sessions.
pub struct Events {
    app: Arc<App>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_id: i64,
    streams: HashMap<String, Stream>,
    /// Streams that have ended, the oldest first.
    ended: VecDeque<String>,
    used_at: HashMap<String, Instant>,
}

struct Stream {
    session_id: String,
    events: VecDeque<(i64, ServerSseMessage)>,
    /// The newest event that is in SQLite, or one that is newer and of another stream.
    saved: i64,
    touched_at: Instant,
    ended_at: Option<Instant>,
    changed: watch::Sender<i64>,
}

/// The part of the events that one session may read.
pub struct SessionEvents {
    pub events: Arc<Events>,
    pub session_id: Arc<OnceLock<SessionId>>,
}

impl Events {
    pub fn new(app: Arc<App>) -> Arc<Events> {
        // Ids go on from the clock: one that a client kept from before a restart names nothing new.
        let last_id = app.clock.now().as_millis() << IDS_PER_MS;
        Arc::new(Events { app, inner: Mutex::new(Inner { last_id, ..Inner::default() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the client of a session said something, so it has read what came before.
    pub fn note_use(&self, session_id: &str) {
        let mut inner = self.lock();
        if let Some(used_at) = inner.used_at.get_mut(session_id) {
            *used_at = Instant::now();
            return;
        }
        if SESSIONS <= inner.used_at.len() {
            inner.used_at.clear();
        }
        inner.used_at.insert(session_id.to_owned(), Instant::now());
    }

    /// Forgets a session that its client has closed.
    pub fn forget(&self, session_id: &str) {
        let mut inner = self.lock();
        inner.used_at.remove(session_id);
        inner.streams.retain(|_, stream| stream.session_id != session_id);
    }

    fn append(&self, session_id: &str, stream_id: &str, event: &ServerSseMessage) -> i64 {
        let mut inner = self.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        let mut event = event.clone();
        event.event_id = Some(id.to_string());
        let ends = event.message.as_deref().is_some_and(ends_stream) && !is_common(stream_id);
        let stream = inner.streams.entry(stream_id.to_owned()).or_insert_with(|| Stream::new(session_id));
        stream.touched_at = Instant::now();
        stream.events.push_back((id, event));
        if EVENTS_PER_STREAM < stream.events.len() {
            stream.events.pop_front();
        }
        if ends {
            stream.ended_at = Some(Instant::now());
        }
        stream.changed.send_replace(id);
        if ends {
            inner.ended.push_back(stream_id.to_owned());
            if ENDED_STREAMS < inner.ended.len()
                && let Some(oldest) = inner.ended.pop_front()
            {
                inner.streams.remove(&oldest);
            }
        }
        id
    }

    /// Writes what clients may have missed to SQLite.
    pub async fn save(&self, which: Which) -> Result<()> {
        let mut events = self.lock().unsaved(which);
        for event in &mut events {
            // An answer that revealed a secret has gone to its client; the file keeps none.
            if let Cow::Owned(clean) = self.app.secrets.clean(&event.event) {
                event.event = clean;
            }
        }
        let Some(newest) = events.iter().map(|event| event.event_id).max() else { return Ok(()) };
        let now = self.app.clock.now();
        let streams: Vec<String> = events.iter().map(|event| event.stream_id.clone()).collect();
        self.app.store.write(move |tx| sessions::insert_events(tx, &events, now)).await?;
        self.lock().mark_saved(&streams, newest);
        Ok(())
    }

    /// Removes what is older than the configured time.
    pub async fn prune(&self, retention: Duration) -> Result<()> {
        self.lock()
            .streams
            .retain(|_, stream| 0 < stream.changed.receiver_count() || stream.touched_at.elapsed() < retention);
        let before = self.app.clock.now() - retention;
        self.app.store.write(move |tx| sessions::remove_events_before(tx, before)).await
    }

    /// The stream that an event of this session belongs to.
    async fn find(&self, session_id: &str, last: i64) -> Result<Option<String>> {
        // What the first answers of a session carry, before there is anything to come back to.
        if last == 0 {
            return Ok(Some(common(session_id)));
        }
        if let Some(stream_id) = self.lock().stream_of(session_id, last) {
            return Ok(Some(stream_id));
        }
        self.app.store.read_now(|conn| sessions::stream_of(conn, session_id, last)).await
    }

    /// What SQLite holds of a stream after `last`.
    async fn saved(&self, stream_id: &str, last: i64) -> Result<Vec<(i64, ServerSseMessage)>> {
        let rows =
            self.app.store.read_now(|conn| sessions::events_after(conn, stream_id, last, EVENTS_PER_STREAM)).await?;
        rows.into_iter()
            .map(|(id, json)| {
                let message: Option<ServerJsonRpcMessage> = serde_json::from_str(&json).map_err(Error::internal)?;
                let mut event = ServerSseMessage::default();
                event.event_id = Some(id.to_string());
                event.message = message.map(Arc::new);
                Ok((id, event))
            })
            .collect()
    }
}

/// Which events go to SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that a client may have missed.
    Missed,
    /// Whatever is in memory: the process ends.
    Every,
}

impl Inner {
    fn stream_of(&self, session_id: &str, id: i64) -> Option<String> {
        let holds = |stream: &Stream| {
            stream.session_id == session_id && stream.events.binary_search_by_key(&id, |(id, _)| *id).is_ok()
        };
        self.streams.iter().find(|(_, stream)| holds(stream)).map(|(stream_id, _)| stream_id.clone())
    }

    fn unsaved(&self, which: Which) -> Vec<sessions::Event> {
        let mut unsaved = Vec::new();
        for (stream_id, stream) in &self.streams {
            let is_read = stream.ended_at.is_some_and(|ended_at| {
                self.used_at.get(&stream.session_id).is_some_and(|used_at| ended_at < *used_at)
            });
            if is_read && which == Which::Missed {
                continue;
            }
            for (id, event) in stream.events.iter().filter(|(id, _)| stream.saved < *id) {
                // Messages are ours and serialise; one that did not would be lost to replay only.
                let Ok(json) = serde_json::to_string(&event.message.as_deref()) else { continue };
                unsaved.push(sessions::Event {
                    event_id: *id,
                    stream_id: stream_id.clone(),
                    session_id: stream.session_id.clone(),
                    event: json,
                });
            }
        }
        unsaved
    }

    fn mark_saved(&mut self, stream_ids: &[String], newest: i64) {
        for stream_id in stream_ids {
            if let Some(stream) = self.streams.get_mut(stream_id) {
                stream.saved = stream.saved.max(newest);
            }
        }
    }
}

fn common(session_id: &str) -> String {
    format!("{session_id}:common")
}

/// Whether a stream is the one without a request of its own, which never ends.
fn is_common(stream_id: &str) -> bool {
    stream_id.ends_with(":common")
}

fn ends_stream(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_))
}

#[async_trait::async_trait]
impl EventStore for SessionEvents {
    async fn store_event(&self, stream_id: &str, event: &ServerSseMessage) -> Result<EventId, EventStoreError> {
        let session_id = self.session_id.get().ok_or("a session without an id")?;
        Ok(self.events.append(session_id, stream_id, event).to_string())
    }

    async fn replay_events_after(&self, last_event_id: &str) -> Result<EventStream, EventStoreError> {
        let session_id = self.session_id.get().ok_or("a session without an id")?;
        let last: i64 = last_event_id.parse()?;
        let stream_id = self.events.find(session_id, last).await?.ok_or("no such event in this session")?;
        let (out, events) = mpsc::channel(REPLAY_QUEUE);
        tokio::spawn(replay(Arc::clone(&self.events), stream_id, last, out));
        Ok(Box::pin(ReceiverStream::new(events)))
    }
}

/// Sends what came after `last`, first what SQLite holds, then what memory holds, then what comes.
async fn replay(events: Arc<Events>, stream_id: String, mut last: i64, out: mpsc::Sender<ServerSseMessage>) {
    let has_it = |inner: &Inner| inner.streams.get(&stream_id).is_some_and(|stream| stream.reaches_back_to(last));
    let is_in_memory = has_it(&events.lock());
    if !is_in_memory {
        let saved = match events.saved(&stream_id, last).await {
            Ok(saved) => saved,
            Err(error) => {
                tracing::warn!(cause = error.chain(), "events are not replayed: {error}");
                return;
            }
        };
        for (id, event) in saved {
            let ends = event.message.as_deref().is_some_and(ends_stream) && !is_common(&stream_id);
            last = id;
            if out.send(event).await.is_err() || ends {
                return;
            }
        }
    }
    loop {
        let next = events.lock().after(&stream_id, last, is_common(&stream_id));
        let Some((batch, ended, mut changed)) = next else { return };
        for (id, event) in batch {
            last = id;
            if out.send(event).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
        tokio::select! {
            still = changed.changed() => if still.is_err() { return },
            () = out.closed() => return,
        }
    }
}

type Next = (Vec<(i64, ServerSseMessage)>, bool, watch::Receiver<i64>);

impl Inner {
    /// The events of a stream after `last`, whether there will be no more, and what tells of more.
    fn after(&mut self, stream_id: &str, last: i64, is_common: bool) -> Option<Next> {
        if is_common && !self.streams.contains_key(stream_id) {
            // Nothing has happened since the start; what will happen goes here.
            let session_id = stream_id.trim_end_matches(":common").to_owned();
            self.streams.insert(stream_id.to_owned(), Stream::new(&session_id));
        }
        let stream = self.streams.get_mut(stream_id)?;
        let changed = stream.changed.subscribe();
        let batch = stream.events.iter().filter(|(id, _)| last < *id).cloned().collect();
        Some((batch, stream.ended_at.is_some(), changed))
    }
}

impl Stream {
    fn new(session_id: &str) -> Stream {
        Stream {
            session_id: session_id.to_owned(),
            events: VecDeque::new(),
            saved: 0,
            touched_at: Instant::now(),
            ended_at: None,
            changed: watch::channel(0).0,
        }
    }

    fn reaches_back_to(&self, last: i64) -> bool {
        self.events.front().is_some_and(|(id, _)| *id <= last)
    }
}
