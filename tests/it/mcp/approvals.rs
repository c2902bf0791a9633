//! A person's word on a destructive call, asked through the client.

use std::time::Duration;

use hearth::config::Config;
use http::StatusCode;
use serde_json::json;

use super::{Events, Lab, call, request};

#[tokio::test]
async fn a_person_confirms_between_two_stateless_rounds() {
    let lab = Lab::open();
    let manage = [("x-level", "4")];
    let (_, asked) = lab.ask_stateless(&manage, "tools/call", call("lab_wipe", json!({}))).await;
    let result = &asked["result"];
    assert_eq!(result["resultType"], "input_required", "{asked}");
    let message = result["inputRequests"]["confirm"]["params"]["message"].as_str().unwrap();
    assert!(message.contains("wipes the lab"), "{message}");

    let answer = |accept: bool| {
        let mut params = call("lab_wipe", json!({}));
        params["requestState"] = result["requestState"].clone();
        let content = json!({ "action": "accept", "content": { "confirm": accept } });
        params["inputResponses"] = json!({ "confirm": content });
        params
    };
    // The state is of no use to another caller, or for another tool.
    let (_, stolen) = lab.ask_stateless(&[("x-level", "4"), ("x-caller", "token:b")], "tools/call", answer(true)).await;
    assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
    let mut other = answer(true);
    other["name"] = json!("lab_echo");
    let (_, other) = lab.ask_stateless(&manage, "tools/call", other).await;
    assert_eq!(other["error"]["code"], -32602, "{other}");

    let (_, done) = lab.ask_stateless(&manage, "tools/call", answer(true)).await;
    assert_eq!(done["result"]["structuredContent"]["text"], "wiped", "{done}");
    let (_, twice) = lab.ask_stateless(&manage, "tools/call", answer(true)).await;
    assert_eq!(twice["result"]["isError"], true, "{twice}");
}

#[tokio::test]
async fn a_person_is_asked_in_the_middle_of_a_call_and_may_decline() {
    let lab = Lab::open();
    let headers = [("x-level", "4")];
    let session = lab.initialize(&headers, json!({ "elicitation": {} })).await;
    let all = [("x-level", "4"), ("mcp-session-id", session.as_str())];
    for (action, content) in [("decline", json!(null)), ("cancel", json!(null)), ("accept", json!({ "confirm": true }))]
    {
        let wipe = request(9, "tools/call", call("lab_wipe", json!({})));
        let mut stream = Events::of(lab.send("POST", "/mcp", &all, Some(wipe)).await);
        let (_, question) = stream.message().await.unwrap();
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let mut result = json!({ "action": action });
        if !content.is_null() {
            result["content"] = content;
        }
        let reply = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
        assert_eq!(lab.send("POST", "/mcp", &all, Some(reply)).await.status(), StatusCode::ACCEPTED);
        let (_, outcome) = stream.message().await.unwrap();
        let content = &outcome["result"]["structuredContent"];
        match action {
            "accept" => assert_eq!(content["text"], "wiped", "{outcome}"),
            "decline" => assert_eq!(content["code"], "forbidden", "{outcome}"),
            _ => assert!(content["approval_id"].is_string() && content["plan"].is_object(), "{outcome}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_cannot_ask_gets_the_plan() {
    let lab = Lab::open();
    let headers = [("x-level", "4")];
    let session = lab.initialize(&headers, json!({})).await;
    let refused = lab.ask(&session, &headers, "tools/call", call("lab_wipe", json!({}))).await;
    let body = &refused["result"]["structuredContent"];
    assert_eq!((&refused["result"]["isError"], &body["code"]), (&json!(true), &json!("unconfirmed")));
    assert!(body["approval_id"].is_string() && body["plan"]["summary"] == "wipes the lab");
}

#[tokio::test]
async fn a_question_that_has_expired_is_of_no_use() {
    let mut config = Config::default();
    config.approvals.ttl = Duration::from_millis(100);
    let lab = Lab::open_with(tempfile::tempdir().unwrap(), config);
    let manage = [("x-level", "4")];
    let (_, asked) = lab.ask_stateless(&manage, "tools/call", call("lab_wipe", json!({}))).await;
    let mut params = call("lab_wipe", json!({}));
    params["requestState"] = asked["result"]["requestState"].clone();
    params["inputResponses"] = json!({ "confirm": { "action": "accept", "content": { "confirm": true } } });
    assert!(params["requestState"].is_string(), "{asked}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (_, late) = lab.ask_stateless(&manage, "tools/call", params).await;
    assert_eq!(late["error"]["code"], -32602, "{late}");
    assert!(late["error"]["message"].as_str().unwrap().contains("expired"), "{late}");
}
