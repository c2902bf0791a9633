//! The MCP surface over HTTP as clients speak it: both eras, sessions, streams, refusals and approvals.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hearth::app::{App, Caller, Context, Door, Event, Level};
use hearth::config::Config;
use hearth::error::{Error, Result};
use hearth::registry::{Effect, Entry, Plan, Registry, Reversible, Tool, Toolset};
use hearth::surface::mcp::{Mcp, Offer};
use http::StatusCode;
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Says back what it was told
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    /// What to say
    text: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Said {
    text: String,
}

impl Tool for Echo {
    const NAME: &'static str = "lab_echo";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/lab/echo";
    type Output = Said;

    async fn run(self, _: &Context) -> Result<Said> {
        if self.text == "lost" {
            return Err(Error::not_found("no `lost` here").with_hint("look elsewhere"));
        }
        Ok(Said { text: self.text })
    }
}

/// Waits for a while
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// For how long
    ms: u64,
}

impl Tool for Wait {
    const NAME: &'static str = "lab_wait";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/lab/wait";
    type Output = Said;

    async fn run(self, cx: &Context) -> Result<Said> {
        cx.progress(1.0, Some(2.0), "half way").await;
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        cx.progress(2.0, Some(2.0), "there").await;
        Ok(Said { text: "waited".into() })
    }
}

/// Wipes the lab
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wipe {}

impl Tool for Wipe {
    const NAME: &'static str = "lab_wipe";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/lab";
    type Output = Said;

    async fn plan(&self, _: &Context) -> Result<Plan> {
        Ok(Plan {
            summary: "wipes the lab".into(),
            effects: vec!["everything goes".into()],
            before: json!({}),
            reversible: Reversible::No,
        })
    }

    async fn run(self, _: &Context) -> Result<Said> {
        Ok(Said { text: "wiped".into() })
    }
}

/// Opens the back door
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Secret {}

impl Tool for Secret {
    const NAME: &'static str = "back_door";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/back";
    const PERSON_ONLY: bool = true;
    type Output = Said;

    async fn run(self, _: &Context) -> Result<Said> {
        Ok(Said { text: "in".into() })
    }
}

const TOOLSETS: &[Toolset] =
    &[("lab", &[Entry::of::<Echo>(), Entry::of::<Wait>(), Entry::of::<Wipe>()]), ("back", &[Entry::of::<Secret>()])];

const BOTH: &str = "application/json, text/event-stream";

struct Lab {
    folder: tempfile::TempDir,
    app: Arc<App>,
    mcp: Mcp,
    router: Router,
}

/// Stands for the gate: who calls is what the test says.
async fn gate(mut request: Request, next: Next) -> Response {
    let (principal, level) = {
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let level = header("x-level").map_or(1, |level| level.parse().unwrap());
        (header("x-caller").unwrap_or_else(|| "token:a".into()), level)
    };
    let caller = Caller {
        principal,
        level: Level::from_number(level).unwrap(),
        toolsets: None,
        rule: "test".into(),
        door: Door::Mcp,
        client: None,
    };
    request.extensions_mut().insert(Arc::new(caller));
    next.run(request).await
}

impl Lab {
    fn open() -> Lab {
        Lab::open_with(tempfile::tempdir().unwrap(), Config::default())
    }

    fn open_with(folder: tempfile::TempDir, config: Config) -> Lab {
        let app = App::open(&folder.path().join("data"), &folder.path().join("root.key"), config).unwrap();
        let registry = Registry::new(Arc::clone(&app), TOOLSETS);
        let mcp = Mcp::new(registry, Offer::WithFixtures, CancellationToken::new()).unwrap();
        let router = mcp.router().layer(axum::middleware::from_fn(gate));
        Lab { folder, app, mcp, router }
    }

    /// Stops everything and starts again on the same folder.
    async fn restart(self) -> Lab {
        let config = self.app.config.clone();
        self.mcp.close().await.unwrap();
        drop(self.router);
        self.app.close().await.unwrap();
        drop(self.app);
        drop(self.mcp);
        tokio::time::sleep(Duration::from_millis(100)).await;
        Lab::open_with(self.folder, config)
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Response {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !headers.iter().any(|(name, _)| *name == "accept") {
            request = request.header("accept", BOTH);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap()
    }

    /// Says `initialize` and returns the session.
    async fn initialize(&self, headers: &[(&str, &str)], capabilities: Value) -> String {
        let response = self.send("POST", "/mcp", headers, Some(initialize(capabilities))).await;
        let response = expect_ok(response).await;
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let answer = answer(response).await;
        assert_eq!(answer["result"]["serverInfo"]["name"], "hearth", "{answer}");
        let mut all = headers.to_vec();
        all.push(("mcp-session-id", &session));
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(self.send("POST", "/mcp", &all, Some(note)).await.status(), StatusCode::ACCEPTED);
        session
    }

    async fn ask(&self, session: &str, headers: &[(&str, &str)], method: &str, params: Value) -> Value {
        let mut all = headers.to_vec();
        all.push(("mcp-session-id", session));
        let response = self.send("POST", "/mcp", &all, Some(request(7, method, params))).await;
        answer(expect_ok(response).await).await
    }

    /// A request of the era without sessions.
    async fn ask_stateless(&self, headers: &[(&str, &str)], method: &str, mut params: Value) -> (StatusCode, Value) {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": { "elicitation": { "form": {} } },
        });
        let mut all = headers.to_vec();
        all.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]);
        let name = params["name"].as_str().or(params["uri"].as_str()).map(str::to_owned);
        if let Some(name) = &name {
            all.push(("mcp-name", name));
        }
        let response = self.send("POST", "/mcp", &all, Some(request(7, method, params))).await;
        let status = response.status();
        assert_eq!(response.headers()["content-type"], "application/json");
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }
}

fn request(id: i64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

fn initialize(capabilities: Value) -> Value {
    let info = json!({ "name": "test", "version": "1" });
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info });
    request(1, "initialize", params)
}

fn call(tool: &str, arguments: Value) -> Value {
    json!({ "name": tool, "arguments": arguments })
}

/// Reads server-sent events, a message at a time.
struct Events {
    body: Body,
    text: String,
}

impl Events {
    fn of(response: Response) -> Events {
        assert_eq!(response.status(), StatusCode::OK);
        Events { body: response.into_body(), text: String::new() }
    }

    /// The next event: its id, its kind and its data.
    async fn next(&mut self) -> Option<(String, String, String)> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim().to_owned()
                };
                if field("data:").is_empty() && field("id:").is_empty() {
                    continue;
                }
                return Some((field("id:"), field("event:"), field("data:")));
            }
            let frame =
                tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.expect("an event in time");
            self.text.push_str(std::str::from_utf8(&frame?.unwrap().into_data().unwrap()).unwrap());
        }
    }

    async fn message(&mut self) -> Option<(String, Value)> {
        loop {
            let (id, _, data) = self.next().await?;
            if let Ok(message) = serde_json::from_str(&data) {
                return Some((id, message));
            }
        }
    }
}

async fn expect_ok(response: Response) -> Response {
    if response.status() != StatusCode::OK {
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        panic!("{status}: {}", String::from_utf8_lossy(&bytes));
    }
    response
}

/// The answer in a response of one message or a stream of them.
async fn answer(response: Response) -> Value {
    let mut events = Events::of(response);
    loop {
        let (_, message) = events.message().await.expect("an answer");
        if message.get("id").is_some() {
            return message;
        }
    }
}

#[tokio::test]
async fn a_session_lists_what_its_level_may_and_calls_it() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let names = |list: &Value| -> Vec<String> {
        let tools = list["result"]["tools"].as_array().unwrap();
        let shipped = tools.iter().map(|tool| tool["name"].as_str().unwrap()).filter(|name| !name.contains("test_"));
        shipped.filter(|name| name.contains("lab_") || name.contains("door")).map(str::to_owned).collect()
    };
    let list = lab.ask(&session, &[], "tools/list", json!({})).await;
    assert_eq!(names(&list), ["lab_echo", "lab_wait"]);
    let tool = &list["result"]["tools"][0];
    assert_eq!(tool["annotations"]["readOnlyHint"], true);
    assert_eq!(tool["outputSchema"]["type"], "object");
    assert_eq!(tool["inputSchema"]["required"], json!(["text"]));
    let all = lab.ask(&session, &[("x-level", "4")], "tools/list", json!({})).await;
    assert_eq!(names(&all), ["lab_echo", "lab_wait", "lab_wipe"]);

    let said = lab.ask(&session, &[], "tools/call", call("lab_echo", json!({ "text": "hi" }))).await;
    assert_eq!(said["result"]["structuredContent"], json!({ "text": "hi" }));
    let text = said["result"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!({ "text": "hi" }));
}

#[tokio::test]
async fn refusals_are_in_band_and_unknown_tools_are_not() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    for (tool, arguments, code) in [
        ("lab_echo", json!({ "text": "lost" }), "not_found"),
        ("lab_echo", json!({ "text": 1 }), "invalid_input"),
        ("lab_wipe", json!({}), "forbidden"),
    ] {
        let refused = lab.ask(&session, &[], "tools/call", call(tool, arguments)).await;
        let result = &refused["result"];
        assert_eq!(result["isError"], true, "{refused}");
        assert_eq!(result["structuredContent"]["code"], code);
        assert!(result["content"][0]["text"].as_str().unwrap().contains(code));
    }
    for tool in ["nonsense", "back_door"] {
        let unknown = lab.ask(&session, &[], "tools/call", call(tool, json!({}))).await;
        assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    }
}

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
async fn progress_is_told_where_it_is_asked_for() {
    let lab = Lab::open();
    let session = lab.initialize(&[], json!({})).await;
    let mut params = call("lab_wait", json!({ "ms": 10 }));
    params["_meta"] = json!({ "progressToken": "p" });
    let headers = [("mcp-session-id", session.as_str())];
    let mut stream = Events::of(lab.send("POST", "/mcp", &headers, Some(request(5, "tools/call", params))).await);
    let (_, first) = stream.message().await.unwrap();
    assert_eq!(first["params"]["progress"], 1.0);
    assert_eq!(first["params"]["message"], "half way");
    let (_, second) = stream.message().await.unwrap();
    assert_eq!(second["params"]["progress"], 2.0);
}

#[tokio::test]
async fn a_stateless_request_is_answered_with_json() {
    let lab = Lab::open();
    let (status, said) = lab.ask_stateless(&[], "tools/call", call("lab_echo", json!({ "text": "hi" }))).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(said["result"]["structuredContent"]["text"], "hi", "{said}");
    let (_, list) = lab.ask_stateless(&[], "tools/list", json!({})).await;
    assert_eq!(list["result"]["cacheScope"], "private", "{list}");
    assert_eq!(lab.send("GET", "/mcp", &[("mcp-protocol-version", "2026-07-28")], None).await.status(), 405);
}

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
async fn an_unknown_toolset_in_the_address_is_named() {
    let lab = Lab::open();
    let response = lab.send("POST", "/mcp?toolsets=lab,nope", &[], Some(initialize(json!({})))).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["message"].as_str().unwrap().contains("nope") && body["hint"].as_str().unwrap().contains("lab"));
}

#[tokio::test]
async fn a_pipe_carries_the_same_conversation() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let lab = Lab::open();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (read, write) = tokio::io::split(server);
    let mcp = lab.mcp.clone();
    let served = tokio::spawn(async move { mcp.serve(read, write, Arc::new(Caller::owner(Door::Mcp))).await });
    let (read, mut write) = tokio::io::split(client);
    let mut lines = BufReader::new(read).lines();
    for message in [
        initialize(json!({})),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        request(2, "tools/call", call("lab_echo", json!({ "text": "hi" }))),
    ] {
        write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }
    let mut next = async || serde_json::from_str::<Value>(&lines.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(next().await["result"]["serverInfo"]["name"], "hearth");
    assert_eq!(next().await["result"]["structuredContent"]["text"], "hi");
    write.shutdown().await.unwrap();
    drop((write, lines));
    served.await.unwrap().unwrap();
}
