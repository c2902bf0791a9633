//! One HTTP request that tells how a service does: phases timed, certificate described, nothing followed.
//!
//! The name is resolved once, every address is vetted, and the connection is made to a vetted
//! address itself, so that a second answer of the name server cannot lead elsewhere. Headers, body,
//! addresses and time are bounded; the body is read and dropped.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::certificate::{self, Certificate};
use super::vet::{Policy, Refusal, vet, vet_url};
use crate::clock::{Clock, SystemClock, Timestamp};

/// The most of a body that is read.
const BODY_BYTES: usize = 64 * 1024;
/// The most that the head of an answer may take.
const HEAD_BYTES: usize = 32 * 1024;
const HEADERS: usize = 100;
/// The most addresses of one name that are tried.
const ADDRESSES: usize = 4;
/// The longest that a check may take, whatever is asked for.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// What a check found. A phase that was not reached has no time.
#[derive(Clone, Debug, Default)]
pub struct Check {
    /// Whether the whole answer arrived, with a status of 200 to 399
    pub healthy: bool,
    pub status: Option<u16>,
    /// The host that a redirect points to; it is not followed
    pub redirect_host: Option<String>,
    /// The address that the connection was made to
    pub address: Option<SocketAddr>,
    pub dns_ms: Option<u64>,
    pub connect_ms: Option<u64>,
    pub tls_ms: Option<u64>,
    /// From the request until the head of the answer
    pub first_byte_ms: Option<u64>,
    pub total_ms: u64,
    pub certificate: Option<Certificate>,
    pub failure: Option<Failure>,
}

/// Why a check got no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("not allowed: {0}")]
    Refused(#[from] Refusal),
    #[error("the name does not resolve: {0}")]
    Resolve(String),
    #[error("no connection: {0}")]
    Unreachable(String),
    #[error("no answer in time, {0}")]
    Timeout(Phase),
    #[error("TLS failed: {0}")]
    Tls(String),
    #[error("the answer is not proper HTTP: {0}")]
    Malformed(String),
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Resolving,
    Connecting,
    Securing,
    Waiting,
    Reading,
}

/// What a check may do otherwise than by default.
pub struct Options {
    /// Sent with the request. Values marked sensitive are withheld from a host whose certificate does not hold.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub resolver: Resolver,
    /// The time by which certificates are judged
    pub now: Timestamp,
}

/// Turns a host name and port into addresses.
pub type Resolver = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Gets `url` once. Everything together takes at most `timeout`.
pub async fn check(url: &Url, policy: &Policy, timeout: Duration) -> Check {
    check_with(url, policy, timeout, Options::default()).await
}

pub async fn check_with(url: &Url, policy: &Policy, timeout: Duration, options: Options) -> Check {
    let started = Instant::now();
    let deadline = started + timeout.min(LONGEST);
    let mut check = Check::default();
    let mut phase = Phase::Resolving;
    let outcome = timeout_at(deadline, run(url, policy, deadline, options, &mut check, &mut phase)).await;
    check.failure = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some(Failure::Timeout(phase)),
    };
    check.healthy = check.failure.is_none() && check.status.is_some_and(|status| (200..=399).contains(&status));
    check.total_ms = millis_since(started);
    check
}

async fn run(
    url: &Url,
    policy: &Policy,
    deadline: Instant,
    options: Options,
    check: &mut Check,
    phase: &mut Phase,
) -> Result<(), Failure> {
    vet_url(url)?;
    let addresses = resolve(url, &options.resolver, check).await?;
    let addresses = vet_all(addresses, policy)?;

    *phase = Phase::Connecting;
    let started = Instant::now();
    let stream = connect(&addresses, deadline).await?;
    check.connect_ms = Some(millis_since(started));
    check.address = stream.peer_addr().ok();

    if url.scheme() == "http" {
        return exchange(stream, url, options.headers, check, phase).await;
    }
    *phase = Phase::Securing;
    let started = Instant::now();
    let name = server_name(url)?;
    let connector = TlsConnector::from(certificate::client_config());
    let stream = connector.connect(name.clone(), stream).await.map_err(|error| Failure::Tls(error.to_string()))?;
    check.tls_ms = Some(millis_since(started));
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    check.certificate = certificate::describe(chain, &name, options.now);
    let is_trusted = check.certificate.as_ref().is_some_and(|certificate| certificate.valid);
    if !is_trusted && options.headers.iter().any(|(_, value)| value.is_sensitive()) {
        return Err(Failure::Tls("credentials are not sent to a host whose certificate does not hold".to_owned()));
    }
    exchange(stream, url, options.headers, check, phase).await
}

async fn resolve(url: &Url, resolver: &Resolver, check: &mut Check) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().ok_or(Refusal::Scheme)?;
    let name = match url.host().ok_or(Refusal::NoHost)? {
        Host::Ipv4(ip) => return Ok(vec![SocketAddr::new(IpAddr::V4(ip), port)]),
        Host::Ipv6(ip) => return Ok(vec![SocketAddr::new(IpAddr::V6(ip), port)]),
        Host::Domain(name) => name.to_owned(),
    };
    let started = Instant::now();
    let addresses = resolver(name, port).await.map_err(|error| Failure::Resolve(error.to_string()))?;
    check.dns_ms = Some(millis_since(started));
    if addresses.is_empty() {
        return Err(Failure::Resolve("it has no address".to_owned()));
    }
    Ok(addresses)
}

/// A name that answers with a forbidden address is refused as a whole: such an answer is a mistake
/// or an attack. Link-local addresses are passed over, since mDNS adds them to good answers.
fn vet_all(addresses: Vec<SocketAddr>, policy: &Policy) -> Result<Vec<SocketAddr>, Refusal> {
    let mut vetted = Vec::new();
    let mut passed_over = None;
    for address in addresses {
        match vet(address, policy).and_then(|()| vet_own_wildcard(address, policy)) {
            Ok(()) => vetted.push(address),
            Err(refusal @ Refusal::LinkLocal(_)) => passed_over = Some(refusal),
            Err(refusal) => return Err(refusal),
        }
    }
    if let (true, Some(refusal)) = (vetted.is_empty(), passed_over) {
        return Err(refusal);
    }
    vetted.truncate(ADDRESSES);
    Ok(vetted)
}

/// A listener on `0.0.0.0` or `::` is reached by every address of this machine, which are those that can be bound.
fn vet_own_wildcard(address: SocketAddr, policy: &Policy) -> Result<(), Refusal> {
    let is_listening = policy.own_addresses.iter().any(|own| own.ip().is_unspecified() && own.port() == address.port());
    if is_listening && UdpSocket::bind((address.ip().to_canonical(), 0)).is_ok() {
        return Err(Refusal::Own(address));
    }
    Ok(())
}

/// Tries one address after the other, each with its share of the time that is left.
async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Failure> {
    let mut failure = Failure::Unreachable("there is no address to connect to".to_owned());
    for (index, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(1);
        failure = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Failure::Unreachable(format!("{address}: {error}")),
            Err(_) => Failure::Timeout(Phase::Connecting),
        };
    }
    Err(failure)
}

fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    match url.host().ok_or(Refusal::NoHost)? {
        Host::Ipv4(ip) => Ok(ServerName::from(IpAddr::V4(ip))),
        Host::Ipv6(ip) => Ok(ServerName::from(IpAddr::V6(ip))),
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| Failure::Tls(format!("`{name}` cannot be the name of a certificate"))),
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    url: &Url,
    headers: Vec<(HeaderName, HeaderValue)>,
    check: &mut Check,
    phase: &mut Phase,
) -> Result<(), Failure> {
    *phase = Phase::Waiting;
    let request = request(url, headers)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(http_failure)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async move {
        let started = Instant::now();
        let mut response = sender.send_request(request).await.map_err(http_failure)?;
        check.first_byte_ms = Some(millis_since(started));
        check.status = Some(response.status().as_u16());
        check.redirect_host = redirect_host(url, &response);
        *phase = Phase::Reading;
        let mut n_bytes = 0;
        while let Some(frame) = response.body_mut().frame().await {
            let frame = frame.map_err(http_failure)?;
            n_bytes += frame.data_ref().map_or(0, Bytes::len);
            if BODY_BYTES <= n_bytes {
                break;
            }
        }
        Ok(())
    });
    tokio::select! {
        biased;
        outcome = &mut answer => outcome,
        // What arrived before the connection ended is still to be read.
        _ = &mut connection => answer.await,
    }
}

fn request(url: &Url, headers: Vec<(HeaderName, HeaderValue)>) -> Result<hyper::Request<Empty<Bytes>>, Failure> {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let mut request = hyper::Request::get(path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("hearth/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| Failure::Malformed("the URL cannot be requested".to_owned()))?;
    for (name, value) in headers {
        // The host is what was vetted.
        if name != HOST {
            request.headers_mut().insert(name, value);
        }
    }
    Ok(request)
}

fn redirect_host<B>(url: &Url, response: &hyper::Response<B>) -> Option<String> {
    if !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location).ok()?.host_str().map(str::to_owned)
}

/// An I/O error beneath means that the peer went away; what is left is not HTTP.
fn http_failure(error: hyper::Error) -> Failure {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(cause) => Failure::Unreachable(format!("the connection broke: {cause}")),
        None => Failure::Malformed(error.to_string()),
    }
}

fn millis_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The resolver of the system.
pub fn system_resolver() -> Resolver {
    Arc::new(|name, port| Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) }))
}

impl Default for Options {
    fn default() -> Options {
        Options { headers: Vec::new(), resolver: system_resolver(), now: SystemClock.now() }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolving => "while resolving the name",
            Phase::Connecting => "while connecting",
            Phase::Securing => "during the TLS handshake",
            Phase::Waiting => "while waiting for the answer to begin",
            Phase::Reading => "while reading the answer",
        })
    }
}
