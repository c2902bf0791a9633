//! The history of the inventory.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Named;
use crate::app::{Context, Level};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Tool};
use crate::store::inventory::Kind;
use crate::store::inventory::changes::{self, Change, Filter};
use crate::text::Line;

/// List changes of the inventory, newest first
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// At or after
    since: Option<Timestamp>,
    /// Before
    until: Option<Timestamp>,
    /// Kind
    kind: Option<Kind>,
    /// Name or address
    name: Option<Named>,
    /// Principal
    by: Option<Line<120>>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for Changes {
    const NAME: &'static str = "inventory_changes";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/changes";
    type Output = Page<Change>;

    async fn run(self, cx: &Context) -> Result<Page<Change>> {
        let before = decode_cursor(self.cursor.as_deref())?;
        let filter = Filter {
            since: self.since,
            until: self.until,
            kind: self.kind,
            name: self.name.map(Named::into_string),
            by: self.by.map(Line::into_string),
        };
        cx.read(move |conn| changes::list(conn, &filter, before, self.limit)).await
    }
}
