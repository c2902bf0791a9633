//! The MCP surface over HTTP as clients speak it: both eras, sessions, streams, refusals and approvals.

mod approvals;
mod calls;
mod events;
mod sessions;
mod sse;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hearth::app::{App, Caller, Context, Door, Level};
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

/// How waits ended, in all tests of this process: each test waits for a time of its own.
static ENDED: Mutex<Vec<(u64, bool)>> = Mutex::new(Vec::new());

struct Ended {
    ms: u64,
    is_done: bool,
}

impl Drop for Ended {
    fn drop(&mut self) {
        ENDED.lock().unwrap().push((self.ms, self.is_done));
    }
}

/// Whether a wait was done; waits for its end.
async fn was_done(ms: u64) -> bool {
    for _ in 0..300 {
        let ended = ENDED.lock().unwrap().iter().find(|(other, _)| *other == ms).copied();
        if let Some((_, is_done)) = ended {
            return is_done;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the wait of {ms} ms goes on");
}

impl Tool for Wait {
    const NAME: &'static str = "lab_wait";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/lab/wait";
    type Output = Said;

    async fn run(self, cx: &Context) -> Result<Said> {
        let mut ended = Ended { ms: self.ms, is_done: false };
        cx.progress(1.0, Some(2.0), "half way").await;
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        cx.progress(2.0, Some(2.0), "there").await;
        ended.is_done = true;
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
        Lab::offer(folder, config, TOOLSETS, Offer::WithFixtures)
    }

    /// With the tools of the appliance and no others.
    fn shipped() -> Lab {
        Lab::offer(tempfile::tempdir().unwrap(), Config::default(), hearth::tools::TOOLSETS, Offer::Shipped)
    }

    fn offer(folder: tempfile::TempDir, config: Config, toolsets: &[Toolset], offer: Offer) -> Lab {
        let app = App::open(&folder.path().join("data"), &folder.path().join("root.key"), config).unwrap();
        let registry = Registry::new(Arc::clone(&app), toolsets);
        let mcp = Mcp::new(registry, offer, CancellationToken::new()).unwrap();
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
