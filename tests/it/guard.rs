//! Who may ask: names, origins, sizes, tokens and slow clients, over plain sockets.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::server::Server;

const ROUTES: &[(&str, &str)] = &[
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
    ("GET", "/api/system/whoami"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/docs"),
    ("GET", "/api/docs.js"),
    ("POST", "/api/tokens"),
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("GET", "/sse"),
    ("POST", "/messages"),
    ("OPTIONS", "/api/system/whoami"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/no/such/route"),
];

#[test]
fn foreign_hosts_and_origins_are_refused_on_every_route() {
    let server = Server::start();
    let own = server.address.to_string();
    for (method, path) in ROUTES {
        for headers in [
            &[("Host", "evil.example")][..],
            &[("Host", "localhost.evil.example")],
            &[("Host", "user@localhost")],
            &[("Host", "localhost"), ("Host", "localhost")],
            &[("Host", &own), ("Host", "evil.example")],
            &[("Host", "")],
            &[("Origin", "http://evil.example")],
            &[("Origin", "null")],
            &[("Origin", "http://localhost.evil.example")],
            &[("Origin", "http://localhost:1")],
        ] {
            let answer = server.send(method, path, headers, b"");
            let problem = answer.problem(403);
            assert_eq!(problem["code"], "forbidden", "{method} {path} {headers:?}");
        }
        let cors = server.send(method, path, &[("Origin", "http://evil.example")], b"");
        let cors = cors.headers.iter().find(|(name, _)| name.starts_with("access-control"));
        assert!(cors.is_none(), "{method} {path}: {cors:?}");
    }
}

#[test]
fn a_refusal_names_the_value_and_the_key_that_would_allow_it() {
    let server = Server::start();
    let host = server.send("GET", "/health", &[("Host", "nas.lan:8080")], b"").problem(403);
    assert!(host["detail"].as_str().unwrap().contains("nas.lan:8080"), "{host}");
    assert!(host["hint"].as_str().unwrap().contains("server.allowed_hosts"), "{host}");
    let origin = server.send("GET", "/health", &[("Origin", "http://panel.lan")], b"").problem(403);
    assert!(origin["detail"].as_str().unwrap().contains("http://panel.lan"), "{origin}");
    assert!(origin["hint"].as_str().unwrap().contains("server.allowed_origins"), "{origin}");
}

#[test]
fn own_names_are_answered_in_every_spelling() {
    let server = Server::with("[server]\nallowed_hosts = [\"nas.lan\"]\nallowed_origins = [\"http://panel.lan\"]\n");
    let port = server.address.port();
    for host in [
        format!("127.0.0.1:{port}"),
        "127.0.0.1".into(),
        "LocalHost".into(),
        "localhost.:80".into(),
        "[::1]:80".into(),
        "NAS.lan.".into(),
    ] {
        assert_eq!(server.send("GET", "/health", &[("Host", &host)], b"").status, 200, "{host}");
    }
    for origin in [format!("http://127.0.0.1:{port}"), format!("http://LOCALHOST:{port}"), "http://panel.lan:80".into()]
    {
        assert_eq!(server.send("GET", "/health", &[("Origin", &origin)], b"").status, 200, "{origin}");
    }
    let absolute = |uri: &str| {
        let request = format!("GET {uri} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        server.raw(request.as_bytes()).status
    };
    assert_eq!(absolute("http://localhost/health"), 200);
    assert_eq!(absolute("http://evil.example/health"), 403);
    assert_eq!(absolute("http://user@localhost/health"), 403);
    assert_eq!(server.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").status, 403);
}

#[test]
fn what_is_too_large_is_refused_in_words() {
    let server = Server::start();
    server.get(&format!("/api/{}", "x".repeat(5000))).problem(414);
    server.send("GET", "/health", &[("X-Long", &"x".repeat(17 * 1024))], b"").problem(431);
    let many: Vec<(String, &str)> = (0..70).map(|n| (format!("X-{n}"), "x")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    server.send("GET", "/health", &many, b"").problem(431);
    let body = vec![b' '; 1024 * 1024 + 1];
    let problem = server.send("POST", "/api/tokens", &[], &body).problem(413);
    assert!(problem["hint"].as_str().unwrap().contains("limits.body_bytes"));
    let chunked = [b"110000\r\n".as_slice(), &vec![b' '; 0x11_0000], b"\r\n0\r\n\r\n"].concat();
    server.send("POST", "/api/tokens", &[("Transfer-Encoding", "chunked")], &chunked).problem(413);
}

#[test]
fn a_token_says_who_calls_and_none_is_this_machine() {
    let server = Server::start();
    let token = server.token("agent", 2);
    let whoami = server.get_as(&token, "/api/system/whoami").json();
    assert_eq!((&whoami["principal"], &whoami["level"]), (&"token:agent".into(), &2.into()));
    let whoami = server.get("/api/system/whoami").json();
    assert_eq!((&whoami["principal"], &whoami["level"]), (&"loopback".into(), &1.into()));
    let by_query = server.get(&format!("/api/system/whoami?access_token={token}")).json();
    assert_eq!(by_query["principal"], "loopback");
    for header in ["Bearer nonsense", "Basic YTpi", "Bearer", &token] {
        let answer = server.send("GET", "/api/system/whoami", &[("Authorization", header)], b"");
        assert_eq!(answer.problem(401)["code"], "unauthenticated", "{header}");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"), "{header}");
    }
    assert!(server.hearth(&["token", "revoke", "agent"]).status.success());
    server.get_as(&token, "/api/system/whoami").problem(401);
}

#[test]
fn no_token_is_repeated_anywhere() {
    let server = Server::start();
    let token = server.token("agent", 4);
    let wrong = format!("{}x", &token[..token.len() - 1]);
    server.get_as(&token, "/api/system/whoami");
    for answer in
        [server.get_as(&wrong, "/api/audit"), server.get_as(&token, "/metrics"), server.get_as(&token, "/api/audit")]
    {
        assert!(!answer.text().contains(&token) && !answer.text().contains(&wrong), "{}", answer.text());
    }
    let secret = token.split_once('_').map_or(token.as_str(), |(_, secret)| secret);
    assert!(!server.log().is_empty() && !server.log().contains(&secret[..secret.len() - 1]), "{}", server.log());
}

#[test]
fn bad_tokens_are_slowed_down_and_good_ones_are_not() {
    let server = Server::start();
    let token = server.token("agent", 1);
    let statuses: Vec<u16> = (0..7).map(|_| server.get_as("nonsense", "/api/system/whoami").status).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    let limited = server.get_as("nonsense", "/metrics");
    limited.problem(429);
    assert!((1..=60).contains(&limited.header("retry-after").unwrap().parse::<u32>().unwrap()));
    assert_eq!(server.get_as(&token, "/api/system/whoami").status, 200);
    assert_eq!(server.get("/api/system/whoami").status, 200);
}

#[test]
fn without_a_loopback_level_everyone_needs_a_token() {
    let server = Server::with("[access]\nloopback_level = 0\n");
    for path in ["/api/system/whoami", "/api/openapi.json", "/metrics"] {
        server.get(path).problem(401);
    }
    assert_eq!(server.get("/health").status, 200);
    let token = server.token("agent", 1);
    assert_eq!(server.get_as(&token, "/api/system/whoami").status, 200);
}

#[test]
fn slow_clients_are_cut_and_keep_nobody_out() {
    let server = Server::start();
    let start = Instant::now();
    let mut slow: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = server.connect();
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: loc");
            stream
        })
        .collect();
    for _ in 0..20 {
        let asked = Instant::now();
        assert_eq!(server.get("/health").status, 200);
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    }
    let mut last = slow.pop().unwrap();
    let _ = last.read_to_end(&mut Vec::new());
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn pages_may_run_no_script_but_their_own() {
    let server = Server::start();
    // A stream of events has no end to wait for.
    for (_, path) in ROUTES.iter().filter(|(_, path)| *path != "/sse") {
        let answer = server.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
    let page = server.get("/api/docs");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = page.text();
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains(" style="), "{page}");
}
