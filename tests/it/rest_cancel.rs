//! REST: a client that goes away takes its call with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use hearth::app::{Context, Level};
use hearth::error::Result;
use hearth::registry::{Effect, Entry, Tool};
use hearth::surface::http;
use hearth::surface::http::listen::Doors;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::{TestApp, person, unhurried};

static STARTED: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

/// A call that runs.
struct Running;

impl Running {
    fn start() -> Running {
        STARTED.fetch_add(1, Ordering::SeqCst);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Serialize, JsonSchema)]
struct Done {}

async fn run_for_an_hour() -> Result<Done> {
    let _running = Running::start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(Done {})
}

/// Looks for an hour
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Look {}

impl Tool for Look {
    const NAME: &'static str = "hour_look";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/hour";
    type Output = Done;

    async fn run(self, _: &Context) -> Result<Done> {
        run_for_an_hour().await
    }
}

/// Works for an hour
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Work {}

impl Tool for Work {
    const NAME: &'static str = "hour_work";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/hour";
    type Output = Done;

    async fn run(self, _: &Context) -> Result<Done> {
        run_for_an_hour().await
    }
}

const HOUR: &[Entry] = &[Entry::of::<Look>(), Entry::of::<Work>()];

async fn until(counter: &AtomicUsize, n: usize, what: &str) {
    for _ in 0..1000 {
        if n <= counter.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {} of {n}", counter.load(Ordering::SeqCst));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_when_its_client_has_gone() {
    let token = *hearth::tools::TOOLSETS.iter().find(|(name, _)| *name == "token").unwrap();
    let app = TestApp::with(unhurried(), &[("hour", HOUR), token]);
    let token = app.ok(&person(), "token_create", json!({ "name": "a", "level": 2 })).await["token"].clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let doors = Doors { stop: CancellationToken::new(), tasks: TaskTracker::new() };
    doors.serve_tcp(listener, http::router(&app.registry, Router::new()));
    for (n, method) in [(1, "GET"), (2, "POST")] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = format!("Host: {address}\r\nAuthorization: Bearer {}\r\n", token.as_str().unwrap());
        let request = format!("{method} /api/hour HTTP/1.1\r\n{head}Content-Length: 0\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        until(&STARTED, n, "calls started").await;
        assert_eq!(ENDED.load(Ordering::SeqCst), n - 1);
        drop(client);
        until(&ENDED, n, "calls ended").await;
    }
    // What acts on the world has its outcome written although nobody waits for it.
    let mut outcome = None;
    for _ in 0..500 {
        let sql = "select decision from audit where tool = 'hour_work' and phase = 'outcome'";
        let read = app.app.store.read(move |conn| Ok(conn.query_row(sql, [], |row| row.get::<_, String>(0)).ok()));
        outcome = read.await.unwrap();
        if outcome.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(outcome.as_deref(), Some("timeout"));
    doors.stop.cancel();
}
