//! Events of `/mcp` streams: in memory until they are read, in SQLite once a client may have missed them.
//!
//! An answer has been read when its connection brings the next request, and seems to be when the
//! session goes on by another one; busy sessions leave no trace in the file. Whatever else leaves
//! memory is saved first.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::transport::streamable_http_server::session::{
    EventId, EventStore, EventStoreError, EventStream, ServerSseMessage, SessionId,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::sessions::REQUEST;
use super::streams::{Held, Next, Streams, Then, Which};
use crate::app::App;
use crate::error::{Error, Result};
use crate::store::sessions;
use crate::surface::ConnectionId;

/// Events read from SQLite at a time.
const BATCH: usize = 64;
/// Events waiting for a client that reads slowly.
const REPLAY_QUEUE: usize = 16;
/// The room for ids within a millisecond of the clock, as a shift.
const IDS_PER_MS: u32 = 16;

/// All streams of all sessions.
pub struct Events {
    app: Arc<App>,
    streams: Mutex<Streams>,
    /// Held during a save, so that whoever waits for room finds it made.
    saving: tokio::sync::Mutex<()>,
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
        Arc::new(Events { app, streams: Mutex::new(Streams::after(last_id)), saving: tokio::sync::Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the client of a session said something new, so it seems to have read what was handed over.
    pub fn note_use(&self, session_id: &str) {
        self.lock().note_use(session_id, Instant::now());
    }

    /// Notes the connection that a request of a session came by.
    pub fn note_request(&self, session_id: &str, connection: ConnectionId) {
        self.lock().note_request(session_id, connection);
    }

    /// Forgets a session that its client has closed.
    pub fn forget(&self, session_id: &str) {
        self.lock().forget(session_id);
    }

    async fn append(&self, session_id: &str, stream_id: &str, event: &ServerSseMessage) -> Result<i64> {
        let json = serde_json::to_string(&event.message.as_deref()).map_err(Error::internal)?;
        let then = then(stream_id, event);
        let id = self.lock().push(session_id, stream_id, json.into(), then, Instant::now());
        self.make_room(session_id).await;
        Ok(id)
    }

    /// Saves what is not read once it takes too much memory. Its session waits meanwhile, so that
    /// it cannot outrun the disk.
    async fn make_room(&self, session_id: &str) {
        if !self.lock().is_full(session_id, Instant::now()) {
            return;
        }
        let saving = self.saving.lock().await;
        if !self.lock().is_full(session_id, Instant::now()) {
            return;
        }
        if let Err(error) = self.write(Which::Every).await {
            tracing::warn!(cause = error.chain(), "events are not kept: {error}");
        }
        let lost = self.lock().drop_oldest(session_id);
        drop(saving);
        if 0 < lost {
            tracing::warn!(
                session_id,
                streams = lost,
                "events that could not be saved are lost to those who missed them"
            );
        }
    }

    /// Writes events to SQLite and lets go of them.
    pub async fn save(&self, which: Which) -> Result<()> {
        let _saving = self.saving.lock().await;
        self.write(which).await
    }

    async fn write(&self, which: Which) -> Result<()> {
        let events: Arc<[sessions::Event]> = self.lock().unsaved(which, Instant::now()).into();
        if events.is_empty() {
            return Ok(());
        }
        let mut rows = events.to_vec();
        for row in &mut rows {
            // An answer that revealed a secret has gone to its client; the file keeps none.
            if let Cow::Owned(clean) = self.app.secrets.clean(&row.event) {
                row.event = clean.into();
            }
        }
        let now = self.app.clock.now();
        self.app.store.write(move |tx| sessions::insert_events(tx, &rows, now)).await?;
        self.lock().mark_saved(&events);
        Ok(())
    }

    /// Lets go of what was read, and of what is older than the configured time.
    pub fn forget_old(&self, retention: Duration) {
        self.lock().prune(retention, Instant::now());
    }

    /// Removes what is older than the configured time from SQLite.
    pub async fn prune(&self, retention: Duration) -> Result<()> {
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

    /// What SQLite holds of a stream after `last`: the next of it.
    async fn saved(&self, stream_id: &str, last: i64) -> Result<Vec<Held>> {
        let rows = self.app.store.read_now(|conn| sessions::events_after(conn, stream_id, last, BATCH)).await?;
        Ok(rows.into_iter().map(|(id, json)| Held { id, json: json.into() }).collect())
    }
}

fn common(session_id: &str) -> String {
    format!("{session_id}:common")
}

/// Whether a stream is the one without a request of its own, which never ends.
fn is_common(stream_id: &str) -> bool {
    stream_id.ends_with(":common")
}

/// Whether an event is the last of its stream.
fn then(stream_id: &str, event: &ServerSseMessage) -> Then {
    match event.message.as_deref() {
        Some(ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_)) if !is_common(stream_id) => Then::End,
        _ => Then::More,
    }
}

fn message(event: &Held) -> Result<ServerSseMessage> {
    let message: Option<ServerJsonRpcMessage> = serde_json::from_str(&event.json).map_err(Error::internal)?;
    let mut sent = ServerSseMessage::default();
    sent.event_id = Some(event.id.to_string());
    sent.message = message.map(Arc::new);
    Ok(sent)
}

#[async_trait::async_trait]
impl EventStore for SessionEvents {
    async fn store_event(&self, stream_id: &str, event: &ServerSseMessage) -> Result<EventId, EventStoreError> {
        let session_id = self.session_id.get().ok_or("a session without an id")?;
        Ok(self.events.append(session_id, stream_id, event).await?.to_string())
    }

    async fn replay_events_after(&self, last_event_id: &str) -> Result<EventStream, EventStoreError> {
        let session_id = self.session_id.get().ok_or("a session without an id")?;
        let last: i64 = last_event_id.parse()?;
        let stream_id = self.events.find(session_id, last).await?.ok_or("no such event in this session")?;
        if is_common(&stream_id) {
            // Nothing may have happened since the start; what will happen goes here.
            self.events.lock().open(session_id, &stream_id, Instant::now());
        }
        let (out, events) = mpsc::channel(REPLAY_QUEUE);
        let replay =
            Replay { events: Arc::clone(&self.events), session_id: Arc::clone(session_id), stream_id, last, out };
        tokio::spawn(replay.run());
        Ok(Box::pin(ReceiverStream::new(events)))
    }
}

/// A client that comes back gets what came after the last event that it knows.
struct Replay {
    events: Arc<Events>,
    session_id: SessionId,
    stream_id: String,
    last: i64,
    out: mpsc::Sender<ServerSseMessage>,
}

impl Replay {
    async fn run(mut self) {
        if let Err(error) = self.send_all().await {
            tracing::warn!(cause = error.chain(), "events are not replayed: {error}");
        }
    }

    /// Sends what has left memory, what is in memory, and then what comes, until the stream ends
    /// or its client goes away.
    async fn send_all(&mut self) -> Result<()> {
        loop {
            let next = self.events.lock().next(&self.session_id, &self.stream_id, self.last);
            let (batch, rest, changed) = match next {
                Next::Held(batch, rest, changed) => (batch, rest, Some(changed)),
                Next::Saved { until } => {
                    let batch = self.events.saved(&self.stream_id, self.last).await?;
                    if batch.is_empty() {
                        let Some(until) = until else { return Ok(()) };
                        self.last = until;
                    }
                    (batch, Then::More, None)
                }
            };
            for event in batch {
                let sent = message(&event)?;
                self.last = event.id;
                let ends = then(&self.stream_id, &sent);
                if self.out.send(sent).await.is_err() || ends == Then::End {
                    return Ok(());
                }
            }
            if rest == Then::End {
                return Ok(());
            }
            if let Some(mut changed) = changed {
                tokio::select! {
                    // A stream whose place is gone has left memory, or its session is closed.
                    _ = changed.changed() => {}
                    () = self.out.closed() => return Ok(()),
                }
            }
        }
    }
}

/// A stream of one response, which notes that the connection has taken all of it.
pub struct HandedOver<S> {
    inner: Pin<Box<S>>,
    events: Arc<Events>,
    session_id: SessionId,
    connection: Option<ConnectionId>,
    /// The event that passed last.
    last: Option<i64>,
}

impl<S> HandedOver<S> {
    pub fn new(inner: S, events: &Arc<Events>, session_id: &SessionId) -> HandedOver<S> {
        let (events, session_id) = (Arc::clone(events), Arc::clone(session_id));
        // Nobody knows the connection of a router that is called without one.
        let connection = REQUEST.try_with(|request| request.connection).ok().flatten();
        HandedOver { inner: Box::pin(inner), events, session_id, connection, last: None }
    }
}

impl<S: Stream<Item = ServerSseMessage>> Stream for HandedOver<S> {
    type Item = ServerSseMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ServerSseMessage>> {
        let next = self.inner.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(event)) => self.last = event.event_id.as_deref().and_then(|id| id.parse().ok()),
            // The connection asks for more: it has taken what came before. One that broke asks no more.
            Poll::Ready(None) => {
                if let Some(id) = self.last.take() {
                    self.events.lock().note_handed_over(&self.session_id, id, self.connection, Instant::now());
                }
            }
            Poll::Pending => {}
        }
        next
    }
}
