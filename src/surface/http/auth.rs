//! Who calls: a bearer token, or being on this machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, header};

use super::{Peer, problem};
use crate::app::{App, Caller, Door, access};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};

/// Bad tokens that one peer may show in each [`WINDOW`].
const FAILURES: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Peers remembered at once; when there are more, the oldest failures are forgotten.
const PEERS: usize = 1024;

pub struct Auth {
    app: Arc<App>,
    failures: Mutex<HashMap<IpAddr, Vec<Timestamp>>>,
}

pub async fn identify(State(auth): State<Arc<Auth>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match auth.caller(peer, request.headers(), door(request.uri().path())).await {
        Ok(caller) => {
            request.extensions_mut().insert(Arc::new(caller));
            next.run(request).await
        }
        Err(error) => problem::respond(&error),
    }
}

impl Auth {
    pub fn new(app: Arc<App>) -> Auth {
        Auth { app, failures: Mutex::default() }
    }

    async fn caller(&self, peer: Option<Peer>, headers: &HeaderMap, door: Door) -> Result<Caller> {
        let remote = match peer {
            Some(Peer::Owner) => return Ok(Caller::owner(Door::Cli)),
            Some(Peer::Tcp { remote, .. }) => remote.ip().to_canonical(),
            None => return Err(unauthenticated("the connection has no known peer")),
        };
        if !headers.contains_key(header::AUTHORIZATION) {
            // Elsewhere nobody vouches for a caller that shows no token.
            return match remote.is_loopback() {
                true => access::by_loopback(&self.app, door),
                false => Err(unauthenticated("the request names no caller")),
            };
        }
        let known = match bearer(headers) {
            Some(token) => access::by_token(&self.app, token, door).await,
            None => Err(unauthenticated("`Authorization` does not hold one bearer token")),
        };
        match known {
            Err(error) if error.code == Code::Unauthenticated => {
                tracing::warn!(peer = %remote, "refused: {error}");
                self.note_failure(remote).and(Err(error))
            }
            known => known,
        }
    }

    /// Counts a bad token, and fails once the peer has shown too many. Good tokens of the same
    /// peer go on working: with 256 random bits the limit is there for the load, not the guess.
    fn note_failure(&self, remote: IpAddr) -> Result<()> {
        let now = self.app.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network(remote);
        if PEERS <= failures.len() && !failures.contains_key(&key) {
            failures.retain(|_, times| times.iter().any(|at| now.since(*at) < WINDOW));
            if PEERS <= failures.len()
                && let Some(oldest) =
                    failures.iter().min_by_key(|(_, times)| times.last().copied()).map(|(key, _)| *key)
            {
                failures.remove(&oldest);
            }
        }
        let times = failures.entry(key).or_default();
        times.retain(|at| now.since(*at) < WINDOW);
        if times.len() < FAILURES {
            times.push(now);
            return Ok(());
        }
        let wait = WINDOW.saturating_sub(now.since(times[0])).max(Duration::from_secs(1));
        Err(Error::new(Code::RateLimited, "too many bad tokens from this address").with_retry_after(wait))
    }
}

/// One IPv6 host has a whole /64 to call from.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// MCP's routes are the few that are not ours.
fn door(path: &str) -> Door {
    let is_mcp = ["/mcp", "/sse", "/messages"]
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if is_mcp { Door::Mcp } else { Door::Rest }
}

fn unauthenticated(message: &str) -> Error {
    Error::new(Code::Unauthenticated, message)
        .with_hint("send `Authorization: Bearer TOKEN`; `hearth token create` makes one")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_bearer_token_stands_alone_in_one_header() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("bearer  abc "));
        assert_eq!(bearer(&headers), Some("abc"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert_eq!(bearer(&headers), None);
        for bad in ["abc", "Basic abc", "Bearer", "Bearer "] {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(bad));
            assert_eq!(bearer(&headers), None, "{bad}");
        }
    }

    #[test]
    fn mcp_paths_are_told_from_those_that_begin_alike() {
        assert_eq!(door("/mcp"), Door::Mcp);
        assert_eq!(door("/messages/"), Door::Mcp);
        assert_eq!(door("/mcpx"), Door::Rest);
        assert_eq!(door("/api/forum/threads"), Door::Rest);
    }
}
