//! HTTP with server-sent events, as of 2024-11-05: `/sse` to listen, `/messages` to speak.
//!
//! A session outlives its connection: what is said while nobody listens is kept, and a
//! client that comes back with `Last-Event-ID` hears it, also after a restart of hearth.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use rmcp::ServiceExt;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, GetMeta, InitializeRequestParams, InitializedNotification,
    ProtocolVersion, ServerJsonRpcMessage,
};
use rmcp::service::serve_directly_with_ct;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, PollSender};

use super::Shared;
use super::handler::SessionKey;
use super::outbox::Outbox;
use super::refuse::{refuse, refuse_as};
use crate::app::Caller;
use crate::app::limiter::Class;
use crate::error::{Code, Error, Result};
use crate::id;
use crate::store::sessions;
use crate::surface::rest::is_json;

const QUEUE: usize = 64;
/// How long a message waits for a service that is not reading.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Sse {
    shared: Arc<Shared>,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
    ct: CancellationToken,
}

struct Session {
    id: String,
    principal: String,
    inbound: mpsc::Sender<ClientJsonRpcMessage>,
    outbox: Arc<Outbox>,
    ct: CancellationToken,
}

/// What a session begins with.
enum Start {
    New,
    /// The client introduced itself to an earlier process or before it fell silent.
    Known(Box<InitializeRequestParams>),
}

#[derive(Deserialize)]
struct Target {
    #[serde(alias = "sessionId")]
    session_id: String,
}

pub fn router(shared: Arc<Shared>, ct: CancellationToken) -> Router {
    let sse = Arc::new(Sse { shared, sessions: Mutex::default(), ct });
    Router::new().route("/sse", get(open)).route("/messages", post(message)).with_state(sse)
}

async fn open(State(sse): State<Arc<Sse>>, parts: Parts) -> Response {
    match sse.listen(&parts).await {
        Ok(response) => response,
        Err(error) => refuse(&error),
    }
}

async fn message(State(sse): State<Arc<Sse>>, Query(target): Query<Target>, parts: Parts, body: Bytes) -> Response {
    // Any web page may send the other types without asking first.
    if !parts.headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        let error = Error::new(Code::InvalidInput, "the body has to be `application/json`");
        return refuse_as(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error);
    }
    match sse.receive(&target.session_id, parts, &body).await {
        Ok(()) => (StatusCode::ACCEPTED, "Accepted").into_response(),
        Err(error) => refuse(&error),
    }
}

impl Sse {
    fn sessions(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(self: &Arc<Self>, parts: &Parts) -> Result<Response> {
        let caller = caller(parts)?;
        let stream = self.shared.roster.open_stream(&caller.principal)?;
        let (session, after) = match self.resumed(&parts.headers, &caller.principal).await? {
            Some(found) => found,
            None => {
                self.shared.registry.app.limits.take(&caller.principal, Class::Write, self.shared.now())?;
                (self.begin(id::handle(), &caller.principal, Start::New)?, 0)
            }
        };
        let busy = self.shared.roster.busy(&session.id);
        let endpoint = endpoint(parts, &session.id);
        let guard = (stream, busy);
        Ok(session.outbox.respond(&session.id, after, &endpoint, guard, session.ct.clone()))
    }

    /// The session that a reconnecting client names, and the last message it has.
    async fn resumed(self: &Arc<Self>, headers: &HeaderMap, principal: &str) -> Result<Option<(Arc<Session>, u64)>> {
        let Some(last) = headers.get("last-event-id").and_then(|value| value.to_str().ok()) else { return Ok(None) };
        let (session_id, after) = last.split_once('.').unwrap_or((last, "0"));
        let session = self.find(session_id, principal).await?;
        Ok(session.map(|session| (session, after.parse().unwrap_or(0))))
    }

    /// A session of this caller, in memory or brought back from the store.
    async fn find(self: &Arc<Self>, session_id: &str, principal: &str) -> Result<Option<Arc<Session>>> {
        if let Some(session) = self.sessions().get(session_id).cloned() {
            return Ok((session.principal == principal).then_some(session));
        }
        let row = self.shared.registry.app.store.read_now(|conn| sessions::get(conn, session_id)).await?;
        let Some(row) = row.filter(|row| row.principal == principal) else { return Ok(None) };
        // A row of the other transport holds other state and is no session of this one.
        let Ok(params) = serde_json::from_str(&row.state) else { return Ok(None) };
        self.begin(row.session_id, principal, Start::Known(Box::new(params))).map(Some)
    }

    /// Seats a session and starts its service.
    fn begin(self: &Arc<Self>, session_id: String, principal: &str, start: Start) -> Result<Arc<Session>> {
        let (inbound, requests) = mpsc::channel(QUEUE);
        let ct = self.ct.child_token();
        let end = ct.clone();
        self.shared.roster.admit(&session_id, principal, move || end.cancel())?;
        let (id, principal, outbox) = (session_id, principal.to_owned(), Arc::new(Outbox::default()));
        let session = Arc::new(Session { id, principal, inbound, outbox, ct });
        self.sessions().insert(session.id.clone(), Arc::clone(&session));
        tokio::spawn(Arc::clone(self).run(Arc::clone(&session), requests, start));
        Ok(session)
    }

    async fn run(self: Arc<Self>, session: Arc<Session>, requests: mpsc::Receiver<ClientJsonRpcMessage>, start: Start) {
        let (answers, outgoing) = mpsc::channel(QUEUE);
        let pump = tokio::spawn(pump(outgoing, Arc::clone(&session.outbox)));
        self.serve(&session, requests, answers, start).await;
        // The last answers are on their way to the outbox, which the client may still read.
        let _ = pump.await;
        session.outbox.close();
        let mut sessions = self.sessions();
        if sessions.get(&session.id).is_some_and(|current| Arc::ptr_eq(current, &session)) {
            sessions.remove(&session.id);
            self.shared.roster.forget(&session.id);
        }
    }

    async fn serve(
        &self,
        session: &Session,
        mut requests: mpsc::Receiver<ClientJsonRpcMessage>,
        answers: mpsc::Sender<ServerJsonRpcMessage>,
        start: Start,
    ) {
        let first = tokio::select! {
            first = requests.recv() => first,
            () = session.ct.cancelled() => None,
        };
        let Some(first) = first else { return };
        let needs_no_handshake = needs_no_handshake(&first);
        let known = match start {
            Start::Known(params) if needs_no_handshake => Some(*params),
            // It speaks to a server that has been restarted and knows nothing of it.
            Start::New if needs_no_handshake => {
                let mut params = InitializeRequestParams::default();
                params.protocol_version = ProtocolVersion::V_2024_11_05;
                Some(params)
            }
            _ => None,
        };
        // The handler learns of the client as it would after a handshake.
        let mut introduction = known.is_some().then(|| {
            ClientJsonRpcMessage::notification(ClientNotification::InitializedNotification(
                InitializedNotification::default(),
            ))
        });
        if let Some(message) = &mut introduction {
            message.insert_extension(SessionKey(session.id.clone()));
        }
        let incoming = futures_util::stream::iter(introduction.into_iter().chain([first]));
        let incoming = incoming.chain(ReceiverStream::new(requests));
        let transport = (PollSender::new(answers), Box::pin(incoming));
        let (service, ct) = (self.shared.handler(None), session.ct.clone());
        if known.is_some() {
            let _ = serve_directly_with_ct(service, transport, known, ct).waiting().await;
            return;
        }
        match service.serve_with_ct(transport, ct).await {
            Ok(running) => drop(running.waiting().await),
            Err(error) => tracing::info!(%error, "an /sse session ended before it began"),
        }
    }

    async fn receive(self: &Arc<Self>, session_id: &str, parts: Parts, body: &[u8]) -> Result<()> {
        let caller = caller(&parts)?;
        let session = self.find(session_id, &caller.principal).await?;
        let session =
            session.ok_or_else(|| Error::not_found("no such session").with_hint("open /sse for a new one"))?;
        let mut message: ClientJsonRpcMessage = serde_json::from_slice(body)
            .map_err(|error| Error::new(Code::InvalidInput, format_args!("not a JSON-RPC message: {error}")))?;
        if let ClientJsonRpcMessage::Request(request) = &message
            && let ClientRequest::InitializeRequest(initialize) = &request.request
        {
            self.remember(&session, &initialize.params).await?;
        }
        message.insert_extension(SessionKey(session.id.clone()));
        message.insert_extension(parts);
        self.shared.roster.note_use(&session.id);
        session
            .inbound
            .send_timeout(message, SEND_TIMEOUT)
            .await
            .map_err(|_| Error::unavailable("the session takes no messages, since its client does not read"))
    }

    async fn remember(&self, session: &Session, params: &InitializeRequestParams) -> Result<()> {
        let (id, principal, now) = (session.id.clone(), session.principal.clone(), self.shared.now());
        let state = serde_json::to_string(params).map_err(Error::internal)?;
        let store = &self.shared.registry.app.store;
        store.write(move |tx| sessions::put(tx, &id, "sse", &principal, &state, now)).await
    }
}

/// Moves answers into the outbox; a reader that is slow makes the service wait.
async fn pump(mut outgoing: mpsc::Receiver<ServerJsonRpcMessage>, outbox: Arc<Outbox>) {
    while let Some(message) = outgoing.recv().await {
        match serde_json::to_string(&message) {
            Ok(json) => outbox.push(json).await,
            Err(error) => tracing::error!(%error, "an answer does not serialise"),
        }
    }
}

/// Where the client is to post, with the toolsets that it asked for.
fn endpoint(parts: &Parts, session_id: &str) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let toolsets = query.split('&').find(|pair| pair.starts_with("toolsets="));
    match toolsets {
        Some(toolsets) => format!("/messages?session_id={session_id}&{toolsets}"),
        None => format!("/messages?session_id={session_id}"),
    }
}

fn caller(parts: &Parts) -> Result<Arc<Caller>> {
    parts.extensions.get::<Arc<Caller>>().cloned().ok_or_else(|| Error::new(Code::Unauthenticated, "who is calling?"))
}

/// Whether a client starts in the middle: neither `initialize` nor a message that brings its own introduction.
fn needs_no_handshake(message: &ClientJsonRpcMessage) -> bool {
    match message {
        ClientJsonRpcMessage::Request(request) => {
            let introduces = matches!(
                request.request,
                ClientRequest::InitializeRequest(_) | ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_)
            );
            !introduces && request.request.get_meta().protocol_version().is_none()
        }
        ClientJsonRpcMessage::Notification(_) => true,
        _ => false,
    }
}
