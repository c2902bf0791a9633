//! What credentials there are, and which soon end.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Shown;
use crate::app::{Context, Level};
use crate::config::duration::Duration;
use crate::error::{Error, Result};
use crate::page::{Limit, Page, decode_cursor};
use crate::registry::{Effect, Tool};
use crate::store::credentials::{self, Filter};
use crate::text::Line;
use crate::vault::Kind;

const SOON: &str = "30d";

/// List credentials by name, never what they are
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListCredentials {
    /// Like `service:plex`
    target: Option<Line<80>>,
    /// Kind
    kind: Option<Kind>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ListCredentials {
    const NAME: &'static str = "credential_list";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/credentials";
    type Output = Page<Shown>;

    async fn run(self, cx: &Context) -> Result<Page<Shown>> {
        let filter = Filter {
            target: self.target.map(Line::into_string),
            kind: self.kind.map(|kind| kind.word().to_owned()),
            expires_before: None,
        };
        page(cx, filter, self.limit, self.cursor.as_deref()).await
    }
}

/// List credentials that expire soon, or have
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiringCredentials {
    /// How soon; 30d if left out
    within: Option<Line<32>>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// Page
    cursor: Option<String>,
}

impl Tool for ExpiringCredentials {
    const NAME: &'static str = "credential_expiring";
    const LEVEL: Level = Level::Operate;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/credentials/expiring";
    type Output = Page<Shown>;

    async fn run(self, cx: &Context) -> Result<Page<Shown>> {
        let within: Duration =
            self.within.as_deref().unwrap_or(SOON).parse().map_err(|error| Error::invalid("within", error))?;
        let end = cx.now() + std::time::Duration::from(within);
        let filter = Filter { expires_before: Some(end), ..Filter::default() };
        page(cx, filter, self.limit, self.cursor.as_deref()).await
    }
}

async fn page(cx: &Context, filter: Filter, limit: Limit, cursor: Option<&str>) -> Result<Page<Shown>> {
    let after = decode_cursor(cursor)?;
    let page = cx.read_now(|conn| credentials::list(conn, &filter, after, limit)).await?;
    let without_notes = |credential| Shown { notes: None, ..Shown::of(credential) };
    Ok(Page { items: page.items.into_iter().map(without_notes).collect(), next_cursor: page.next_cursor })
}
