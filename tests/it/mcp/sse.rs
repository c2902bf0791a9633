//! The transport of 2024-11-05: `/sse` and `/messages`.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{Events, Lab, call, initialize, request};

#[tokio::test]
async fn an_sse_client_talks_loses_its_stream_and_hears_the_rest() {
    let lab = Lab::open();
    let mut stream = Events::of(lab.send("GET", "/sse?toolsets=lab", &[], None).await);
    let (_, kind, endpoint) = stream.next().await.unwrap();
    assert_eq!(kind, "endpoint");
    assert!(endpoint.ends_with("&toolsets=lab"), "{endpoint}");
    let post = async |lab: &Lab, message: Value| lab.send("POST", &endpoint, &[], Some(message)).await.status();
    assert_eq!(post(&lab, initialize(json!({}))).await, StatusCode::ACCEPTED);
    assert_eq!(stream.message().await.unwrap().1["result"]["serverInfo"]["name"], "hearth");
    post(&lab, json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    post(&lab, request(2, "tools/call", call("lab_echo", json!({ "text": "hi" })))).await;
    let (last, said) = stream.message().await.unwrap();
    assert_eq!(said["result"]["structuredContent"]["text"], "hi");

    // The laptop sleeps while a call runs.
    post(&lab, request(3, "tools/call", call("lab_wait", json!({ "ms": 200 })))).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let mut stream = Events::of(lab.send("GET", "/sse", &[("last-event-id", last.as_str())], None).await);
    assert_eq!(stream.message().await.unwrap().1["id"], 3);
    let other = lab.send("POST", &endpoint, &[("x-caller", "token:b")], Some(request(4, "ping", json!({})))).await;
    assert_eq!(other.status(), StatusCode::NOT_FOUND);

    // The server restarts; the client comes back without a word of introduction.
    drop(stream);
    let lab = lab.restart().await;
    let mut stream = Events::of(lab.send("GET", "/sse", &[("last-event-id", last.as_str())], None).await);
    assert_eq!(stream.next().await.unwrap().1, "endpoint");
    post(&lab, request(5, "tools/call", call("lab_echo", json!({ "text": "back" })))).await;
    assert_eq!(stream.message().await.unwrap().1["result"]["structuredContent"]["text"], "back");
}
