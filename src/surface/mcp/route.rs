//! `/mcp`: which instance answers, whose session it is, and how many streams there may be.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::{Router, routing};
use futures_util::StreamExt;
use futures_util::future::{Either, pending};
use http::{HeaderMap, Method, StatusCode};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::events::Events;
use super::guarded::Guarded;
use super::handler::Handler;
use super::refuse::refuse;
use super::sessions::{REQUEST, Request as Asked, Sessions};
use crate::app::Caller;
use crate::app::limiter::Class;
use crate::error::{Code, Error, Result};
use crate::store::sessions;
use crate::surface::ConnectionId;

/// The first revision without `initialize`.
const STATELESS: &str = "2026-07-28";
const TOOLSETS_MAX: usize = 64;

struct Mcp {
    shared: Arc<Shared>,
    events: Arc<Events>,
    /// With sessions, for those who say `initialize`.
    sessions: StreamableHttpService<Handler, Sessions>,
    stateless: StreamableHttpService<Handler, LocalSessionManager>,
}

pub fn router(shared: &Arc<Shared>, events: &Arc<Events>, ct: &CancellationToken) -> Router {
    let app = &shared.registry.app;
    // Host and Origin are checked for all doors alike, before a request comes here.
    let config = || {
        let mut config =
            StreamableHttpServerConfig::default().disable_allowed_hosts().with_cancellation_token(ct.child_token());
        config.max_request_body_bytes = app.config.limits.body_bytes;
        config
    };
    let factory = || {
        let shared = Arc::clone(shared);
        move || Ok(shared.handler(None))
    };
    let manager = Sessions::new(Arc::clone(app), Arc::clone(&shared.roster), Arc::clone(events));
    let mut with_sessions = config();
    with_sessions.session_store = Some(Arc::clone(&manager) as _);
    let without = config().with_legacy_session_mode(false).with_json_response(true);
    let mcp = Arc::new(Mcp {
        shared: Arc::clone(shared),
        events: Arc::clone(events),
        sessions: StreamableHttpService::new(factory(), manager, with_sessions),
        stateless: StreamableHttpService::new(factory(), Arc::default(), without),
    });
    let narrow = axum::middleware::from_fn_with_state(Arc::clone(shared), narrow);
    Router::new().route("/mcp", routing::any(answer)).route("/mcp/", routing::any(answer)).with_state(mcp).layer(narrow)
}

async fn answer(State(mcp): State<Arc<Mcp>>, request: Request) -> Response {
    let is_stateless = header(request.headers(), "mcp-protocol-version").is_some_and(|version| STATELESS <= version);
    if is_stateless {
        return mcp.stateless.handle(request).await.map(Body::new);
    }
    match mcp.answer_session(request).await {
        Ok(response) => response,
        Err(error) => refuse(&error),
    }
}

impl Mcp {
    async fn answer_session(&self, request: Request) -> Result<Response> {
        let caller = caller(&request)?;
        let connection = request.extensions().get::<ConnectionId>().copied();
        let session_id = header(request.headers(), "mcp-session-id").map(str::to_owned);
        if let Some(session_id) = &session_id {
            self.check_owner(session_id, &caller.principal).await?;
            if let Some(connection) = connection {
                self.events.note_request(session_id, connection);
            }
        } else if request.method() == Method::POST {
            self.shared.registry.app.limits.take(&caller.principal, Class::Write, self.shared.now())?;
        }
        let listens = request.method() == Method::GET;
        let stream = if listens { Some(self.shared.roster.open_stream(&caller.principal)?) } else { None };
        let asked = Asked::of(&caller.principal, connection);
        let response = REQUEST.scope(Arc::clone(&asked), self.sessions.handle(request)).await;
        if let Some(refusal) = asked.take_refusal() {
            return Err(refusal);
        }
        let session_id = session_id.filter(|_| response.status() == StatusCode::OK);
        let busy = session_id.map(|session_id| self.shared.roster.busy(&session_id));
        let ended = match &stream {
            Some(stream) => Either::Left(stream.ended()),
            None => Either::Right(pending()),
        };
        Ok(response.map(|inner| {
            let events = Body::new(inner).into_data_stream().take_until(ended);
            Body::from_stream(Guarded::new(events, (stream, busy)))
        }))
    }

    /// A session id is no credential: another's session is not there.
    async fn check_owner(&self, session_id: &str, principal: &str) -> Result<()> {
        let owner = match self.shared.roster.owner(session_id) {
            Some(owner) => Some(owner),
            None => {
                let row = self.shared.registry.app.store.read_now(|conn| sessions::get(conn, session_id)).await?;
                row.map(|row| row.principal)
            }
        };
        match owner {
            Some(owner) if owner != principal => Err(no_session()),
            None => Err(no_session()),
            Some(_) => Ok(()),
        }
    }
}

fn no_session() -> Error {
    Error::not_found("no such session").with_hint("send `initialize` for a new one")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn caller(request: &Request) -> Result<Arc<Caller>> {
    let caller = request.extensions().get::<Arc<Caller>>().cloned();
    caller.ok_or_else(|| Error::new(Code::Unauthenticated, "who is calling?"))
}

/// Shows the caller no more than the toolsets that the address names: `?toolsets=forum,inventory`.
pub async fn narrow(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let narrowed = toolsets(&shared, request.uri().query().unwrap_or_default())
        .and_then(|wanted| Ok((caller(&request)?, wanted)))
        .map(|(caller, wanted)| wanted.map(|wanted| Arc::new(caller.narrowed(&wanted))));
    match narrowed {
        Ok(None) => {}
        Ok(Some(caller)) => drop(request.extensions_mut().insert(caller)),
        Err(error) => return refuse(&error),
    }
    next.run(request).await
}

/// The toolsets that a query names, all of which exist.
fn toolsets(shared: &Shared, query: &str) -> Result<Option<Vec<String>>> {
    let Some((_, list)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "toolsets") else {
        return Ok(None);
    };
    let names: Vec<String> =
        list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    if TOOLSETS_MAX < names.len() {
        return Err(Error::invalid("toolsets", "too many names"));
    }
    let known: Vec<&str> = shared.registry.all().map(|tool| tool.toolset).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let mut known = known;
        known.dedup();
        return Err(Error::invalid("toolsets", format_args!("no toolset `{}`", unknown.escape_debug()))
            .with_hint(format_args!("there are {}", known.join(", "))));
    }
    Ok(Some(names))
}
