//! Who may do what: sessions, tokens, levels and approvals in the wrong hands.

use serde_json::json;

use super::*;

#[test]
fn a_session_is_of_no_use_with_another_token_or_none() {
    let server = Server::start();
    let (a, b) = (server.token("a", 1), server.token("b", 4));
    let id = session(&server, &a);
    let (_listener, messages) = Listener::open(&server, &a);
    let listing = rpc(2, "tools/list", &json!({}));
    for token in [Some(&b), None] {
        let bearer = format!("Bearer {}", token.unwrap_or(&b));
        let mut headers = vec![ACCEPT, ("Mcp-Session-Id", id.as_str()), ("Last-Event-ID", "1")];
        headers.extend(token.map(|_| ("Authorization", bearer.as_str())));
        for (method, path, body) in [
            ("GET", "/mcp", ""),
            ("POST", "/mcp", listing.as_str()),
            ("DELETE", "/mcp", ""),
            ("POST", messages.as_str(), listing.as_str()),
        ] {
            let answer = server.send(method, path, &headers, body.as_bytes());
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
    assert_eq!(message(&legacy(&server, &a, &id, &listing))["id"], 2);
    let in_query = server.send("GET", &format!("/mcp?session_id={id}&Mcp-Session-Id={id}"), &[ACCEPT], b"");
    assert!((400..500).contains(&in_query.status), "{}", in_query.status);
    for _ in 0..2 {
        let bearer = format!("Bearer {a}");
        let headers = [ACCEPT, ("Authorization", bearer.as_str()), ("Mcp-Session-Id", &id)];
        assert!([200, 202, 204, 404].contains(&server.send("DELETE", "/mcp", &headers, b"").status));
    }
    assert_eq!(legacy(&server, &a, &id, &listing).status, 404);
    let ids: Vec<String> = (0..4).map(|_| session(&server, &a)).collect();
    for id in &ids {
        assert!(32 <= id.replace('-', "").len(), "{id}");
        assert!(ids.iter().filter(|other| other[..8] == id[..8]).count() == 1, "{ids:?}");
    }
}

#[test]
fn without_a_token_that_holds_no_door_opens() {
    let open = |config: &str| Server::with(&format!("{UNHURRIED}[access]\nloopback_level = 0\n{config}"));
    let server = open("");
    let token = server.token("a", 4);
    let id = session(&server, &token);
    let (_listener, messages) = Listener::open(&server, &token);
    let body = rpc(2, "tools/list", &json!({}));
    let doors = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", messages.as_str())];
    // A call without any token is no guess, and is not counted as one.
    for (method, path) in doors {
        let in_query = format!("{path}{}access_token={token}", if path.contains('?') { '&' } else { '?' });
        for path in [path, &in_query] {
            let answer = server.send(method, path, &[ACCEPT, ("Mcp-Session-Id", &id)], body.as_bytes());
            assert_eq!(answer.problem(401)["code"], "unauthenticated", "{method} {path}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    // The next request after a revocation fails, on each door: five failures, after which there are no more words.
    assert!(server.hearth(&["token", "revoke", "a"]).status.success());
    let bearer = format!("Bearer {token}");
    let headers = [ACCEPT, ("Authorization", &bearer), ("Mcp-Session-Id", &id)];
    for (method, path) in
        [("POST", "/mcp"), ("GET", "/mcp"), ("GET", "/sse"), ("POST", &messages), ("GET", "/api/audit")]
    {
        assert_eq!(server.send(method, path, &headers, body.as_bytes()).problem(401)["code"], "unauthenticated");
    }

    let server = Server::start();
    let create = ["token", "create", "--name", "brief", "--level", "1", "--expires", "500ms"];
    let brief = String::from_utf8(server.hearth(&create).stdout).unwrap().trim().to_owned();
    std::thread::sleep(std::time::Duration::from_millis(600));
    for wrong in [brief.as_str(), "eyJhbGciOiJub25lIn0.e30.", "hearth_", "\u{fc}"] {
        assert_eq!(modern(&server, wrong, "tools/list", json!({})).problem(401)["code"], "unauthenticated", "{wrong}");
    }
}

#[test]
fn a_token_is_in_no_file_no_log_and_no_answer() {
    let mut server = Server::start();
    let token = server.token("a", 4);
    let id = session(&server, &token);
    legacy(&server, &token, &id, &rpc(2, "tools/call", &call("system_whoami", json!({}))));
    modern(&server, &token, "tools/call", call("inventory_put_host", json!({ "name": "nas", "kind": "nas" })));
    modern(&server, &token, "tools/call", call(&token, json!({})));
    server.get(&format!("/api/system/whoami?access_token={token}"));
    server.get(&format!("/api/{token}"));
    let secret = token.rsplit('_').next().unwrap();
    assert!(32 <= secret.len(), "{}", secret.len());
    for path in ["/api/audit", "/api/inventory/changes", "/api/system/info", "/metrics"] {
        assert!(!server.get_as(&token, path).text().contains(secret), "{path}");
    }
    let verify = |server: &Server| {
        let mut files: Vec<_> = std::fs::read_dir(server.data()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push(server.dir.path().join("log"));
        let mut n_read = 0;
        for path in files.iter().filter(|path| path.is_file()) {
            let bytes = std::fs::read(path).unwrap();
            n_read += bytes.len();
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{}", path.display());
        }
        assert!(10_000 < n_read);
    };
    verify(&server);
    // What clients may have missed is written at the end.
    server.stop();
    verify(&server);
    let mut files = std::fs::read_dir(server.data()).unwrap();
    assert!(files.any(|entry| entry.unwrap().path().extension().is_some_and(|kind| kind == "db")));
}

#[test]
fn a_token_is_not_taken_from_the_command_line() {
    let server = Server::start();
    let token = server.token("a", 4);
    for args in [&["mcp", "--token", &token][..], &["mcp", &token], &["call", "system_whoami", "--token", &token]] {
        let output = server.hearth(args);
        assert!(!output.status.success(), "{args:?}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn a_monitor_neither_sees_nor_runs_what_is_above_it() {
    let server = Server::start();
    let (low, high) = (server.token("low", 1), server.token("high", 4));
    let seen = names(&tools(&server, &low));
    let hidden: Vec<_> = names(&tools(&server, &high)).into_iter().filter(|name| !seen.contains(name)).collect();
    assert!(10 < hidden.len() && hidden.contains(&"inventory_put_host".to_owned()), "{hidden:?}");
    assert!(!seen.iter().any(|name| name.contains("_put_") || name.contains("_remove_")), "{seen:?}");
    let id = session(&server, &low);
    let (mut listener, messages) = Listener::open(&server, &low);
    let bearer = format!("Bearer {low}");
    let post = |body: &str| server.send("POST", &messages, &[("Authorization", &bearer)], body.as_bytes()).status;
    assert_eq!(post(&introduction()), 202);
    let old = message(&legacy(&server, &low, &id, &rpc(2, "tools/list", &json!({}))));
    assert_eq!(names(old["result"]["tools"].as_array().unwrap()), seen);
    for (n, name) in (100..).zip(&hidden) {
        let body = rpc(n, "tools/call", &call(name, json!({ "name": "nas", "kind": "nas" })));
        for answer in [
            modern(&server, &low, "tools/call", call(name, json!({ "name": "nas" }))).json(),
            message(&legacy(&server, &low, &id, &body)),
        ] {
            assert_eq!(answer["result"]["structuredContent"]["code"], "forbidden", "{name}: {answer}");
        }
        assert_eq!(post(&body), 202);
        assert!(listener.until(&format!("\"id\":{n},")).contains("forbidden"), "{name}");
    }
    let document = server.get_as(&high, "/api/openapi.json").json();
    let mut n_refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if !hidden.iter().any(|name| operation["operationId"] == **name) {
                continue;
            }
            let path = path.replace("{name}", "nas").replace("{address}", "10.0.0.1").replace("{network}", "lan");
            let path = path.replace("{thread_id}", "1").replace("{post_id}", "1");
            let answer = server.send(&method.to_uppercase(), &path, &[("Authorization", &bearer)], b"");
            assert_eq!(answer.problem(403)["code"], "forbidden", "{method} {path}");
            n_refused += 1;
        }
    }
    assert_eq!(n_refused, hidden.len());
    for name in ["token_create", "system_approve"] {
        let answer = modern(&server, &high, "tools/call", call(name, json!({}))).json();
        assert_eq!(answer["error"]["code"], -32602, "{name}: {answer}");
    }
}

#[test]
fn a_plan_is_for_its_caller_alone_and_only_as_it_was_sealed() {
    let server = Server::start();
    let (a, b) = (server.token("a", 4), server.token("b", 4));
    modern(&server, &a, "tools/call", call("inventory_put_host", json!({ "name": "nas", "kind": "nas" })));
    let remove = call("inventory_remove_host", json!({ "name": "nas" }));
    let asked = modern(&server, &a, "tools/call", remove.clone()).json();
    let state = asked["result"]["requestState"].as_str().unwrap_or_else(|| panic!("{asked}")).to_owned();
    let flipped: Vec<String> = (0..state.len())
        .step_by(state.len() / 8)
        .map(|at| {
            let other = if state.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &state[..at], &state[at + 1..])
        })
        .collect();
    let confirm = |token: &str, state: &str| {
        let mut params = remove.clone();
        params["requestState"] = json!(state);
        params["inputResponses"] = json!({ "confirm": { "action": "accept", "content": { "confirm": true } } });
        modern(&server, token, "tools/call", params).json()
    };
    for state in flipped.iter().chain([&String::new(), &state[1..].to_owned()]) {
        let answer = confirm(&a, state);
        assert_eq!(answer["error"]["code"], -32602, "{state}: {answer}");
    }
    assert_eq!(confirm(&b, &state)["error"]["code"], -32602);

    let delete = |token: &str, approval: &str| {
        let headers = [("Authorization", &*format!("Bearer {token}")), ("X-Hearth-Approval", approval)];
        server.send("DELETE", "/api/inventory/hosts/nas", &headers, b"")
    };
    let plan = server.send("DELETE", "/api/inventory/hosts/nas", &[("Authorization", &format!("Bearer {a}"))], b"");
    let approval = plan.problem(428)["approval_id"].as_str().unwrap().to_owned();
    delete(&a, &approval).problem(428);
    assert!(server.hearth(&["approve", &approval]).status.success());
    for (token, id) in [(&b, approval.as_str()), (&a, "none"), (&a, "' or 1=1 --")] {
        delete(token, id).problem(428);
    }
    assert_eq!(server.get_as(&a, "/api/inventory/hosts/nas").status, 200);
    assert_eq!(delete(&a, &approval).status, 200);
    assert_ne!(delete(&a, &approval).status, 200);
}
