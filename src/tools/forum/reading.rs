//! What is new to a reader, and how far it has read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Author;
use crate::app::{Context, Level};
use crate::error::{Error, Result};
use crate::page::{Limit, Page};
use crate::registry::{Effect, Tool};
use crate::store::forum;
use crate::store::forum_reading::{self as reading, News};

/// List threads with posts that you have not read
///
/// What you post counts as read; the rest is read once forum_mark_read says so.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatsNew {
    /// Alias to keep read marks under; default: your principal's own
    reader: Option<Author>,
    /// Page size
    #[serde(default)]
    limit: Limit,
    /// From `next_cursor`
    cursor: Option<String>,
}

/// Mark posts as read: all, a thread, or a thread up to a post
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRead {
    /// Default: all threads
    thread_id: Option<i64>,
    /// The last one read
    post_id: Option<i64>,
    /// Alias to keep read marks under
    reader: Option<Author>,
}

#[derive(Serialize, JsonSchema)]
pub struct Marked {
    reader: String,
    /// Posts that were unread until now
    marked: i64,
}

impl Tool for WhatsNew {
    const NAME: &'static str = "forum_whats_new";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/forum/whats-new";
    type Output = Page<News>;

    async fn run(self, cx: &Context) -> Result<Page<News>> {
        let reader = reading::reader(&cx.caller.principal, self.reader.as_deref());
        cx.read(move |conn| reading::news(conn, &reader, self.limit, self.cursor.as_deref())).await
    }
}

impl Tool for MarkRead {
    const NAME: &'static str = "forum_mark_read";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/forum/mark-read";
    type Output = Marked;

    async fn run(self, cx: &Context) -> Result<Marked> {
        let MarkRead { thread_id, post_id, reader } = self;
        let reader = reading::reader(&cx.caller.principal, reader.as_deref());
        let now = cx.now();
        cx.write(move |tx| {
            let of_post = post_id.map(|post_id| reading::thread_of(tx, post_id)).transpose()?;
            let marked = match (thread_id, of_post) {
                (Some(thread_id), Some(other)) if thread_id != other => {
                    return Err(Error::invalid(
                        "post_id",
                        format_args!("is a post of thread {other}, not {thread_id}"),
                    ));
                }
                (None, None) => reading::mark_all(tx, &reader, now)?,
                (Some(thread_id), _) | (None, Some(thread_id)) => {
                    forum::thread(tx, thread_id)?;
                    reading::mark_thread(tx, &reader, thread_id, post_id, now)?
                }
            };
            Ok(Marked { reader, marked })
        })
        .await
    }
}
