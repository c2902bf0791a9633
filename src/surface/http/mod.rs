//! HTTP: who may connect, who calls, and which route answers.

pub mod auth;
pub mod body;
pub mod connections;
pub mod guard;
pub mod health;
pub mod listen;
pub mod local;
pub mod problem;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;

use self::auth::Auth;
use crate::error::Error;
use crate::registry::Registry;
use crate::surface::{docs, rest};

/// The other end of a connection; the listener puts it into each request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp {
        remote: SocketAddr,
        /// Which of our own addresses was dialled
        local: SocketAddr,
    },
    /// The unix socket, after its user has been checked
    Owner,
}

/// Everything that is answered over TCP; `mcp` are the routes of MCP.
pub fn router(registry: &Arc<Registry>, mcp: Router) -> Router {
    let known = rest::router(registry).merge(health::metrics(registry)).merge(mcp);
    guarded(registry, known)
}

/// What is answered over the unix socket: no MCP, so that no agent passes for the owner at the keyboard.
pub fn owner_router(registry: &Arc<Registry>) -> Router {
    let known = rest::router(registry).merge(health::metrics(registry)).merge(local::router(registry));
    guarded(registry, known)
}

/// Outermost first: the guard, then for `known` routes the caller, then the whole body.
fn guarded(registry: &Arc<Registry>, known: Router) -> Router {
    let app = &registry.app;
    let known = known
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(app.config.limits.body_bytes, body::buffer))
        .layer(middleware::from_fn_with_state(Arc::new(Auth::new(Arc::clone(app))), auth::identify));
    let open = docs::router().merge(health::router(registry)).method_not_allowed_fallback(wrong_method);
    Router::new()
        .merge(known)
        .merge(open)
        .fallback(no_route)
        .layer(middleware::from_fn_with_state(Arc::clone(app), problem::clean))
        .layer(middleware::from_fn_with_state(Arc::clone(app), guard::guard))
}

async fn no_route(uri: http::Uri) -> axum::response::Response {
    let path: String = uri.path().chars().take(200).collect();
    problem::respond(
        &Error::not_found(format_args!("no route `{path}`")).with_hint("GET /api/openapi.json lists the routes"),
    )
}

async fn wrong_method(method: http::Method, uri: http::Uri) -> axum::response::Response {
    let path: String = uri.path().chars().take(200).collect();
    let error = Error::new(crate::error::Code::InvalidInput, format_args!("`{path}` does not answer {method}"));
    problem::respond_as(http::StatusCode::METHOD_NOT_ALLOWED, &error)
}
