//! MCP: both eras on one URL, by one handler over the registry.
//!
//! Requests of 2026-07-28 go to an instance without sessions and without an event store, so
//! that a lost connection ends the call; all others go to one with both, so that it does not.
//!
//! Invariant: no file here knows a shipped tool's input, except those that read resources.

mod call;
mod complete;
mod conformance;
mod elicit;
mod events;
mod guarded;
mod handler;
mod lean;
mod outbox;
mod prompts;
mod refuse;
mod resources;
mod roster;
mod route;
mod sessions;
mod sse;
mod stdio;
mod streams;
mod subscribe;
pub mod tools;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rmcp::model::{RequestStateCodec, Tool};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use self::conformance::Fixtures;
use self::events::Events;
use self::handler::Handler;
use self::roster::Roster;
use self::streams::Which;
use self::subscribe::Watchers;
use crate::app::{Caller, Event, access};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::store::sessions as rows;

pub use stdio::{serve_socket, serve_stdio};

/// How long an answer takes from the tool to the wire.
const LAST_WORD: Duration = Duration::from_millis(50);
/// How long a token that has expired may keep its streams.
const ACCESS_EVERY: Duration = Duration::from_secs(1);
const SAVE_EVERY: Duration = Duration::from_secs(1);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Sessions that nobody came back to for so long are forgotten.
const SESSION_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// For each session in memory, so many that have been idle are remembered.
const REMEMBERED: usize = 16;

/// The MCP surface: build one for a process, and close it before the store.
#[derive(Clone)]
pub struct Mcp {
    shared: Arc<Shared>,
    events: Arc<Events>,
    ct: CancellationToken,
}

/// What every session and request shares.
struct Shared {
    registry: Arc<Registry>,
    roster: Arc<Roster>,
    watchers: Arc<Watchers>,
    tools: HashMap<&'static str, Tool>,
    /// Seals what a client holds for us between two rounds of a call.
    codec: RequestStateCodec,
    fixtures: Option<Fixtures>,
    /// Calls that run.
    calls: watch::Sender<usize>,
}

/// A call that runs, until it is dropped.
struct Running<'a>(&'a Shared);

/// Whether the tools that the conformance suite calls are there; never in normal use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    #[default]
    Shipped,
    WithFixtures,
}

impl Mcp {
    /// Sessions and streams end when `ct` does.
    pub fn new(registry: Arc<Registry>, offer: Offer, ct: CancellationToken) -> Result<Mcp> {
        let app = Arc::clone(&registry.app);
        let watchers = Arc::new(Watchers::default());
        let roster = Roster::new(app.config.mcp.clone());
        let events = Events::new(Arc::clone(&app));
        let shared = Shared {
            tools: registry.all().map(|tool| (tool.entry.name, tools::describe(tool))).collect(),
            codec: RequestStateCodec::try_new(app.keys.state.expose().to_vec()).map_err(Error::internal)?,
            fixtures: (offer == Offer::WithFixtures).then(Fixtures::default),
            calls: watch::channel(0).0,
            roster: Arc::clone(&roster),
            watchers: Arc::clone(&watchers),
            registry,
        };
        tokio::spawn(watchers.pass_on(app.events.subscribe(), ct.clone()));
        let mcp = Mcp { shared: Arc::new(shared), events, ct };
        tokio::spawn(mcp.clone().keep_house());
        tokio::spawn(mcp.clone().keep_out(app.events.subscribe()));
        Ok(mcp)
    }

    /// `/mcp`, `/sse` and `/messages`; every request brings its `Arc<Caller>` as an extension.
    pub fn router(&self) -> Router {
        let body = axum::extract::DefaultBodyLimit::max(self.shared.registry.app.config.limits.body_bytes);
        let mcp = route::router(&self.shared, &self.events, &self.ct);
        let sse = sse::router(Arc::clone(&self.shared), self.ct.clone());
        let sse = sse.layer(axum::middleware::from_fn_with_state(Arc::clone(&self.shared), route::narrow));
        mcp.merge(sse).layer(body)
    }

    /// Lets calls that run end, so that their clients hear the answer before the streams end.
    pub async fn finish_calls(&self, within: Duration) {
        let mut calls = self.shared.calls.subscribe();
        if *calls.borrow() == 0 {
            return;
        }
        let done = async { drop(calls.wait_for(|running| *running == 0).await) };
        if tokio::time::timeout(within, done).await.is_ok() {
            tokio::time::sleep(LAST_WORD).await;
        }
    }

    /// Ends every stream and session in memory.
    pub fn end_streams(&self) {
        self.ct.cancel();
    }

    /// Writes what clients may come back for; the last thing before the store is closed.
    pub async fn close(&self) -> Result<()> {
        self.end_streams();
        self.note_use().await?;
        self.events.save(Which::Every).await
    }

    /// Ends idle sessions and keeps the rows in step, until the end.
    async fn keep_house(self) {
        let idle = self.shared.roster.limits().session_idle;
        let mut ends = tokio::time::interval((idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(10)));
        let mut saves = tokio::time::interval(SAVE_EVERY);
        let retention = self.shared.roster.limits().event_retention;
        let mut prunes = tokio::time::interval((retention / 4).clamp(Duration::from_millis(50), PRUNE_EVERY));
        for interval in [&mut ends, &mut saves, &mut prunes] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            let result = tokio::select! {
                () = self.ct.cancelled() => return,
                _ = ends.tick() => {
                    self.shared.roster.end_idle();
                    Ok(())
                }
                _ = saves.tick() => {
                    self.events.forget_old(retention);
                    self.events.save(Which::Missed).await
                }
                _ = prunes.tick() => self.prune().await,
            };
            if let Err(error) = result {
                tracing::warn!(cause = error.chain(), "MCP sessions are not kept: {error}");
            }
        }
    }

    /// Ends what is open of callers that may call no longer, until the end. A revocation is told
    /// at once; looking again finds the rest: what has expired, events that were missed, and what
    /// was opened by a request that came in before its token was revoked.
    async fn keep_out(self, mut events: broadcast::Receiver<Event>) {
        let mut again = tokio::time::interval(ACCESS_EVERY);
        again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = self.ct.cancelled() => return,
                _ = again.tick() => Ok(Event::AccessEnded),
                event = events.recv() => event,
            };
            match event {
                Ok(Event::AccessEnded) | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => return,
            }
            if let Err(error) = self.end_lapsed().await {
                tracing::warn!(cause = error.chain(), "whose access has ended is not known: {error}");
            }
        }
    }

    async fn end_lapsed(&self) -> Result<()> {
        let principals = self.shared.roster.principals();
        if principals.is_empty() {
            return Ok(());
        }
        for principal in access::ended(&self.shared.registry.app, principals).await? {
            let sessions = self.shared.roster.end(&principal);
            tracing::info!(
                caller = principal,
                sessions = sessions.len(),
                "access has ended, and what was open with it"
            );
            for session_id in sessions {
                self.events.forget(&session_id);
            }
        }
        Ok(())
    }

    async fn prune(&self) -> Result<()> {
        self.note_use().await?;
        let limits = self.shared.roster.limits();
        self.events.prune(limits.event_retention).await?;
        let (unused_since, most) = (self.shared.now() - SESSION_RETENTION, limits.sessions_max * REMEMBERED);
        self.shared.registry.app.store.write(move |tx| rows::prune(tx, unused_since, most)).await
    }

    async fn note_use(&self) -> Result<()> {
        let used = self.shared.roster.take_used();
        if used.is_empty() {
            return Ok(());
        }
        let now = self.shared.now();
        self.shared.registry.app.store.write(move |tx| rows::touch(tx, &used, now)).await
    }
}

/// The routes alone, for those who close nothing.
pub fn router(registry: Arc<Registry>, offer: Offer, ct: CancellationToken) -> Result<Router> {
    Ok(Mcp::new(registry, offer, ct)?.router())
}

impl Shared {
    /// A handler for one session or request; `caller` is whose it is where requests do not say.
    fn handler(self: &Arc<Self>, caller: Option<Arc<Caller>>) -> Handler {
        Handler::new(Arc::clone(self), caller)
    }

    fn running(&self) -> Running<'_> {
        self.calls.send_modify(|running| *running += 1);
        Running(self)
    }

    fn now(&self) -> Timestamp {
        self.registry.app.clock.now()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.calls.send_modify(|running| *running -= 1);
    }
}
