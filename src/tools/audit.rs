//! The audit chain: list what the gate saw, and verify that nobody changed it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Level};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Entry, Tool};
use crate::store::audit;
use crate::text::Line;

pub const TOOLS: &[Entry] = &[Entry::of::<ListAudit>(), Entry::of::<VerifyAudit>()];

/// List calls that changed something or were refused, newest first
///
/// Reads are counted per caller, tool and minute.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListAudit {
    /// Who called
    principal: Option<Line<200>>,
    /// Which tool
    tool: Option<Line<64>>,
    /// Not before
    since: Option<Timestamp>,
    /// Before
    until: Option<Timestamp>,
    /// `allowed`, `ok` or an error code
    outcome: Option<Line<32>>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// From `next_cursor`
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct AuditRow {
    seq: i64,
    at: Timestamp,
    principal: String,
    door: String,
    tool: String,
    phase: String,
    call_id: String,
    decision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<i64>,
}

impl From<audit::Stored> for AuditRow {
    fn from(row: audit::Stored) -> AuditRow {
        AuditRow {
            seq: row.seq,
            at: row.at,
            principal: row.principal,
            door: row.door,
            tool: row.tool,
            phase: row.phase,
            call_id: row.call_id,
            decision: row.decision,
            reason: row.reason,
            input_digest: row.input_digest,
            count: row.count,
        }
    }
}

impl Tool for ListAudit {
    const NAME: &'static str = "audit_list";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/audit";
    type Output = Page<AuditRow>;

    async fn run(self, cx: &Context) -> Result<Page<AuditRow>> {
        let before: Option<i64> = decode_cursor(self.cursor.as_deref())?;
        let filter = audit::Filter {
            principal: self.principal.map(Line::into_string),
            tool: self.tool.map(Line::into_string),
            since: self.since,
            until: self.until,
            decision: self.outcome.map(Line::into_string),
        };
        let page = cx.read(move |conn| audit::list(conn, &filter, before, self.limit)).await?;
        Ok(Page { items: page.items.into_iter().map(AuditRow::from).collect(), next_cursor: page.next_cursor })
    }
}

/// Walk the audit chain and say where it breaks, if it does
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyAudit {}

#[derive(Serialize, JsonSchema)]
pub struct Verdict {
    valid: bool,
    rows: i64,
    head: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl Tool for VerifyAudit {
    const NAME: &'static str = "audit_verify";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/audit/verify";
    type Output = Verdict;

    async fn run(self, cx: &Context) -> Result<Verdict> {
        let key = cx.app.keys.audit.clone();
        let found = cx.read(move |conn| audit::verify(conn, &key)).await?;
        Ok(Verdict {
            valid: found.broken_at.is_none(),
            rows: found.rows,
            head: found.head,
            broken_at: found.broken_at,
            problem: found.problem,
        })
    }
}
