//! Search over titles, authors and posts.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::{Context, Level};
use crate::error::Result;
use crate::page::{Limit, Page};
use crate::registry::{Effect, Tool};
use crate::store::forum_search::{self, Hit, Within};
use crate::text::Text;

/// Search titles, posts and authors
///
/// Every word must begin a word of the text; if none is found, parts of words count too.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Plain words, no operators
    query: Text<1, 500>,
    #[serde(default, rename = "in")]
    within: Within,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// From `next_cursor`
    cursor: Option<String>,
}

impl Tool for Search {
    const NAME: &'static str = "forum_search";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/forum/search";
    type Output = Page<Hit>;

    async fn run(self, cx: &Context) -> Result<Page<Hit>> {
        let Search { query, within, limit, cursor } = self;
        cx.read(move |conn| forum_search::search(conn, &query, within, limit, cursor.as_deref())).await
    }
}
