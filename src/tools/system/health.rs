//! How hearth is doing.

use std::sync::atomic::Ordering;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Level};
use crate::error::Result;
use crate::registry::{Effect, Tool};

/// Tell how hearth itself is doing: store, calls, approvals that wait
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {}

#[derive(Serialize, JsonSchema)]
pub struct State {
    healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    uptime_s: u64,
    database_bytes: u64,
    commits: u64,
    writes: u64,
    checkpoints: u64,
    calls: u64,
    failed_calls: u64,
    approvals_waiting: usize,
    mcp_sessions: u64,
}

impl Tool for Health {
    const NAME: &'static str = "system_health";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/system/health";
    type Output = State;

    async fn run(self, cx: &Context) -> Result<State> {
        let now = cx.now();
        let (database_bytes, waiting, sessions) = cx
            .read_now(|conn| {
                let bytes = conn.query_row(
                    "select page_count * page_size from pragma_page_count, pragma_page_size",
                    [],
                    |row| row.get::<_, i64>(0),
                )?;
                let waiting = crate::store::approvals::pending(conn, now)?.len();
                let sessions = conn.query_row("select count(*) from mcp_sessions", [], |row| row.get::<_, i64>(0))?;
                Ok((bytes, waiting, sessions))
            })
            .await?;
        let store = &cx.app.store;
        let trouble = store.health().trouble;
        let calls = cx.app.metrics.calls();
        Ok(State {
            healthy: trouble.is_none(),
            trouble,
            uptime_s: now.since(cx.app.started_at).as_secs(),
            database_bytes: database_bytes.unsigned_abs(),
            commits: store.counters().commits.load(Ordering::Relaxed),
            writes: store.counters().jobs.load(Ordering::Relaxed),
            checkpoints: store.counters().checkpoints.load(Ordering::Relaxed),
            calls: calls.values().sum(),
            failed_calls: calls.iter().filter(|((_, _, code), _)| *code != "ok").map(|(_, count)| count).sum(),
            approvals_waiting: waiting,
            mcp_sessions: sessions.unsigned_abs(),
        })
    }
}
