//! Checks against peers on loopback that behave well, badly, or not at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hearth::adapter::http::{Check, Failure, Options, Phase, Resolver, check, check_with};
use hearth::adapter::vet::{Policy, Refusal};
use http::{HeaderName, HeaderValue};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use url::Url;

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_healthy_service_is_timed_phase_by_phase() {
    let peer = serve(|stream| async { answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await }).await;
    let found = check(&url(peer, "/health?deep=1"), &open(), LONG).await;
    assert_eq!((found.healthy, found.status, &found.failure), (true, Some(200), &None));
    assert_eq!(found.address, Some(peer));
    assert!(found.connect_ms.is_some() && found.first_byte_ms.is_some(), "{found:?}");
    assert!(found.dns_ms.is_none() && found.tls_ms.is_none() && found.certificate.is_none(), "{found:?}");
}

#[tokio::test]
async fn the_request_is_a_plain_get_for_the_vetted_host() {
    let (sent, mut received) = tokio::sync::mpsc::channel(1);
    let peer = serve(move |mut stream| {
        let sent = sent.clone();
        async move {
            sent.send(read_head(&mut stream).await).await.unwrap();
            let _ = stream.write_all(b"HTTP/1.0 204 No Content\r\n\r\n").await;
        }
    })
    .await;
    let headers = vec![header("x-api-key", "k"), header("host", "elsewhere"), header("accept", "text/plain")];
    let options = Options { headers, resolver: answers(vec![peer]), ..Options::default() };
    let target = Url::parse(&format!("http://nas.lan:{}/a%20b?c=d#e", peer.port())).unwrap();
    let found = check_with(&target, &open(), LONG, options).await;
    assert!(found.healthy && found.dns_ms.is_some(), "{found:?}");
    let head = received.recv().await.unwrap();
    assert!(head.starts_with("GET /a%20b?c=d HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: nas.lan:{}\r\n", peer.port())), "{head}");
    assert!(head.contains("\r\nx-api-key: k\r\n") && head.contains("\r\naccept: text/plain\r\n"), "{head}");
    assert_eq!(head.matches("host:").count(), 1, "{head}");
}

#[tokio::test]
async fn statuses_below_400_are_healthy() {
    for (status, healthy) in
        [(200, true), (204, true), (304, true), (399, true), (400, false), (404, false), (503, false)]
    {
        let head = format!("HTTP/1.1 {status} Thus\r\ncontent-length: 0\r\n\r\n");
        let peer = serve(move |stream| {
            let head = head.clone();
            async move { answer(stream, &head).await }
        })
        .await;
        let found = check(&url(peer, "/"), &open(), LONG).await;
        assert_eq!((found.status, found.healthy, found.failure), (Some(status), healthy, None));
    }
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_requests);
    let peer = serve(move |stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            answer(stream, "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n")
                .await
        }
    })
    .await;
    let started = Instant::now();
    let found = check(&url(peer, "/"), &open(), LONG).await;
    assert!(found.healthy && started.elapsed() < LONG / 2, "{found:?}");
    assert_eq!((found.status, found.redirect_host.as_deref()), (Some(302), Some("169.254.169.254")));
    assert_eq!(n_requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn loopback_is_refused_unless_allowed() {
    let found = check(&Url::parse("http://127.0.0.1:9/").unwrap(), &Policy::default(), LONG).await;
    assert_eq!(refusal(found), Refusal::Loopback("127.0.0.1".parse().unwrap()));
    let found = check(&Url::parse("http://0x7f.1:9/").unwrap(), &Policy::default(), LONG).await;
    assert_eq!(refusal(found), Refusal::Loopback("127.0.0.1".parse().unwrap()));
    let found = check(&Url::parse("http://localhost:9/").unwrap(), &Policy::default(), LONG).await;
    assert!(matches!(refusal(found), Refusal::Loopback(_)));
}

#[tokio::test]
async fn a_name_that_answers_with_a_loopback_address_too_is_refused_whole() {
    let loopback: SocketAddr = "127.0.0.1:80".parse().unwrap();
    let options = resolved(answers(vec!["192.0.2.1:80".parse().unwrap(), loopback]));
    let found = check_with(&Url::parse("http://rebind.test/").unwrap(), &Policy::default(), LONG, options).await;
    assert_eq!(refusal(found), Refusal::Loopback(loopback.ip()));
}

#[tokio::test]
async fn a_second_answer_of_the_name_server_leads_nowhere() {
    let peer = serve(|stream| async { answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await }).await;
    let n_lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_lookups);
    // The first answer is vetted and used; the second would be the metadata service.
    let resolver: Resolver = Arc::new(move |_, port| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        let address = if first { peer } else { SocketAddr::new("169.254.169.254".parse().unwrap(), port) };
        Box::pin(async move { Ok(vec![address]) })
    });
    let target = Url::parse("http://rebind.test/").unwrap();
    let found = check_with(&target, &open(), LONG, resolved(Arc::clone(&resolver))).await;
    assert!(found.healthy && found.address == Some(peer), "{found:?}");
    assert_eq!(n_lookups.load(Ordering::SeqCst), 1);
    let found = check_with(&target, &open(), LONG, resolved(resolver)).await;
    assert_eq!(refusal(found), Refusal::Metadata("169.254.169.254".parse().unwrap()));
}

#[tokio::test]
async fn link_local_answers_are_passed_over_beside_good_ones() {
    let peer = serve(|stream| async { answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await }).await;
    let link_local: SocketAddr = "[fe80::1]:80".parse().unwrap();
    let target = Url::parse("http://nas.local/").unwrap();
    let found = check_with(&target, &open(), LONG, resolved(answers(vec![link_local, peer]))).await;
    assert!(found.healthy, "{found:?}");
    let found = check_with(&target, &open(), LONG, resolved(answers(vec![link_local]))).await;
    assert_eq!(refusal(found), Refusal::LinkLocal(link_local.ip()));
}

#[tokio::test]
async fn own_listeners_are_refused_also_behind_a_wildcard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap();
    let target = url(own, "/");
    let exact = Policy { own_addresses: vec![own], ..open() };
    assert_eq!(refusal(check(&target, &exact, LONG).await), Refusal::Own(own));
    let wildcard = Policy { own_addresses: vec![SocketAddr::new("0.0.0.0".parse().unwrap(), own.port())], ..open() };
    assert_eq!(refusal(check(&target, &wildcard, LONG).await), Refusal::Own(own));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_says_so() {
    let resolver: Resolver = Arc::new(|_, _| Box::pin(async { Err(std::io::Error::other("no such name")) }));
    let found = check_with(&Url::parse("http://gone.lan/").unwrap(), &open(), LONG, resolved(resolver)).await;
    assert_eq!(found.failure, Some(Failure::Resolve("no such name".to_owned())));
    let found = check_with(&Url::parse("http://gone.lan/").unwrap(), &open(), LONG, resolved(answers(vec![]))).await;
    assert!(matches!(found.failure, Some(Failure::Resolve(_))), "{found:?}");
}

#[tokio::test]
async fn a_name_server_that_hangs_ends_with_the_deadline() {
    let resolver: Resolver = Arc::new(|_, _| Box::pin(std::future::pending()));
    let found = check_with(&Url::parse("http://slow.lan/").unwrap(), &open(), SOON, resolved(resolver)).await;
    timed_out(&found, Phase::Resolving);
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_the_next_address_is_tried() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let found = check(&url(closed, "/"), &open(), LONG).await;
    assert!(matches!(found.failure, Some(Failure::Unreachable(_))), "{found:?}");
    let peer = serve(|stream| async { answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await }).await;
    let options = resolved(answers(vec![closed, peer]));
    let found = check_with(&Url::parse("http://two.lan/").unwrap(), &open(), LONG, options).await;
    assert!(found.healthy && found.address == Some(peer), "{found:?}");
}

#[tokio::test]
async fn a_peer_that_never_answers_ends_with_the_deadline() {
    let peer = serve(hold).await;
    timed_out(&check(&url(peer, "/"), &open(), SOON).await, Phase::Waiting);
    let secure = Url::parse(&format!("https://{peer}/")).unwrap();
    timed_out(&check(&secure, &open(), SOON).await, Phase::Securing);
}

#[tokio::test]
async fn a_slow_body_ends_with_the_deadline_and_its_status_is_kept() {
    let peer = serve(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let found = check(&url(peer, "/"), &open(), SOON).await;
    timed_out(&found, Phase::Reading);
    assert_eq!(found.status, Some(200));
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_the_limit() {
    let n_sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n_sent);
    let peer = serve(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {
                counted.fetch_add(4096, Ordering::SeqCst);
            }
        }
    })
    .await;
    let found = check(&url(peer, "/"), &open(), LONG).await;
    assert!(found.healthy, "{found:?}");
    // What was sent beyond the limit is in the buffers of the two sockets.
    assert!(n_sent.load(Ordering::SeqCst) < 32 * 1024 * 1024);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_healthy() {
    let peer =
        serve(|stream| async { answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await }).await;
    let found = check(&url(peer, "/"), &open(), LONG).await;
    assert_eq!((found.healthy, found.status), (false, Some(200)));
    assert!(found.failure.is_some(), "{found:?}");
}

#[tokio::test]
async fn endless_headers_are_refused() {
    for line in [format!("x-{}: y\r\n", "a".repeat(20)), "a".repeat(1000)] {
        let peer = serve(move |mut stream| {
            let line = line.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                while stream.write_all(line.as_bytes()).await.is_ok() {}
            }
        })
        .await;
        let found = check(&url(peer, "/"), &open(), LONG).await;
        assert!(matches!(found.failure, Some(Failure::Malformed(_))), "{found:?}");
    }
}

#[tokio::test]
async fn a_peer_that_speaks_something_else_is_malformed() {
    let ssh = serve(|mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await;
        hold(stream).await;
    })
    .await;
    let silent = serve(|stream| async { answer(stream, "").await }).await;
    for peer in [ssh, silent] {
        let found = check(&url(peer, "/"), &open(), LONG).await;
        assert!(matches!(found.failure, Some(Failure::Malformed(_))), "{found:?}");
    }
    let secure = Url::parse(&format!("https://{ssh}/")).unwrap();
    let found = check(&secure, &open(), LONG).await;
    assert!(matches!(found.failure, Some(Failure::Tls(_))), "{found:?}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_described_and_no_obstacle() {
    let mut params = CertificateParams::new(vec!["nas.lan".to_owned()]).unwrap();
    params.distinguished_name = common_name("nas\u{7} of the lab");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let found = check_tls(params, "nas.lan", "2029-12-01").await;
    assert!(found.healthy && found.tls_ms.is_some(), "{found:?}");
    let certificate = found.certificate.unwrap();
    assert_eq!((certificate.valid, certificate.problem.as_deref()), (false, Some("self-signed")));
    assert_eq!(certificate.expires_at.to_string(), "2030-01-01T00:00:00.000Z");
    assert_eq!(certificate.days_left, 31);
    assert_eq!((&*certificate.subject, &*certificate.issuer), ("CN=nas of the lab", "CN=nas of the lab"));
}

#[tokio::test]
async fn an_expired_certificate_counts_its_days_below_zero() {
    let mut params = CertificateParams::new(vec!["nas.lan".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let found = check_tls(params.clone(), "nas.lan", "2021-01-03").await;
    assert!(found.healthy, "{found:?}");
    let certificate = found.certificate.unwrap();
    assert_eq!(certificate.problem.as_deref(), Some("expired at 2021-01-01T00:00:00.000Z"));
    assert_eq!((certificate.valid, certificate.days_left), (false, -2));
    let early = check_tls(params, "nas.lan", "2019-01-03").await.certificate.unwrap();
    assert_eq!(early.problem.as_deref(), Some("not valid before 2020-01-01T00:00:00.000Z"));
}

#[tokio::test]
async fn a_certificate_of_a_private_authority_says_so() {
    let mut root = CertificateParams::default();
    root.distinguished_name = common_name("lab root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["nas.lan".to_owned()]).unwrap();
    params.distinguished_name = common_name("nas");
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &Issuer::from_params(&root, &root_key)).unwrap();
    let peer = serve_tls(leaf.der().clone(), &key).await;
    let certificate = check_secure(peer, "nas.lan", vec![], "2026-01-01").await.certificate.unwrap();
    assert_eq!(certificate.problem.as_deref(), Some("issued by an authority that is not publicly trusted"));
    assert_eq!(certificate.issuer, "CN=lab root");

    let own = root.self_signed(&root_key).unwrap();
    let peer = serve_tls(own.der().clone(), &root_key).await;
    let certificate = check_secure(peer, "nas.lan", vec![], "2026-01-01").await.certificate.unwrap();
    assert_eq!(certificate.problem.as_deref(), Some("self-signed by a certificate authority"));
}

#[tokio::test]
async fn credentials_are_withheld_from_a_host_that_cannot_prove_its_name() {
    let params = CertificateParams::new(vec!["nas.lan".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let peer = serve_tls(params.self_signed(&key).unwrap().der().clone(), &key).await;
    let (name, mut value) = header("authorization", "Bearer s3cret");
    value.set_sensitive(true);
    let found = check_secure(peer, "nas.lan", vec![(name, value)], "2026-01-01").await;
    assert!(matches!(found.failure, Some(Failure::Tls(_))) && found.status.is_none(), "{found:?}");
    let found = check_secure(peer, "nas.lan", vec![header("x-plain", "1")], "2026-01-01").await;
    assert!(found.healthy, "{found:?}");
}

/// A policy under which the peers of these tests can be reached.
fn open() -> Policy {
    Policy { allow_loopback: true, ..Policy::default() }
}

fn url(peer: SocketAddr, path: &str) -> Url {
    Url::parse(&format!("http://{peer}{path}")).unwrap()
}

fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

fn answers(addresses: Vec<SocketAddr>) -> Resolver {
    Arc::new(move |_, _| {
        let addresses = addresses.clone();
        Box::pin(async move { Ok(addresses) })
    })
}

fn resolved(resolver: Resolver) -> Options {
    Options { resolver, ..Options::default() }
}

fn refusal(found: Check) -> Refusal {
    assert!(!found.healthy && found.address.is_none(), "{found:?}");
    match found.failure {
        Some(Failure::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn timed_out(found: &Check, phase: Phase) {
    assert_eq!(found.failure, Some(Failure::Timeout(phase)));
    assert!(!found.healthy && 250 <= found.total_ms && found.total_ms < 5000, "{found:?}");
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

async fn check_tls(params: CertificateParams, host: &str, today: &str) -> Check {
    let key = KeyPair::generate().unwrap();
    let peer = serve_tls(params.self_signed(&key).unwrap().der().clone(), &key).await;
    check_secure(peer, host, vec![], today).await
}

async fn check_secure(peer: SocketAddr, host: &str, headers: Vec<(HeaderName, HeaderValue)>, today: &str) -> Check {
    let options = Options { headers, resolver: answers(vec![peer]), now: today.parse().unwrap() };
    check_with(&Url::parse(&format!("https://{host}/")).unwrap(), &open(), LONG, options).await
}

async fn serve<F>(peer: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(peer(stream));
        }
    });
    address
}

async fn serve_tls(certificate: CertificateDer<'static>, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, text: &str) {
    read_head(&mut stream).await;
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn hold(stream: TcpStream) {
    tokio::time::sleep(LONG).await;
    drop(stream);
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
