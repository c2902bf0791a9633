//! Whether hearth lives, whether it can do its work, and figures for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde_json::json;

use crate::app::App;
use crate::app::metrics::BOUNDS_S;
use crate::registry::Registry;

/// For whoever watches over the process, without a token.
pub fn router(registry: &Arc<Registry>) -> Router {
    let app = Arc::clone(&registry.app);
    Router::new()
        .route("/health", get(|| async { axum::Json(json!({ "status": "ok" })) }))
        .route("/ready", get(move || async move { ready(&app) }))
}

/// For callers only: figures tell what is used, and how much.
pub fn metrics(registry: &Arc<Registry>) -> Router {
    let app = Arc::clone(&registry.app);
    let text = move || async move {
        let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
        (content_type, exposition(&app))
    };
    Router::new().route("/metrics", get(text))
}

fn ready(app: &App) -> Response {
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match app.store.health().trouble {
        None => (no_store, axum::Json(json!({ "status": "ready" }))).into_response(),
        Some(_) => {
            // Why is for callers: `system_health` says so, and the log.
            let body = json!({ "status": "degraded", "store": "takes no writes" });
            (StatusCode::SERVICE_UNAVAILABLE, no_store, axum::Json(body)).into_response()
        }
    }
}

/// The text format of Prometheus. Every label comes from the program itself, so that series are bounded.
fn exposition(app: &App) -> String {
    let mut text = String::new();
    let version = env!("CARGO_PKG_VERSION");
    family(&mut text, "hearth_info", "gauge", "The version that runs", [(format!("{{version=\"{version}\"}}"), 1)]);
    let uptime = app.clock.now().since(app.started_at).as_secs();
    family(&mut text, "hearth_uptime_seconds", "gauge", "Time since the start", [(String::new(), uptime)]);

    let calls = app
        .metrics
        .calls()
        .into_iter()
        .map(|((tool, door, code), count)| (format!("{{tool=\"{tool}\",door=\"{door}\",code=\"{code}\"}}"), count));
    family(&mut text, "hearth_calls_total", "counter", "Finished calls", calls);
    latency(&mut text, &app.metrics.latency());

    let counters = app.store.counters();
    let ready = u64::from(app.store.health().trouble.is_none());
    family(&mut text, "hearth_store_ready", "gauge", "Whether the store takes writes", [(String::new(), ready)]);
    for (name, help, counter) in [
        ("hearth_store_commits_total", "Transactions on disk", &counters.commits),
        ("hearth_store_writes_total", "Writes, of which some share a transaction", &counters.jobs),
        ("hearth_store_frames_total", "Pages written to the log", &counters.frames),
        ("hearth_store_checkpoints_total", "Times that the log was copied back", &counters.checkpoints),
    ] {
        family(&mut text, name, "counter", help, [(String::new(), counter.load(Ordering::Relaxed))]);
    }
    text
}

fn latency(text: &mut String, latency: &BTreeMap<&'static str, crate::app::metrics::Latency>) {
    const NAME: &str = "hearth_call_seconds";
    head(text, NAME, "histogram", "How long calls took");
    for (tool, latency) in latency {
        let mut within = 0;
        let bounds = BOUNDS_S.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(latency.buckets) {
            within += count;
            line(text, &format!("{NAME}_bucket{{tool=\"{tool}\",le=\"{bound}\"}}"), within);
        }
        line(text, &format!("{NAME}_sum{{tool=\"{tool}\"}}"), latency.sum_s);
        line(text, &format!("{NAME}_count{{tool=\"{tool}\"}}"), latency.count);
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str, rows: impl IntoIterator<Item = (String, u64)>) {
    head(text, name, kind, help);
    for (labels, value) in rows {
        line(text, &format!("{name}{labels}"), value);
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes all text");
}

fn line(text: &mut String, series: &str, value: impl std::fmt::Display) {
    writeln!(text, "{series} {value}").expect("a String takes all text");
}
