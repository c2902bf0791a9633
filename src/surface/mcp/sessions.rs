//! Sessions of `/mcp`: one owner each, an event store each, and a row in SQLite that outlives both.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use futures_util::Stream;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionHandle, LocalSessionManager, LocalSessionManagerError, SessionError,
};
use rmcp::transport::streamable_http_server::session::{
    RestoreOutcome, ServerSseMessage, SessionId, SessionManager, SessionState, SessionStore, SessionStoreError,
};
use tokio_stream::wrappers::ReceiverStream;

use super::events::{Events, HandedOver, SessionEvents};
use super::roster::Roster;
use crate::app::App;
use crate::error::Error;
use crate::store::sessions;
use crate::surface::ConnectionId;

tokio::task_local! {
    /// The request that is being answered: the session manager is not told whose it is.
    pub static REQUEST: Arc<Request>;
}

/// What a request brings along, and takes back, past the session manager.
pub struct Request {
    pub principal: String,
    /// The connection that it came by.
    pub connection: Option<ConnectionId>,
    /// Why there is no session for it.
    pub refusal: Mutex<Option<Error>>,
}

impl Request {
    pub fn of(principal: &str, connection: Option<ConnectionId>) -> Arc<Request> {
        Arc::new(Request { principal: principal.to_owned(), connection, refusal: Mutex::default() })
    }

    pub fn take_refusal(&self) -> Option<Error> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The sessions in memory. Each has a manager of its own, because events know their stream
/// and not their session, and a stream must not be read by another session.
pub struct Sessions {
    app: Arc<App>,
    roster: Arc<Roster>,
    events: Arc<Events>,
    inner: Mutex<Inner>,
    this: Weak<Sessions>,
}

#[derive(Default)]
struct Inner {
    managers: HashMap<SessionId, Arc<LocalSessionManager>>,
    /// Sessions that were ended here and whose service has still to say so. What it says must not
    /// end the session that came back under the same id meanwhile.
    ending: HashMap<SessionId, u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum SessionsError {
    #[error(transparent)]
    Manager(#[from] LocalSessionManagerError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("no session {0}")]
    Unknown(SessionId),
    #[error("{0}")]
    Refused(String),
}

impl Sessions {
    pub fn new(app: Arc<App>, roster: Arc<Roster>, events: Arc<Events>) -> Arc<Sessions> {
        Arc::new_cyclic(|this| Sessions { app, roster, events, inner: Mutex::default(), this: this.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn manager(&self, id: &SessionId) -> Result<Arc<LocalSessionManager>, SessionsError> {
        self.lock().managers.get(id).cloned().ok_or_else(|| SessionsError::Unknown(Arc::clone(id)))
    }

    /// Notes a word from the client and finds its manager.
    fn used(&self, id: &SessionId) -> Result<Arc<LocalSessionManager>, SessionsError> {
        let manager = self.manager(id)?;
        self.roster.note_use(id);
        Ok(manager)
    }

    async fn handle(&self, id: &SessionId) -> Result<LocalSessionHandle, SessionsError> {
        let manager = self.used(id)?;
        let handle = manager.sessions.read().await.get(id).cloned();
        handle.ok_or_else(|| SessionsError::Unknown(Arc::clone(id)))
    }

    /// A manager for one session; its id is known once the session is.
    fn new_manager(&self) -> (Arc<LocalSessionManager>, Arc<OnceLock<SessionId>>) {
        let id = Arc::new(OnceLock::new());
        let mut manager = LocalSessionManager::default();
        // The roster ends idle sessions, since it knows which have a stream open or a call running.
        manager.session_config.keep_alive = None;
        let events = SessionEvents { events: Arc::clone(&self.events), session_id: Arc::clone(&id) };
        (Arc::new(manager.with_event_store(Arc::new(events))), id)
    }

    /// Ends a session that has lost its seat; its row stays.
    fn end(&self, id: &SessionId) {
        let mut inner = self.lock();
        let Some(manager) = inner.managers.remove(id) else { return };
        *inner.ending.entry(Arc::clone(id)).or_insert(0) += 1;
        let id = Arc::clone(id);
        tokio::spawn(async move { manager.close_session(&id).await });
    }

    fn admit(&self, id: &SessionId) -> Result<(), SessionsError> {
        let request = REQUEST.try_with(Arc::clone).map_err(|_| SessionsError::Refused("nobody asks".into()))?;
        let (sessions, ended) = (self.this.clone(), Arc::clone(id));
        let end = move || {
            if let Some(sessions) = sessions.upgrade() {
                sessions.end(&ended);
            }
        };
        self.roster.admit(id, &request.principal, end).map_err(|error| {
            let message = error.message.clone();
            *request.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            SessionsError::Refused(message)
        })
    }
}

impl SessionManager for Sessions {
    type Error = SessionsError;
    type Transport = <LocalSessionManager as SessionManager>::Transport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), SessionsError> {
        let (manager, cell) = self.new_manager();
        let (id, transport) = manager.create_session().await?;
        self.admit(&id)?;
        let _ = cell.set(Arc::clone(&id));
        self.lock().managers.insert(Arc::clone(&id), manager);
        Ok((id, transport))
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, SessionsError> {
        let manager = self.manager(id)?;
        Ok(manager.initialize_session(id, message).await?)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, SessionsError> {
        Ok(self.lock().managers.contains_key(id))
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), SessionsError> {
        let manager = {
            let mut inner = self.lock();
            let is_request = REQUEST.try_with(|_| ()).is_ok();
            if !is_request && let Some(left) = inner.ending.get_mut(id) {
                *left -= 1;
                if *left == 0 {
                    inner.ending.remove(id);
                }
                return Ok(());
            }
            inner.managers.remove(id)
        };
        if let Some(manager) = manager {
            self.roster.forget(id);
            manager.close_session(id).await?;
        }
        Ok(())
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let handle = self.handle(id).await?;
        // Coming back says nothing of what was read; a new request does.
        self.events.note_use(id);
        let stream = handle.establish_request_wise_channel().await?;
        handle.push_message(message, stream.http_request_id).await?;
        Ok(HandedOver::new(ReceiverStream::new(stream.inner), &self.events, id))
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), SessionsError> {
        let manager = self.used(id)?;
        self.events.note_use(id);
        Ok(manager.accept_message(id, message).await?)
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let handle = self.handle(id).await?;
        Ok(ReceiverStream::new(handle.establish_common_channel().await?.inner))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, SessionsError> {
        let manager = self.used(id)?;
        let events = manager.event_store().ok_or_else(|| SessionsError::Unknown(Arc::clone(id)))?;
        let replay = events.replay_events_after(&last_event_id).await.map_err(SessionError::EventStore)?;
        Ok(HandedOver::new(replay, &self.events, id))
    }

    async fn restore_session(&self, id: SessionId) -> Result<RestoreOutcome<Self::Transport>, SessionsError> {
        if self.lock().managers.contains_key(&id) {
            return Ok(RestoreOutcome::AlreadyPresent);
        }
        self.admit(&id)?;
        let (manager, cell) = self.new_manager();
        let _ = cell.set(Arc::clone(&id));
        let outcome = manager.restore_session(Arc::clone(&id)).await?;
        self.lock().managers.insert(id, manager);
        Ok(outcome)
    }
    // No event store here: it would serve requests without a session, which a lost connection cancels.
}

#[async_trait::async_trait]
impl SessionStore for Sessions {
    async fn load(&self, session_id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        let row = self.app.store.read_now(|conn| sessions::get(conn, session_id)).await?;
        match row {
            Some(row) => Ok(Some(serde_json::from_str(&row.state)?)),
            None => Ok(None),
        }
    }

    async fn store(&self, session_id: &str, state: &SessionState) -> Result<(), SessionStoreError> {
        let Some(principal) = self.roster.owner(session_id) else { return Ok(()) };
        let (id, state, now) = (session_id.to_owned(), serde_json::to_string(state)?, self.app.clock.now());
        self.app.store.write(move |tx| sessions::put(tx, &id, "http", &principal, &state, now)).await?;
        Ok(())
    }

    async fn delete(&self, session_id: &str) -> Result<(), SessionStoreError> {
        self.events.forget(session_id);
        let id = session_id.to_owned();
        self.app.store.write(move |tx| sessions::remove(tx, &id)).await?;
        Ok(())
    }
}
