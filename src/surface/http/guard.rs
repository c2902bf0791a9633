//! Who may ask at all: a web page that rebinds its name to our address is told apart by the name it uses.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use url::{Host, Url};

use super::{Peer, problem};
use crate::app::App;
use crate::config::server::Server;
use crate::error::{Code, Error, Result};

const HEADERS: usize = 64;
const HEADER_BYTES: usize = 16 * 1024;
const URI_BYTES: usize = 4 * 1024;

/// A `Host`, or the host part of an origin, in one spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Ip(IpAddr),
    Domain(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Authority {
    name: Name,
    port: Option<u16>,
}

/// What a request may call us.
struct Names<'a> {
    server: &'a Server,
    listening: Vec<std::net::SocketAddr>,
    dialled: std::net::SocketAddr,
}

pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err((status, error)) => {
            tracing::warn!(status = status.as_u16(), hint = error.hint(), "refused: {error}");
            problem::respond_as(status, &error)
        }
    };
    harden(response.headers_mut());
    response
}

fn check(app: &App, request: &Request) -> Result<(), (StatusCode, Error)> {
    check_size(request.headers(), request.uri())?;
    match request.extensions().get::<Peer>() {
        Some(Peer::Owner) => Ok(()),
        Some(Peer::Tcp { local, .. }) => {
            let listening = app.listening.read().unwrap_or_else(PoisonError::into_inner).clone();
            let names = Names { server: &app.config.server, listening, dialled: *local };
            check_names(&names, request.headers(), request.uri()).map_err(|error| (StatusCode::FORBIDDEN, error))
        }
        None => Err((StatusCode::FORBIDDEN, Error::forbidden("the connection has no known peer"))),
    }
}

fn check_size(headers: &HeaderMap, uri: &Uri) -> Result<(), (StatusCode, Error)> {
    let too_large = |status, what: String| Err((status, Error::new(Code::TooLarge, what)));
    let uri_bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if URI_BYTES < uri_bytes {
        return too_large(StatusCode::URI_TOO_LONG, format!("the address has more than {URI_BYTES} bytes"));
    }
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if HEADERS < headers.len() || HEADER_BYTES < header_bytes {
        let what = format!("the request has more than {HEADERS} headers or {HEADER_BYTES} bytes of them");
        return too_large(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, what);
    }
    Ok(())
}

fn check_names(names: &Names<'_>, headers: &HeaderMap, uri: &Uri) -> Result<()> {
    let hosts: Vec<&HeaderValue> = headers.get_all(header::HOST).iter().collect();
    let [host] = hosts[..] else {
        return Err(Error::forbidden(format_args!("the request has {} `Host` headers, not one", hosts.len())));
    };
    let host = check_host(names, host.as_bytes())?;
    // An absolute address overrules the header in some readers and not in others, so both have to hold.
    if let Some(authority) = uri.authority() {
        check_host(names, authority.as_str().as_bytes())?;
    }
    let origins: Vec<&HeaderValue> = headers.get_all(header::ORIGIN).iter().collect();
    match origins[..] {
        [] => Ok(()),
        [origin] => check_origin(names, origin.as_bytes(), &host),
        _ => Err(Error::forbidden(format_args!("the request has {} `Origin` headers", origins.len()))),
    }
}

fn check_host(names: &Names<'_>, value: &[u8]) -> Result<Authority> {
    match parse_authority(value) {
        Some(host) if names.include(&host.name) => Ok(host),
        _ => Err(Error::forbidden(format_args!("hearth is not called by the host name {}", shown(value)))
            .with_hint("if it is to be, add the name to `server.allowed_hosts` in hearth.toml")),
    }
}

fn check_origin(names: &Names<'_>, value: &[u8], host: &Authority) -> Result<()> {
    if is_allowed_origin(names, value, host) {
        return Ok(());
    }
    Err(Error::forbidden(format_args!("web pages of the origin {} may not call hearth", shown(value)))
        .with_hint("if they may, add the origin to `server.allowed_origins` in hearth.toml"))
}

fn is_allowed_origin(names: &Names<'_>, value: &[u8], host: &Authority) -> bool {
    let Some(text) = std::str::from_utf8(value).ok() else {
        return false;
    };
    let Some(url) = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        return false;
    };
    // An origin is scheme, host and port and nothing else.
    let rest = text.get(url.scheme().len() + 3..).unwrap_or_default();
    if rest.contains(['/', '@', '?', '#', '\\']) {
        return false;
    }
    if names.server.allowed_origins.contains(&url.origin()) {
        return true;
    }
    let Some(name) = Name::of(&url) else {
        return false;
    };
    if !names.include(&name) {
        return false;
    }
    let port = url.port_or_known_default();
    let host_port = host.port.or(if url.scheme() == "https" { Some(443) } else { Some(80) });
    (name == host.name && port == host_port) || port.is_some_and(|port| names.listens_at(port))
}

impl Name {
    fn of(url: &Url) -> Option<Name> {
        Some(match url.host()? {
            Host::Domain(name) => Name::domain(name),
            Host::Ipv4(ip) => Name::Ip(ip.into()),
            Host::Ipv6(ip) => Name::Ip(ip.into()),
        })
    }

    fn domain(name: &str) -> Name {
        Name::Domain(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
    }
}

impl Names<'_> {
    fn include(&self, name: &Name) -> bool {
        match name {
            Name::Ip(ip) => {
                let ip = ip.to_canonical();
                let is_ours = |own: IpAddr| own.to_canonical() == ip;
                ip.is_loopback()
                    || is_ours(self.dialled.ip())
                    || self.listening.iter().any(|address| !address.ip().is_unspecified() && is_ours(address.ip()))
                    || self.server.allowed_hosts.iter().any(|allowed| match allowed {
                        Host::Ipv4(allowed) => is_ours(IpAddr::from(*allowed)),
                        Host::Ipv6(allowed) => is_ours(IpAddr::from(*allowed)),
                        Host::Domain(_) => false,
                    })
            }
            Name::Domain(name) => {
                name == "localhost"
                    || self.server.allowed_hosts.iter().any(|allowed| {
                        matches!(allowed, Host::Domain(allowed) if allowed.strip_suffix('.').unwrap_or(allowed).eq_ignore_ascii_case(name))
                    })
            }
        }
    }

    fn listens_at(&self, port: u16) -> bool {
        self.dialled.port() == port || self.listening.iter().any(|address| address.port() == port)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`; nothing with user information, a path or blanks.
fn parse_authority(value: &[u8]) -> Option<Authority> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some(rest) = text.strip_prefix('[') {
        let (ip, rest) = rest.split_once(']')?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        return Some(Authority { name: Name::Ip(IpAddr::V6(ip.parse().ok()?)), port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (text, None),
    };
    let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !is_plain || host.is_empty() || host.contains("..") {
        return None;
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let name = match bare.parse::<IpAddr>() {
        Ok(ip) => Name::Ip(ip),
        Err(_) => Name::domain(bare),
    };
    Some(Authority { name, port })
}

fn parse_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A value of a header as it may stand in a message and in the log.
fn shown(value: &[u8]) -> String {
    const CHARS: usize = 200;
    let text: String = String::from_utf8_lossy(value).chars().take(CHARS).collect();
    format!("{text:?}")
}

/// What a browser may do with any answer of ours, unless the route says otherwise.
fn harden(headers: &mut HeaderMap) {
    const DEFAULTS: [(HeaderName, &str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in DEFAULTS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let text = "[server]\nallowed_hosts = [\"hearth.example.org\", \"fd7a:115c:a1e0::1\"]\nallowed_origins = [\"https://panel.example.org\"]";
        crate::config::Config::parse(text, std::path::Path::new("hearth.toml"), &[]).unwrap().server
    }

    fn verdict(host: &str, origin: Option<&str>) -> bool {
        let server = server();
        let dialled = "100.64.0.7:8080".parse().unwrap();
        let names = Names { server: &server, listening: vec![dialled], dialled };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        check_names(&names, &headers, &Uri::from_static("/")).is_ok()
    }

    #[test]
    fn our_names_are_ours_in_every_spelling() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:8080",
            "100.64.0.7",
            "100.64.0.7:8080",
            "hearth.example.org",
            "Hearth.Example.Org.:443",
            "[fd7a:115c:a1e0::1]:8080",
            "[FD7A:115C:A1E0:0::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(verdict(host, None), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "user@localhost",
            "localhost@evil.example",
            "localhost:8080:1",
            "localhost:x",
            "localhost:+80",
            "localhost:99999",
            "[::1",
            "::1",
            "[::1]x",
            "[::2]",
            "10.0.0.1",
            "localhost/",
            "localhost..",
            "local host",
            "2130706433",
            "0x7f.1",
            "127.1",
            "100.64.0.8",
        ] {
            assert!(!verdict(host, None), "{host}");
        }
    }

    #[test]
    fn origins_are_ours_by_name_and_port() {
        for origin in [
            "http://localhost:8080",
            "http://LOCALHOST:8080",
            "http://127.0.0.1:8080",
            "https://panel.example.org",
            "https://panel.example.org:443",
            "HTTP://[::1]:8080",
        ] {
            assert!(verdict("localhost:8080", Some(origin)), "{origin}");
        }
        assert!(verdict("hearth.example.org", Some("https://hearth.example.org")));
        assert!(verdict("localhost:9000", Some("http://localhost:9000")));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost.evil.example:8080",
            "http://localhost:3000",
            "http://localhost",
            "http://panel.example.org",
            "http://user@localhost:8080",
            "http://localhost:8080/",
            "http://localhost:8080/x",
            "file://localhost",
            "localhost:8080",
            "http://127.0.0.1.evil.example:8080",
        ] {
            assert!(!verdict("localhost:8080", Some(origin)), "{origin}");
        }
    }
}
