//! Access that ends: what a revoked or expired token had open, and what becomes of its name.

use std::time::{Duration, Instant};

use hearth::app::Event;
use serde_json::json;

use super::*;
use crate::support::person;

/// A revocation is told at once; this is for a busy machine, and shorter than any heartbeat.
const AT_ONCE: Duration = Duration::from_secs(5);

fn listen(server: &Server, token: &str, uri: &str) -> Listener {
    let params = with_meta(json!({ "notifications": { "resourceSubscriptions": [uri] } }));
    let body = rpc(5, "subscriptions/listen", &params);
    let headers = format!("MCP-Protocol-Version: {MODERN}\r\nMcp-Method: subscriptions/listen\r\n");
    let mut listener = Listener::ask(server, &request(server, token, "POST", &headers, &body));
    listener.until("resourceSubscriptions");
    listener
}

/// The stream of a session that hears what changes at `uri`.
fn watch(server: &Server, token: &str, uri: &str) -> Listener {
    let id = session(server, token);
    let subscribed = legacy(server, token, &id, &rpc(3, "resources/subscribe", &json!({ "uri": uri })));
    assert!(message(&subscribed)["result"].is_object(), "{}", subscribed.text());
    let mut listener = Listener::ask(server, &request(server, token, "GET", &format!("Mcp-Session-Id: {id}\r\n"), ""));
    assert!(listener.until("HTTP/1.1").contains("200"));
    listener
}

/// A call of a session that waits for a person's answer.
fn asking(server: &Server, token: &str) -> Listener {
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} }, "clientInfo": info });
    let answer = legacy(server, token, "", &rpc(1, "initialize", &params));
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string();
    assert_eq!(legacy(server, token, &id, &note).status, 202);
    modern(server, token, "tools/call", call("inventory_put_host", json!({ "name": "nas", "kind": "nas" })));
    let body = rpc(4, "tools/call", &call("inventory_remove_host", json!({ "name": "nas" })));
    let mut listener =
        Listener::ask(server, &request(server, token, "POST", &format!("Mcp-Session-Id: {id}\r\n"), &body));
    listener.until("elicitation/create");
    listener
}

fn request(server: &Server, token: &str, method: &str, headers: &str, body: &str) -> String {
    let accept = format!("{}: {}\r\nContent-Type: application/json\r\n", ACCEPT.0, ACCEPT.1);
    let head = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n{accept}{headers}", server.address);
    format!("{method} /mcp HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn revoke(server: &Server, name: &str) {
    let output = server.hearth(&["token", "revoke", name]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_revoked_token_ends_what_it_has_open_and_nothing_else() {
    let server = Server::start();
    let (a, b) = (server.token("a", 4), server.token("b", 1));
    let (mut sse, messages) = Listener::open(&server, &a);
    let mut open = [asking(&server, &a), watch(&server, &a, "hearth://forum"), listen(&server, &a, "hearth://forum")];
    let (mut other_sse, other_messages) = Listener::open(&server, &b);
    let mut others = [watch(&server, &b, "hearth://forum"), listen(&server, &b, "hearth://forum")];

    revoke(&server, "a");
    let revoked_at = Instant::now();
    sse.end();
    open.iter_mut().for_each(Listener::end);
    assert!(revoked_at.elapsed() < AT_ONCE, "{:?}", revoked_at.elapsed());
    assert!(!open[0].text.contains("\"id\":4"), "{}", open[0].text);
    assert_eq!(server.post_as(&a, &messages, &introduction()).problem(401)["code"], "unauthenticated");

    let post = ["call", "forum_create_thread", "title=News", "body=of the lab"];
    let posted = server.hearth(&post);
    assert!(posted.status.success(), "{}", String::from_utf8_lossy(&posted.stderr));
    for other in &mut others {
        other.until("notifications/resources/updated");
    }
    assert!(!open.iter().any(|ended| ended.text.contains("notifications/resources/updated")));
    assert_eq!(server.post_as(&b, &other_messages, &introduction()).status, 202);
    other_sse.until("serverInfo");
}

#[test]
fn a_token_that_expires_ends_what_it_has_open() {
    let server = Server::start();
    let create = ["token", "create", "--name", "brief", "--level", "1", "--expires", "4s"];
    let brief = String::from_utf8(server.hearth(&create).stdout).unwrap().trim().to_owned();
    let (mut sse, _) = Listener::open(&server, &brief);
    let mut open = [watch(&server, &brief, "hearth://forum"), listen(&server, &brief, "hearth://forum")];
    std::thread::sleep(Duration::from_secs(4));
    let expired_at = Instant::now();
    sse.end();
    open.iter_mut().for_each(Listener::end);
    assert!(expired_at.elapsed() < AT_ONCE, "{:?}", expired_at.elapsed());
}

#[test]
fn no_stream_slips_past_a_revocation() {
    let server = Server::start();
    let token = server.token("a", 1);
    let request = format!("GET /sse HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", server.address);
    let mut last = std::thread::scope(|scope| {
        let open = || {
            let mut last = None;
            loop {
                let mut listener = Listener::ask(&server, &request);
                if !listener.until("HTTP/1.1").contains("200") {
                    return last;
                }
                last = Some(listener);
            }
        };
        let openers = [scope.spawn(open), scope.spawn(open), scope.spawn(open), scope.spawn(open)];
        std::thread::sleep(Duration::from_millis(300));
        revoke(&server, "a");
        openers.map(|opener| opener.join().unwrap().expect("a stream before the revocation"))
    });
    last.iter_mut().for_each(Listener::end);
}

#[test]
fn the_name_of_a_revoked_token_is_nobodys_again() {
    let mut server = Server::start();
    let first = server.token("laptop", 4);
    let id = session(&server, &first);
    modern(&server, &first, "tools/call", call("inventory_put_host", json!({ "name": "nas", "kind": "nas" })));
    let delete = |token: &str, approval: &str| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str()), ("X-Hearth-Approval", approval)];
        if approval.is_empty() {
            headers.pop();
        }
        server.send("DELETE", "/api/inventory/hosts/nas", &headers, b"")
    };
    let plan = || delete(&first, "").problem(428)["approval_id"].as_str().unwrap().to_owned();
    let (approved, waiting) = (plan(), plan());
    assert!(server.hearth(&["approve", &approved]).status.success());
    let said = |args: &[&str]| {
        let output = server.hearth(args);
        (output.status.success(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat())
    };
    assert!(said(&["call", "system_list_approvals"]).1.contains(&waiting));

    let (is_done, text) = said(&["token", "revoke", "LAPTOP"]);
    assert!(is_done && text.contains("laptop"), "{text}");
    for name in ["laptop", "Laptop"] {
        let (is_done, text) = said(&["token", "create", "--name", name, "--level", "4"]);
        assert!(!is_done && text.contains("there was a token"), "{text}");
    }
    assert!(!said(&["token", "revoke", "laptop"]).0);
    assert!(!said(&["token", "list"]).1.contains("laptop"));
    // Nobody is asked to decide for a caller that is gone.
    assert!(!said(&["call", "system_list_approvals"]).1.contains(&waiting));
    assert!(!said(&["approve", &waiting]).0);

    let second = server.token("laptop-2", 4);
    assert_eq!(legacy(&server, &second, &id, &rpc(2, "tools/list", &json!({}))).status, 404);
    for approval in [&approved, &waiting] {
        delete(&second, approval).problem(428);
    }
    assert_eq!(server.get_as(&second, "/api/inventory/hosts/nas").status, 200);

    let database = server.data().join("hearth.db");
    server.stop();
    let count = |sql: &str| {
        let conn = rusqlite::Connection::open(&database).unwrap();
        conn.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap()
    };
    assert_eq!(count("select count(*) from mcp_sessions where principal = 'token:laptop'"), 0);
    assert_eq!(count("select count(*) from approvals where principal = 'token:laptop' and state = 'rejected'"), 2);
    assert!(0 < count("select count(*) from audit where principal = 'token:laptop'"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_told_once_it_is_committed() {
    let app = TestApp::new();
    app.ok(&person(), "token_create", json!({ "name": "a", "level": 1 })).await;
    let mut events = app.app.events.subscribe();
    app.err(&person(), "token_revoke", json!({ "name": "b" })).await;
    app.ok(&person(), "token_revoke", json!({ "name": "a" })).await;
    assert_eq!(events.try_recv(), Ok(Event::AccessEnded));
    assert!(events.try_recv().is_err());
}
