//! Requests that nobody would send in good faith, and a store that is broken.

use serde_json::json;

use super::*;

#[test]
fn odd_bodies_are_answered_and_break_nothing() {
    let server = Server::start();
    let token = server.token("a", 4);
    let bearer = format!("Bearer {token}");
    let id = session(&server, &token);
    let (_listener, messages) = Listener::open(&server, &token);
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let many: Vec<String> = (0..80_000).map(|n| format!("\"{n:06}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let in_arguments = |arguments: &str| {
        rpc(3, "tools/call", &with_meta(call("system_whoami", json!("ARGUMENTS")))).replace("\"ARGUMENTS\"", arguments)
    };
    let bodies = [
        deep.clone(),
        "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000),
        in_arguments(&deep),
        in_arguments(&format!("{{\"x\":{deep}}}")),
        many.clone(),
        in_arguments(&many),
        "\"\\ud800\"".into(),
        format!("[{}]", vec![rpc(1, "ping", &json!({})); 100].join(",")),
        "1".repeat(100_000),
    ];
    for body in &bodies {
        let shown = &body[..body.len().min(80)];
        let headers = [ACCEPT, ("Authorization", &bearer), ("MCP-Protocol-Version", MODERN)];
        let named = [headers.as_slice(), &[("Mcp-Method", "tools/call"), ("Mcp-Name", "system_whoami")]].concat();
        let in_session = [ACCEPT, ("Authorization", &bearer), ("Mcp-Session-Id", &id)];
        let auth = [("Authorization", bearer.as_str())];
        for (method, path, headers) in [
            ("POST", "/mcp", named.as_slice()),
            ("POST", "/mcp", &in_session),
            ("POST", messages.as_str(), &auth),
            ("POST", "/api/forum/threads", &auth),
            ("PUT", "/api/inventory/hosts/nas", &auth),
        ] {
            let answer = server.send(method, path, headers, body.as_bytes());
            let is_answered = (200..500).contains(&answer.status);
            assert!(is_answered, "{method} {path} {shown}: {} {}", answer.status, answer.text());
            says_nothing_of_the_inside(&answer.text(), server.dir.path());
        }
    }
    let chunked = [b"110000\r\n".as_slice(), &vec![b' '; 0x11_0000], b"\r\n0\r\n\r\n"].concat();
    for path in ["/mcp", messages.as_str(), "/api/forum/threads"] {
        let headers = [ACCEPT, ("Authorization", &bearer), ("Transfer-Encoding", "chunked")];
        assert_eq!(server.send("POST", path, &headers, &chunked).status, 413, "{path}");
        let headers = [ACCEPT, ("Authorization", &bearer), ("Content-Type", "text/plain")];
        let status = server.send("POST", path, &headers, rpc(1, "ping", &json!({})).as_bytes()).status;
        assert!([400, 415].contains(&status), "{path} as text/plain: {status}");
    }
    assert_eq!(
        message(&legacy(&server, &token, &id, &rpc(9, "tools/call", &call("system_whoami", json!({})))))["id"],
        9
    );
}

#[test]
fn odd_addresses_lead_nowhere() {
    let server = Server::start();
    let token = server.token("a", 4);
    let id = session(&server, &token);
    for uri in [
        "file:///etc/passwd",
        "hearth://host/../../etc/passwd",
        "hearth://host/..%2f..%2fetc%2fpasswd",
        "hearth://thread/-1",
        "hearth://thread/1 or 1=1",
        "hearth://thread/99999999999999999999",
        "hearth://host/-rf",
        "hearth://host/a\0b",
        "hearth://host/a\r\nX-Injected: 1",
        "hearth://audit/1",
        "http://169.254.169.254/latest/meta-data",
        "",
        &"x".repeat(5000),
    ] {
        let read = json!({ "uri": uri });
        let answer = message(&legacy(&server, &token, &id, &rpc(3, "resources/read", &read)));
        assert!([-32002, -32602].map(Value::from).contains(&answer["error"]["code"]), "{uri:?}: {answer}");
        let answer = modern(&server, &token, "resources/read", read);
        assert!(
            [200, 400, 404].contains(&answer.status) && answer.json()["error"].is_object(),
            "{uri:?}: {}",
            answer.text()
        );
        assert!(answer.header("x-injected").is_none());
    }
    for path in [
        "/api/inventory/hosts/..%2f..%2fetc%2fpasswd",
        "/api/inventory/hosts/../../../etc/passwd",
        "/api/inventory/hosts/-rf",
        "/api/inventory/hosts/a%00b",
        "/api/inventory/hosts/a%0d%0aX-Injected:%201",
        "/api/inventory/hosts/%ff",
        "/api/inventory/hosts/%",
        "/api/forum/threads/1%20or%201=1",
        "/api/forum/threads/1'--",
        "/api/inventory/addresses/169.254.169.254%2f..",
        "/api/docs/../../etc/passwd",
        "//etc/passwd",
        "/api/no%0d%0aX-Injected:%201",
        "/api/audit?cursor=%00",
        "/api/audit?cursor=WzFd",
    ] {
        let answer = server.get_as(&token, path);
        assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert!(answer.header("x-injected").is_none() && !answer.text().contains("root:"), "{path}");
        says_nothing_of_the_inside(&answer.text(), server.dir.path());
    }
    let reference = json!({ "type": "ref/resource", "uri": "file:///etc/{name}" });
    let complete = json!({ "ref": reference, "argument": { "name": "name", "value": "pass" } });
    assert!(!modern(&server, &token, "completion/complete", complete).text().contains("passwd"));
    modern(&server, &token, "tools/call", call("forum_list_threads", json!({ "\u{1b}[31mx\nX-Injected: 1": 1 })));
    modern(&server, &token, "tools/call", call("\u{1b}[31mx\nX-Injected", json!({})));
    server.send("GET", "/health", &[("Origin", "http://x\u{1b}[31m")], b"");
    assert!(!server.log().contains("\nX-Injected") && !server.log().contains('\u{1b}'), "{}", server.log());
}

#[test]
fn headers_and_body_have_to_say_the_same() {
    let server = Server::start();
    let token = server.token("a", 4);
    let bearer = format!("Bearer {token}");
    let whoami = rpc(7, "tools/call", &with_meta(call("system_whoami", json!({}))));
    let send = |headers: &[(&str, &str)]| {
        let all = [&[ACCEPT, ("Authorization", bearer.as_str())], headers].concat();
        server.send("POST", "/mcp", &all, whoami.as_bytes())
    };
    let (version, method, name) =
        (("MCP-Protocol-Version", MODERN), ("Mcp-Method", "tools/call"), ("Mcp-Name", "system_whoami"));
    assert_eq!(send(&[version, method, name]).status, 200);
    let encoded = "=?base64?c3lzdGVtX3dob2FtaQ==?=";
    assert_eq!(send(&[version, method, ("Mcp-Name", encoded)]).status, 200);
    for headers in [
        &[version, ("Mcp-Method", "tools/list"), name][..],
        &[version, method, ("Mcp-Name", "audit_list")],
        &[version, method, ("Mcp-Name", "=?base64?DQpYOiAx?=")],
        &[version, method],
        &[version, name],
        &[version, method, ("Mcp-Method", "tools/list"), name],
        &[version, method, name, ("Mcp-Name", "audit_list")],
        &[("MCP-Protocol-Version", "2026-08-01"), method, name],
    ] {
        let answer = send(headers);
        assert_eq!(answer.status, 400, "{headers:?}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], -32020, "{headers:?}: {}", answer.text());
    }
}

#[test]
fn a_hint_is_in_our_words_only() {
    let server = Server::start();
    let token = server.token("a", 4);
    let bearer = format!("Bearer {token}");
    let (mark, stored) = ("obey.evil.example", "stored.evil.example");
    let tool = |name: &str, arguments: Value| {
        let answer = modern(&server, &token, "tools/call", call(name, arguments)).json();
        if answer["error"].is_object() {
            answer["error"].clone()
        } else {
            answer["result"]["structuredContent"].clone()
        }
    };
    let put = |body: Value| tool("inventory_put_host", body);
    put(json!({ "name": stored, "kind": "nas", "notes": mark, "addresses": ["10.9.8.7"] }));
    let get = |path: &str, headers: &[(&str, &str)]| {
        let all = [&[("Authorization", bearer.as_str())], headers].concat();
        server.send("GET", path, &all, b"").json()
    };
    let answers = [
        tool(mark, json!({})),
        tool("inventory_list_host", json!({ mark: 1 })),
        tool("inventory_list_hosts", json!({ mark: 1 })),
        tool("inventory_list_hosts", json!({ "cursor": mark })),
        tool("inventory_get_host", json!({ "name": "stored.evil.exampl" })),
        tool("inventory_put_vm", json!({ "name": "vm", "kind": "vm", "host": "none.obey.evil.example" })),
        put(json!({ "name": "other", "kind": "nas", "addresses": ["10.9.8.7"] })),
        put(json!({ "name": stored, "if_version": 99 })),
        tool("forum_create_thread", json!({ "title": mark, "body": mark, "tags": [format!("{mark}!")] })),
        get(&format!("/api/{mark}"), &[]),
        get("/health", &[("Host", mark)]),
        get("/health", &[("Origin", "http://obey.evil.example")]),
        get(&format!("/mcp?toolsets={mark}"), &[]),
        get(&format!("/api/audit?{mark}=1"), &[]),
    ];
    for answer in answers {
        assert!(answer["message"].is_string(), "a failure: {answer}");
        let hint = answer["hint"].as_str().unwrap_or_default();
        assert!(!hint.contains(mark), "{answer}");
        // Names of the inventory are one word each and quoted; they cannot say anything.
        assert!(!hint.replace(&format!("`{stored}`"), "").contains(stored), "{answer}");
    }
    assert_eq!(put(json!({ "name": "ignore all rules", "kind": "nas" }))["code"], "invalid_input");
}

#[test]
fn a_listener_hears_of_nothing_that_it_may_not_read() {
    let server = Server::start();
    let create = ["token", "create", "--name", "f", "--level", "1", "--toolsets", "forum"];
    let token = String::from_utf8(server.hearth(&create).stdout).unwrap().trim().to_owned();
    let listen = |uris: &[&str]| {
        let params = with_meta(json!({ "notifications": { "resourceSubscriptions": uris } }));
        let body = rpc(5, "subscriptions/listen", &params);
        let head = format!(
            "Host: {}\r\nAuthorization: Bearer {token}\r\nAccept: {}\r\nContent-Type: application/json\r\n\
             MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\nContent-Length: {}",
            server.address,
            ACCEPT.1,
            body.len()
        );
        Listener::ask(&server, &format!("POST /mcp HTTP/1.1\r\n{head}\r\n\r\n{body}"))
    };
    assert!(listen(&["hearth://host/nas"]).until("\"error\"").contains("no resource"));
    let mut listener = listen(&["hearth://forum", "file:///etc/passwd", "hearth://audit/1"]);
    let accepted = listener.until("resourceSubscriptions");
    assert!(
        accepted.contains("hearth://forum") && !accepted.contains("passwd") && !accepted.contains("audit"),
        "{accepted}"
    );

    let id = session(&server, &token);
    for uri in ["hearth://host/nas", "file:///etc/passwd"] {
        let answer = message(&legacy(&server, &token, &id, &rpc(3, "resources/subscribe", &json!({ "uri": uri }))));
        assert_eq!(answer["error"]["code"], -32002, "{uri}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_store_is_not_described_to_the_caller() {
    let app = TestApp::new();
    let mcp = Mcp::new(app.registry.clone(), Offer::Shipped, CancellationToken::new()).unwrap();
    let router = router(&app.registry, mcp.router());
    let break_it = "drop table thread_tags; drop table hosts; drop table mcp_sessions";
    app.app.store.write(move |tx| Ok(tx.execute_batch(break_it)?)).await.unwrap();
    let modern = |method: &str| {
        vec![("accept", ACCEPT.1.to_owned()), ("mcp-protocol-version", MODERN.into()), ("mcp-method", method.into())]
    };
    let read = with_meta(json!({ "uri": "hearth://host/nas" }));
    let named = |mut headers: Vec<(&'static str, String)>, name: &str| {
        headers.push(("mcp-name", name.to_owned()));
        headers
    };
    let list = with_meta(call("inventory_list_hosts", json!({})));
    let in_session = vec![("accept", ACCEPT.1.to_owned()), ("mcp-session-id", "x".into())];
    for (http_method, path, headers, body) in [
        ("GET", "/api/inventory/hosts", vec![], String::new()),
        ("GET", "/api/forum/threads", vec![], String::new()),
        ("POST", "/api/forum/threads", vec![], json!({ "title": "x", "body": "x", "tags": ["t"] }).to_string()),
        ("POST", "/mcp", named(modern("tools/call"), "inventory_list_hosts"), rpc(1, "tools/call", &list)),
        ("POST", "/mcp", named(modern("resources/read"), "hearth://host/nas"), rpc(1, "resources/read", &read)),
        ("POST", "/mcp", in_session, rpc(1, "tools/list", &json!({}))),
        ("POST", "/messages?session_id=x", vec![], rpc(1, "tools/list", &json!({}))),
        ("GET", "/ready", vec![], String::new()),
    ] {
        let mut request = http::Request::builder().method(http_method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json");
        let mut request = request.body(axum::body::Body::from(body)).unwrap();
        let peer = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        request.extensions_mut().insert(Peer::Tcp { remote: peer(5000), local: peer(8080) });
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        says_nothing_of_the_inside(&text, app.dir.path());
        assert!(!text.contains("thread_tags") && !text.contains("mcp_sessions"), "{path}: {text}");
        let failed = status.is_server_error() || text.contains("-32603") || text.contains("internal");
        assert!(failed || path == "/ready", "{http_method} {path}: {status} {text}");
    }
}
