//! What an `/sse` session says: kept for a while, so that a client that lost its connection hears the rest.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::HeaderValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::guarded::Guarded;

const MESSAGES: usize = 256;
const BYTES: usize = 8 * 1024 * 1024;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon a client that lost its stream is to come back.
const RETRY: Duration = Duration::from_millis(500);

pub struct Outbox {
    inner: Mutex<Inner>,
    /// Changes whenever a reader or the writer may go on.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    messages: VecDeque<(u64, String)>,
    bytes: usize,
    last: u64,
    /// Counts the readers; only the newest is served.
    reader: u64,
    is_read: bool,
    /// The last message that the reader took.
    taken: u64,
    is_closed: bool,
}

impl Default for Outbox {
    fn default() -> Outbox {
        Outbox { inner: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Adds a message; waits while there is a reader that has much to read.
    pub async fn push(&self, json: String) {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let mut inner = self.lock();
                if inner.is_closed {
                    return;
                }
                if !inner.is_read || inner.last - inner.taken < MESSAGES as u64 {
                    inner.add(json);
                    break;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
        self.tell();
    }

    pub fn close(&self) {
        self.lock().is_closed = true;
        self.tell();
    }

    /// Answers with the stream of messages after `after`; an earlier reader's stream ends.
    pub fn respond<G: Send + 'static>(
        self: &Arc<Self>,
        session_id: &str,
        after: u64,
        endpoint: &str,
        guard: G,
        ct: CancellationToken,
    ) -> Response {
        let reader = {
            let mut inner = self.lock();
            inner.reader += 1;
            inner.is_read = true;
            // A client cannot have heard what was never said; another process counted differently.
            inner.taken = after.min(inner.last);
            Reader { outbox: Arc::clone(self), number: inner.reader, position: inner.taken }
        };
        self.tell();
        let session_id = session_id.to_owned();
        let greeting = Event::default()
            .event("endpoint")
            .id(format!("{session_id}.{}", reader.position))
            .retry(RETRY)
            .data(endpoint);
        let stopped = ct.cancelled_owned();
        let messages = futures_util::stream::unfold(reader, Reader::next)
            .map(move |(n, json)| Event::default().event("message").id(format!("{session_id}.{n}")).data(json));
        let greeting = futures_util::stream::once(std::future::ready(greeting));
        let events = greeting.chain(messages).map(Ok::<_, Infallible>).take_until(stopped);
        let body = Guarded::new(events, guard);
        let mut response = Sse::new(body).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
        response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
        response
    }
}

impl Inner {
    fn add(&mut self, json: String) {
        self.last += 1;
        self.bytes += json.len();
        self.messages.push_back((self.last, json));
        while MESSAGES < self.messages.len() || (BYTES < self.bytes && 1 < self.messages.len()) {
            if let Some((_, oldest)) = self.messages.pop_front() {
                self.bytes -= oldest.len();
            }
        }
    }
}

/// The connection that listens.
struct Reader {
    outbox: Arc<Outbox>,
    number: u64,
    position: u64,
}

impl Reader {
    async fn next(mut self) -> Option<((u64, String), Reader)> {
        let mut changed = self.outbox.changed.subscribe();
        loop {
            let (next, is_closed) = {
                let mut inner = self.outbox.lock();
                if inner.reader != self.number {
                    return None;
                }
                let next = inner.messages.iter().find(|(n, _)| self.position < *n).cloned();
                if let Some((n, _)) = &next {
                    inner.taken = *n;
                }
                (next, inner.is_closed)
            };
            if let Some((n, json)) = next {
                self.position = n;
                self.outbox.tell();
                return Some(((n, json), self));
            }
            if is_closed || changed.changed().await.is_err() {
                return None;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.outbox.lock();
        if inner.reader == self.number {
            inner.is_read = false;
        }
        drop(inner);
        self.outbox.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(outbox: &Arc<Outbox>, after: u64) -> Reader {
        let mut inner = outbox.lock();
        inner.reader += 1;
        inner.is_read = true;
        inner.taken = after;
        Reader { outbox: Arc::clone(outbox), number: inner.reader, position: after }
    }

    #[tokio::test]
    async fn what_was_said_to_nobody_is_heard_later() {
        let outbox = Arc::new(Outbox::default());
        outbox.push("a".into()).await;
        outbox.push("b".into()).await;
        let ((n, json), reader) = reader(&outbox, 1).next().await.unwrap();
        assert_eq!((n, json.as_str()), (2, "b"));
        outbox.close();
        assert!(reader.next().await.is_none());
    }

    #[tokio::test]
    async fn a_slow_reader_makes_the_service_wait_and_an_absent_one_does_not() {
        let outbox = Arc::new(Outbox::default());
        let reader = reader(&outbox, 0);
        for _ in 0..MESSAGES {
            outbox.push("x".into()).await;
        }
        let wait = Duration::from_millis(50);
        assert!(tokio::time::timeout(wait, outbox.push("y".into())).await.is_err());
        drop(reader);
        tokio::time::timeout(wait, outbox.push("z".into())).await.unwrap();
        assert_eq!(outbox.lock().messages.len(), MESSAGES);
    }
}
