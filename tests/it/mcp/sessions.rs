//! Sessions: whose they are, what they outlive, and how many there may be.

use std::time::Duration;

use hearth::app::{Event, Level};
use hearth::config::Config;
use hearth::store::tokens::{self, Token};
use http::StatusCode;
use serde_json::json;

use super::{Events, Lab, call, initialize, request};

#[tokio::test]
async fn a_session_is_there_for_its_owner_only() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let headers = [("mcp-session-id", session.as_str()), ("x-caller", "token:b")];
    for method in ["GET", "DELETE"] {
        assert_eq!(lab.send(method, "/mcp", &headers, None).await.status(), StatusCode::NOT_FOUND);
    }
    let list = request(2, "tools/list", json!({}));
    assert_eq!(lab.send("POST", "/mcp", &headers, Some(list)).await.status(), StatusCode::NOT_FOUND);
    let still = lab.ask(&session, &[], "tools/list", json!({})).await;
    assert!(still["result"]["tools"].is_array());
}

#[tokio::test]
async fn a_session_survives_a_restart_with_its_subscriptions() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let uri = "test://watched-resource";
    lab.ask(&session, &[], "resources/subscribe", json!({ "uri": uri })).await;

    let lab = lab.restart().await;
    let said = lab.ask(&session, &[], "tools/call", call("lab_echo", json!({ "text": "again" }))).await;
    assert_eq!(said["result"]["structuredContent"]["text"], "again");
    let mut stream = Events::of(lab.send("GET", "/mcp", &[("mcp-session-id", &session)], None).await);
    lab.app.events.send(Event::Changed { uri: uri.into() }).unwrap();
    let (_, note) = stream.message().await.unwrap();
    assert_eq!(note["method"], "notifications/resources/updated", "{note}");
    assert_eq!(note["params"]["uri"], uri);

    let other = [("mcp-session-id", session.as_str()), ("x-caller", "token:b")];
    assert_eq!(lab.send("GET", "/mcp", &other, None).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_idle_hour_goes_unnoticed_and_a_closed_session_is_gone() {
    let mut config = Config::default();
    config.mcp.session_idle = Duration::from_millis(100);
    let lab = Lab::open_with(tempfile::tempdir().unwrap(), config);
    let session = lab.initialize(&[], json!({})).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let said = lab.ask(&session, &[], "tools/call", call("lab_echo", json!({ "text": "hi" }))).await;
    assert_eq!(said["result"]["structuredContent"]["text"], "hi");
    let headers = [("mcp-session-id", session.as_str())];
    assert!(lab.send("DELETE", "/mcp", &headers, None).await.status().is_success());
    let list = request(2, "tools/list", json!({}));
    assert_eq!(lab.send("POST", "/mcp", &headers, Some(list)).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_answer_missed_is_replayed_to_its_session_alone_also_after_a_restart() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let headers = [("mcp-session-id", session.as_str())];
    let slow = request(5, "tools/call", call("lab_wait", json!({ "ms": 300 })));
    let mut stream = Events::of(lab.send("POST", "/mcp", &headers, Some(slow)).await);
    let (first, _, _) = stream.next().await.unwrap();
    drop(stream);
    // Going away does not cancel the call.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let resume = [("mcp-session-id", session.as_str()), ("last-event-id", first.as_str())];
    let (_, message) = Events::of(lab.send("GET", "/mcp", &resume, None).await).message().await.unwrap();
    assert_eq!((&message["id"], &message["result"]["structuredContent"]["text"]), (&json!(5), &json!("waited")));

    let lab = lab.restart().await;
    let (_, message) = Events::of(lab.send("GET", "/mcp", &resume, None).await).message().await.unwrap();
    assert_eq!(message["id"], 5);
    let another = lab.initialize(&[("x-caller", "token:b")], json!({})).await;
    let stolen = [("mcp-session-id", another.as_str()), ("last-event-id", first.as_str()), ("x-caller", "token:b")];
    assert!(Events::of(lab.send("GET", "/mcp", &stolen, None).await).message().await.is_none());
}

#[tokio::test]
async fn sessions_and_streams_have_caps() {
    let mut config = Config::default();
    (config.mcp.sessions_max, config.mcp.sessions_per_caller, config.mcp.streams_per_caller) = (1, 1, 1);
    let lab = Lab::open_with(tempfile::tempdir().unwrap(), config);
    let first = lab.initialize(&[], json!({})).await;
    let second = lab.initialize(&[], json!({})).await;
    // The first made room, and comes back when it is asked for.
    let said = lab.ask(&first, &[], "tools/call", call("lab_echo", json!({ "text": "hi" }))).await;
    assert_eq!(said["result"]["structuredContent"]["text"], "hi");

    let headers = [("mcp-session-id", second.as_str())];
    let stream = lab.send("GET", "/mcp", &headers, None).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let refused = lab.send("GET", "/mcp", &headers, None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let refused = lab.send("POST", "/mcp", &[], Some(initialize(json!({})))).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn introductions_have_a_rate() {
    let mut config = Config::default();
    (config.limits.writes_per_second, config.limits.burst_seconds) = (1, 3);
    let lab = Lab::open_with(tempfile::tempdir().unwrap(), config);
    for (who, door) in [("token:a", "/mcp"), ("token:b", "/sse")] {
        let mut statuses = Vec::new();
        for _ in 0..6 {
            let (method, body) = if door == "/mcp" { ("POST", Some(initialize(json!({})))) } else { ("GET", None) };
            let response = lab.send(method, door, &[("x-caller", who)], body).await;
            let is_refused = response.status() == StatusCode::TOO_MANY_REQUESTS;
            assert!(!is_refused || response.headers().contains_key("retry-after"));
            statuses.push(response.status());
        }
        assert_eq!(statuses[..3], [StatusCode::OK; 3], "{door}");
        assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{door}: {statuses:?}");
    }
    lab.initialize(&[("x-caller", "token:c")], json!({})).await;
}

#[tokio::test]
async fn word_of_a_revocation_ends_streams_before_any_clock_does() {
    let lab = Lab::open();
    let token = Token {
        name: "a".into(),
        level: Level::Monitor,
        toolsets: None,
        created_at: lab.app.clock.now(),
        created_by: "owner".into(),
        expires_at: None,
        last_used_at: None,
    };
    lab.app.store.write(move |tx| tokens::insert(tx, &token, &[0; 32])).await.unwrap();
    let session = lab.initialize(&[], json!({})).await;
    let mut stream = Events::of(lab.send("GET", "/mcp", &[("mcp-session-id", &session)], None).await);
    let now = lab.app.clock.now();
    lab.app.store.write(move |tx| tokens::revoke(tx, "a", now)).await.unwrap();
    tokio::time::pause();
    lab.app.events.send(Event::AccessEnded).unwrap();
    let end = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(Duration::from_millis(1), end).await.expect("an end at once");
}
