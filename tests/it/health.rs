//! Health checks of services over real sockets.

use std::net::SocketAddr;

use hearth::app::{Caller, Level};
use hearth::error::Code;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{TestApp, caller, unhurried};

fn operator() -> Caller {
    caller("operator", Level::Operate)
}

fn app() -> TestApp {
    let mut config = unhurried();
    config.health.allow_loopback = true;
    TestApp::with(config, hearth::tools::TOOLSETS)
}

/// Answers 200 below `/ok` and 503 elsewhere.
async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let status = if head[..n].starts_with(b"GET /ok") { "200 OK" } else { "503 Busy" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn put(app: &TestApp, input: Value) {
    app.ok(&caller("keeper", Level::Configure), "inventory_put_service", input).await;
}

async fn check(app: &TestApp, name: &str) -> Value {
    app.ok(&operator(), "inventory_check_service_health", json!({ "name": name })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_the_endpoint_below_the_url_and_is_kept() {
    let (app, peer) = (app(), serve().await);
    put(&app, json!({ "name": "web", "url": format!("http://{peer}/app/"), "health_endpoint": "/ok?full=1" })).await;
    let found = check(&app, "WEB").await;
    assert_eq!((&found["healthy"], &found["status"], &found["name"]), (&json!(true), &json!(200), &json!("web")));
    assert_eq!(found["url"], format!("http://{peer}/ok?full=1"));
    assert!(found["total_ms"].is_u64() && found.get("error").is_none() && found.get("tls_ms").is_none());

    put(&app, json!({ "name": "web", "health_endpoint": format!("http://{peer}/down") })).await;
    let found = check(&app, "web").await;
    assert_eq!((&found["healthy"], &found["status"]), (&json!(false), &json!(503)));
    assert_eq!(found["error"], "answers with status 503");
    let web = app.ok(&caller("reader", Level::Monitor), "inventory_get_service", json!({ "name": "web" })).await;
    assert_eq!(web["last_check"], found);
    assert_eq!(web["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_is_unhealthy_and_no_error() {
    let app = app();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    put(&app, json!({ "name": "gone", "url": format!("http://{closed}") })).await;
    let found = check(&app, "gone").await;
    assert_eq!(found["healthy"], false);
    assert!(found["error"].as_str().unwrap().contains("no connection"), "{found}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    put(&app, json!({ "name": "slow", "url": format!("http://{}", silent.local_addr().unwrap()) })).await;
    let input = json!({ "name": "slow", "timeout_ms": 200 });
    let found = app.ok(&operator(), "inventory_check_service_health", input).await;
    assert_eq!(found["healthy"], false);
    assert!(found["error"].as_str().unwrap().contains("no answer in time"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_refuses_what_no_check_may_reach() {
    let (app, closed) = (app(), TestApp::new());
    let peer = serve().await;
    put(&closed, json!({ "name": "web", "url": format!("http://{peer}/ok") })).await;
    let error = closed.err(&operator(), "inventory_check_service_health", json!({ "name": "web" })).await;
    assert_eq!(error.code, Code::Forbidden);
    assert!(error.hint().unwrap().contains("[health] allow"), "{:?}", error.hint());

    put(&app, json!({ "name": "meta", "url": "http://169.254.169.254/latest" })).await;
    put(&app, json!({ "name": "self", "url": format!("http://{peer}/ok") })).await;
    put(&app, json!({ "name": "ssh", "url": "ssh://nas" })).await;
    app.app.listening.write().unwrap().push(peer);
    for name in ["meta", "self", "ssh"] {
        let error = app.err(&operator(), "inventory_check_service_health", json!({ "name": name })).await;
        assert_eq!(error.code, Code::Forbidden, "{name}: {error}");
    }
    put(&app, json!({ "name": "dark" })).await;
    let error = app.err(&operator(), "inventory_check_service_health", json!({ "name": "dark" })).await;
    assert_eq!(error.code, Code::Unconfigured);
    for input in [json!({ "name": "self", "timeout_ms": 0 }), json!({ "name": "self", "timeout_ms": 60_001 })] {
        let error = app.err(&operator(), "inventory_check_service_health", input).await;
        assert_eq!(error.field(), Some("timeout_ms"));
    }
}
