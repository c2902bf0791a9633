//! One client of a server: the ways to speak MCP, each made ready and then called.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::client::{Answer, Http};

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// `/mcp` with a session, as clients did before 2026-07-28
    Legacy,
    /// The same with a bearer token
    Token,
    /// `/mcp` without one, as they do since
    Modern,
    /// `/sse` and `/messages`
    Sse,
    /// A plain POST to `/mcp`, for servers that know no MCP
    Plain,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Way::Legacy => "/mcp, session",
            Way::Token => "/mcp, session, bearer token",
            Way::Modern => "/mcp, 2026-07-28",
            Way::Sse => "/sse",
            Way::Plain => "POST",
        }
    }
}

/// A tool with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tool {
    pub name: &'static str,
    pub arguments: &'static str,
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

pub struct Session {
    http: Http,
    path: String,
    way: Way,
    events: Option<Events>,
    id: u64,
}

impl Session {
    /// Ready for calls of `tool`.
    pub async fn open(address: SocketAddr, way: Way, tool: Tool, token: &str) -> anyhow::Result<Session> {
        let http = Http::connect(address).await?;
        let mut session = Session { http, path: "/mcp".to_owned(), way, events: None, id: 0 };
        match way {
            Way::Plain => {}
            Way::Modern => session.http.headers = modern_headers("tools/call", Some(tool.name)),
            Way::Legacy | Way::Token => {
                if way == Way::Token {
                    session.http.headers = format!("Authorization: Bearer {token}\r\n");
                }
                let answer = session.http.post("/mcp", INITIALIZE).await?;
                let id = answer.header("mcp-session-id").context("no session")?;
                let headers = format!("MCP-Protocol-Version: 2025-06-18\r\nMcp-Session-Id: {id}\r\n");
                session.http.headers.push_str(&headers);
                session.http.post("/mcp", INITIALIZED).await?;
            }
            Way::Sse => {
                let mut events = Events::open(address).await?;
                session.path = events.next().await?;
                session.http.post(&session.path, INITIALIZE).await?;
                events.next().await?;
                session.http.post(&session.path, INITIALIZED).await?;
                session.events = Some(events);
            }
        }
        Ok(session)
    }

    /// One call, whose answer has been read in full.
    pub async fn call(&mut self, tool: Tool) -> anyhow::Result<()> {
        let text = self.exchange(tool).await?;
        let text = std::str::from_utf8(&text)?;
        ensure!(text.contains("\"result\":") && !text.contains("\"isError\":true"), "refused: {text}");
        Ok(())
    }

    /// One call, and the structured content of its answer.
    pub async fn ask(&mut self, tool: Tool) -> anyhow::Result<Value> {
        let answer = Answer { status: 200, headers: Vec::new(), body: self.exchange(tool).await? };
        let mut message = answer.message()?;
        let content = message["result"]["structuredContent"].take();
        ensure!(content.is_object(), "no structured content: {message}");
        let text = message["result"]["content"][0]["text"].as_str().context("no text")?;
        ensure!(serde_json::from_str::<Value>(text)? == content, "text and structured content differ");
        Ok(content)
    }

    async fn exchange(&mut self, tool: Tool) -> anyhow::Result<Vec<u8>> {
        self.id += 1;
        let Tool { name, arguments } = tool;
        let meta = if self.way == Way::Modern { format!(",{META}") } else { String::new() };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}{meta}}}}}"#,
            self.id
        );
        let answer = self.http.post(&self.path, &body).await?;
        ensure!(answer.status < 300, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        match &mut self.events {
            // Nothing else is under way, so the next event is the answer.
            Some(events) => Ok(events.next().await?.into_bytes()),
            None => Ok(answer.body),
        }
    }
}

/// Whether a server answers yet: one request of the kind that `way` makes.
pub async fn first_answer(address: SocketAddr, way: Way, tool: Tool) -> anyhow::Result<()> {
    if way == Way::Sse {
        return Events::open(address).await?.next().await.map(drop);
    }
    if way == Way::Plain {
        return Session::open(address, way, tool, "").await?.call(tool).await;
    }
    let mut http = Http::connect(address).await?;
    http.headers = modern_headers("tools/list", None);
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#);
    let answer = http.post("/mcp", &body).await?;
    let text = std::str::from_utf8(&answer.body)?;
    ensure!(text.contains(tool.name), "no `{}` in {text}", tool.name);
    Ok(())
}

fn modern_headers(method: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!("Mcp-Name: {name}\r\n")).unwrap_or_default();
    format!("MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}")
}

/// The stream of `/sse`.
struct Events {
    http: Http,
    unread: String,
}

impl Events {
    async fn open(address: SocketAddr) -> anyhow::Result<Events> {
        let mut http = Http::connect(address).await?;
        http.send("GET", "/sse", "").await?;
        let (status, _) = http.head().await?;
        ensure!(status == 200, "status {status} for /sse");
        Ok(Events { http, unread: String::new() })
    }

    /// The data of the next event that has any.
    async fn next(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.unread.find("\n\n") {
                let event: String = self.unread.drain(..end + 2).collect();
                let data: String = event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim).collect();
                if !data.is_empty() {
                    return Ok(data);
                }
                continue;
            }
            let chunk = self.http.chunk().await?.context("the stream ended")?;
            let text = std::str::from_utf8(&chunk)?;
            // Some servers end their lines in CR LF.
            if text.contains('\r') { self.unread.push_str(&text.replace('\r', "")) } else { self.unread.push_str(text) }
        }
    }
}
