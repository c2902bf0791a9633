//! What waits for a person's word, and the word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::{Context, Level};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::registry::confirm::{self, Decision};
use crate::registry::{Effect, Tool};
use crate::store::approvals;
use crate::text::Line;

/// List the destructive calls that wait for approval
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListApprovals {}

#[derive(Serialize, JsonSchema)]
pub struct Waiting {
    items: Vec<Approval>,
}

#[derive(Serialize, JsonSchema)]
pub struct Approval {
    approval_id: String,
    principal: String,
    tool: String,
    state: String,
    input: Value,
    plan: Value,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl Approval {
    fn of(row: approvals::Approval) -> Result<Approval> {
        Ok(Approval {
            approval_id: row.approval_id,
            principal: row.principal,
            tool: row.tool,
            state: row.state,
            input: serde_json::from_str(&row.input).map_err(Error::internal)?,
            plan: serde_json::from_str(&row.plan).map_err(Error::internal)?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}

impl Tool for ListApprovals {
    const NAME: &'static str = "system_list_approvals";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/system/approvals";
    const PERSON_ONLY: bool = true;
    type Output = Waiting;

    async fn run(self, cx: &Context) -> Result<Waiting> {
        let now = cx.now();
        let rows = cx.read_now(|conn| approvals::pending(conn, now)).await?;
        Ok(Waiting { items: rows.into_iter().map(Approval::of).collect::<Result<_>>()? })
    }
}

/// Approve a destructive call that waits
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// Which one
    #[serde(rename = "approval")]
    approval_id: Line<64>,
}

impl Tool for Approve {
    const NAME: &'static str = "system_approve";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/system/approvals/{approval}/approve";
    const PERSON_ONLY: bool = true;
    type Output = Approval;

    async fn run(self, cx: &Context) -> Result<Approval> {
        decide(cx, &self.approval_id, Decision::Approve).await
    }
}

/// Reject a destructive call that waits
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reject {
    /// Which one
    #[serde(rename = "approval")]
    approval_id: Line<64>,
}

impl Tool for Reject {
    const NAME: &'static str = "system_reject";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/system/approvals/{approval}/reject";
    const PERSON_ONLY: bool = true;
    type Output = Approval;

    async fn run(self, cx: &Context) -> Result<Approval> {
        decide(cx, &self.approval_id, Decision::Reject).await
    }
}

async fn decide(cx: &Context, approval_id: &str, decision: Decision) -> Result<Approval> {
    Approval::of(confirm::decide(&cx.app, approval_id, &cx.caller.principal, decision).await?)
}
