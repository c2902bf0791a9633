//! Credentials through the gate: sealed, shown only with a person's word, and used where they are bound to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use hearth::app::{Caller, Level};
use hearth::error::{Code, Error};
use serde_json::{Value, json};

use crate::support::{TestApp, caller, person, unhurried};

const CANARY: &str = "c4n4ry-hunter2-c4n4ry";

fn agent() -> Caller {
    caller("agent", Level::Manage)
}

fn password(name: &str) -> Value {
    json!({ "name": name, "kind": "password", "secret": CANARY })
}

/// What a person approves, and then the call again.
async fn approved(app: &TestApp, tool: &str, mut input: Value) -> Result<Value, Error> {
    let error = app.err(&agent(), tool, input.clone()).await;
    let Some((id, _)) = error.approval() else { return Err(error) };
    app.ok(&person(), "system_approve", json!({ "approval": id })).await;
    input["approval_id"] = json!(id);
    app.call(&agent(), tool, input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_and_only_after_a_person_approved_it() {
    let app = TestApp::new();
    app.ok(&agent(), "credential_put", password("nas")).await;
    let ask = json!({ "name": "nas", "purpose": "moving to a new disk" });
    let error = app.err(&agent(), "credential_get", ask.clone()).await;
    assert_eq!(error.code, Code::Unconfirmed);
    let id = error.approval().unwrap().0.to_owned();
    app.ok(&person(), "system_approve", json!({ "approval": id })).await;
    let mut call = ask.clone();
    call["approval_id"] = json!(id);
    let shown = app.ok(&agent(), "credential_get", call.clone()).await;
    assert_eq!((&shown["secret"], &shown["encoding"]), (&json!(CANARY), &json!("utf8")));
    assert_eq!(app.err(&agent(), "credential_get", call).await.code, Code::Unconfirmed);
    assert_eq!(app.err(&caller("low", Level::Configure), "credential_get", ask.clone()).await.code, Code::Forbidden);
    let mut keyed = ask;
    keyed["request_id"] = json!("r1");
    assert_eq!(app.err(&agent(), "credential_get", keyed).await.field(), Some("request_id"));
    let rows = app.ok(&agent(), "audit_list", json!({ "tool": "credential_get", "limit": 100 })).await;
    assert!(rows.to_string().contains("moving to a new disk"), "{rows}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_self_confirmation_does_not_reach_secrets() {
    let mut config = unhurried();
    config.access.self_confirm = vec![hearth::config::access::SelfConfirm {
        caller: "token:agent".to_owned(),
        tools: vec!["credential_get".to_owned(), "credential_remove".to_owned()],
    }];
    let app = TestApp::with(config, hearth::tools::TOOLSETS);
    app.ok(&agent(), "credential_put", password("nas")).await;
    let ask = json!({ "name": "nas", "purpose": "because" });
    assert_eq!(app.err(&agent(), "credential_get", ask).await.code, Code::Unconfirmed);
    app.ok(&agent(), "credential_remove", json!({ "name": "nas" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_and_no_answer_holds_a_secret_in_the_clear() {
    let app = TestApp::new();
    let mut put = password("nas");
    put["request_id"] = json!("r1");
    let first = app.ok(&agent(), "credential_put", put.clone()).await;
    assert_eq!(app.ok(&agent(), "credential_put", put).await, first);
    app.ok(&agent(), "credential_rotate", json!({ "name": "nas", "secret": format!("{CANARY}2") })).await;
    let listed = app.ok(&agent(), "credential_list", json!({})).await;
    for answer in [first, listed] {
        assert!(!answer.to_string().contains(CANARY), "{answer}");
    }
    for entry in std::fs::read_dir(app.dir.path().join("data")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_secrets_have_a_message_each_and_none_repeats_them() {
    let app = TestApp::new();
    let long = "x".repeat(70_000);
    let key = |secret: &str| json!({ "name": "k", "kind": "ssh_key", "secret": secret });
    for (input, said) in [
        (json!({ "name": "k", "kind": "password", "secret": "" }), "empty"),
        (json!({ "name": "k", "kind": "password", "secret": long }), "more than"),
        (json!({ "name": "k", "kind": "password", "secret": "hunter2\u{0}" }), "NUL"),
        (json!({ "name": "k", "kind": "password", "secret": 4711 }), "must be a text"),
        (json!({ "name": "k", "kind": "password" }), "is missing"),
        (json!({ "name": "k", "secret": "hunter2" }), "kind"),
        (key("hunter2"), "OpenSSH"),
        (
            json!({ "name": "k", "kind": "password", "secret": "hunter2", "target": "host:nowhere" }),
            "no host `nowhere`",
        ),
        (json!({ "name": "k", "kind": "username_password", "secret": "hunter2" }), "username"),
    ] {
        let error = app.err(&agent(), "credential_put", input).await;
        assert!(error.message.contains(said), "{said}: {error}");
        let body = serde_json::to_string(&error.body()).unwrap();
        assert!(!body.contains("hunter2") && !body.contains("4711") && body.len() < 500, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_key_is_made_in_place_and_never_shown() {
    let app = TestApp::new();
    let made = app.ok(&agent(), "credential_put", json!({ "name": "nas-key", "kind": "ssh_key" })).await;
    assert!(made["public_key"].as_str().unwrap().starts_with("ssh-ed25519 "), "{made}");
    let error = app.err(&agent(), "credential_get", json!({ "name": "nas-key", "purpose": "x" })).await;
    assert_eq!(error.code, Code::Forbidden);
    assert!(!made["public_key"].as_str().unwrap().contains(hearth::redact::MARK), "{made}");
    let again = app.ok(&agent(), "credential_rotate", json!({ "name": "nas-key" })).await;
    assert_ne!(made["public_key"], again["public_key"]);
    let back = app.ok(&agent(), "credential_rotate", json!({ "name": "nas-key", "restore": true })).await;
    assert_eq!((&back["public_key"], &back["version"]), (&made["public_key"], &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_a_secret_is_hidden_from_when_it_is_stored_until_it_is_removed() {
    let app = TestApp::new();
    let reader = agent();
    let said = async |app: &TestApp, text: &str| {
        let post = json!({ "title": "note", "body": format!("it is {text}.") });
        app.ok(&reader, "forum_create_thread", post).await["thread"]["thread_id"].clone()
    };
    let read = async |app: &TestApp, thread: &Value| {
        app.ok(&reader, "forum_read_thread", json!({ "thread_id": thread })).await.to_string()
    };
    let thread = said(&app, CANARY).await;
    let other = "quite-another-0ne";
    let later = said(&app, other).await;
    assert!(read(&app, &thread).await.contains(CANARY));
    app.ok(&agent(), "credential_put", password("nas")).await;
    assert!(read(&app, &thread).await.contains("it is ***."));
    assert!(read(&app, &later).await.contains(other));
    app.ok(&agent(), "credential_rotate", json!({ "name": "nas", "secret": other })).await;
    let app = app.restart(hearth::tools::TOOLSETS).await;
    for thread in [&thread, &later] {
        assert!(read(&app, thread).await.contains("it is ***."));
    }
    app.ok(&agent(), "credential_rotate", json!({ "name": "nas", "restore": true })).await;
    let shown = approved(&app, "credential_get", json!({ "name": "nas", "purpose": "it is needed" })).await.unwrap();
    assert_eq!(shown["secret"], CANARY);
    approved(&app, "credential_remove", json!({ "name": "nas" })).await.unwrap();
    assert!(read(&app, &thread).await.contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_ssh_key_the_private_half_is_hidden_and_the_public_one_is_not() {
    let app = TestApp::new();
    let put = json!({ "name": "nas-key", "kind": "ssh_key", "uses": ["ssh", "reveal"] });
    let made = app.ok(&agent(), "credential_put", put).await;
    let public = made["public_key"].as_str().unwrap().to_owned();
    let shown = approved(&app, "credential_get", json!({ "name": "nas-key", "purpose": "x" })).await.unwrap();
    let private = shown["secret"].as_str().unwrap();
    let post = json!({ "title": "keys", "body": format!("{private}\n{public}") });
    let post = app.ok(&agent(), "forum_create_thread", post).await["post"]["body"].to_string();
    assert!(post.contains(&public) && post.contains("***"), "{post}");
    // The seed stands in the fourth line of the body (PROTOCOL.key of OpenSSH).
    let seed = private.lines().nth(4).unwrap();
    assert!(!post.contains(&seed[8..32]) && !post.contains(&seed[24..48]), "{post}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_knows_the_secret_may_widen_what_it_is_for() {
    let app = TestApp::new();
    for host in ["nas", "evil"] {
        app.ok(&agent(), "inventory_put_host", json!({ "name": host, "kind": "server" })).await;
    }
    let mut put = password("nas");
    put["target"] = json!("host:nas");
    app.ok(&agent(), "credential_put", put).await;
    let widen = json!({ "name": "nas", "target": "host:evil" });
    assert_eq!(app.err(&agent(), "credential_put", widen).await.code, Code::Forbidden);
    assert_eq!(app.err(&agent(), "credential_put", json!({ "name": "nas", "level": 1 })).await.code, Code::Forbidden);
    let narrowed = app.ok(&agent(), "credential_put", json!({ "name": "nas", "uses": ["ssh"] })).await;
    assert_eq!(narrowed["uses"], json!(["ssh"]));
    // The wider seal is gone, so nothing brings it back.
    let restore = json!({ "name": "nas", "restore": true });
    assert_eq!(app.err(&agent(), "credential_rotate", restore).await.code, Code::NotFound);
    let error = app.err(&agent(), "credential_get", json!({ "name": "nas", "purpose": "x" })).await;
    assert_eq!(error.code, Code::Forbidden);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_credential_is_gone_with_all_its_versions() {
    let app = TestApp::new();
    app.ok(&agent(), "credential_put", password("nas")).await;
    approved(&app, "credential_remove", json!({ "name": "nas" })).await.unwrap();
    let left: i64 = app
        .app
        .store
        .read(|conn| Ok(conn.query_row("select count(*) from credential_versions", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// Answers one request and gives back what was asked.
fn listen() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    });
    (port, answering)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_uses_a_credential_at_its_origin_and_nowhere_else() {
    let mut config = unhurried();
    config.health.allow_loopback = true;
    let app = TestApp::with(config, hearth::tools::TOOLSETS);
    let ((port, asked), (other, _never)) = (listen(), listen());
    let service = |port: u16| json!({ "name": "plex", "kind": "media", "url": format!("http://127.0.0.1:{port}/") });
    app.ok(&agent(), "inventory_put_service", service(port)).await;
    let put = json!({
        "name": "plex", "kind": "username_password", "username": "admin", "secret": CANARY, "target": "service:plex"
    });
    app.ok(&agent(), "credential_put", put).await;
    let found = app.ok(&agent(), "inventory_check_service_health", json!({ "name": "plex" })).await;
    assert_eq!(found["healthy"], true, "{found}");
    let asked = asked.join().unwrap();
    assert!(asked.contains("authorization: Basic YWRtaW46YzRuNHJ5LWh1bnRlcjItYzRuNHJ5"), "{asked}");
    assert!(!found.to_string().contains("YWRtaW46"));
    // Whoever edits the inventory does not get the secret.
    app.ok(&agent(), "inventory_put_service", service(other)).await;
    let error = app.err(&agent(), "inventory_check_service_health", json!({ "name": "plex" })).await;
    assert_eq!(error.code, Code::Forbidden, "{error}");
    let uses: Vec<String> = app
        .app
        .store
        .read(|conn| {
            let mut statement = conn.prepare("select decision from audit where phase = 'use' order by seq")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap();
    assert_eq!(uses, ["ok", "forbidden"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_root_key_keeps_secrets_tokens_and_the_audit_chain() {
    let app = TestApp::new();
    app.ok(&agent(), "credential_put", password("nas")).await;
    let kit = app.ok(&person(), "key_kit", json!({})).await;
    let kit = kit["kit"].as_str().unwrap();
    let is_code = |line: &&str| line.starts_with("HEAR ");
    let code: String = kit.lines().skip_while(|line| !is_code(line)).take_while(|line| !line.is_empty()).collect();
    let verified = app.ok(&person(), "key_verify", json!({ "code": code })).await;
    assert_eq!((&verified["versions"], &verified["opened"]), (&json!(1), &json!(1)));
    assert_eq!(app.err(&agent(), "key_kit", json!({})).await.code, Code::Forbidden);

    let rotated = app.ok(&person(), "key_rotate", json!({})).await;
    assert_ne!(rotated["old"], rotated["new"]);
    assert_eq!(app.err(&person(), "key_verify", json!({ "code": code })).await.code, Code::Conflict);
    let app = app.restart(hearth::tools::TOOLSETS).await;
    let status = app.ok(&person(), "key_status", json!({})).await;
    assert_eq!(status["keys"].as_array().unwrap().len(), 2, "{status}");
    let ask = json!({ "name": "nas", "purpose": "after" });
    assert_eq!(approved(&app, "credential_get", ask).await.unwrap()["secret"], CANARY);
    assert_eq!(app.ok(&agent(), "audit_verify", json!({})).await["valid"], true);
    let leaked = app.ok(&person(), "key_compromise", json!({})).await;
    assert_eq!(leaked["items"][0]["name"], "nas", "{leaked}");
}
