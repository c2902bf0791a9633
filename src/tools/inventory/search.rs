//! Searching the inventory.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::{Context, Level};
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Tool};
use crate::store::inventory::Kind;
use crate::store::inventory::search::{self, Hit};
use crate::text::Line;

/// Find inventory entries by the beginnings of words
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Words; all must occur
    query: Line<200>,
    /// Kind
    kind: Option<Kind>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for Search {
    const NAME: &'static str = "inventory_search";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/inventory/search";
    type Output = Page<Hit>;

    async fn run(self, cx: &Context) -> Result<Page<Hit>> {
        let from = decode_cursor(self.cursor.as_deref())?;
        cx.read(move |conn| search::search(conn, &self.query, self.kind, from, self.limit)).await
    }
}
