//! Posts: reply, edit, delete.

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Author, publish_change, signature};
use crate::app::{Context, Level};
use crate::error::{Error, Result};
use crate::registry::{Effect, Tool};
use crate::store::forum::{self, Post};
use crate::store::forum_reading as reading;
use crate::text::Text;

/// Reply to a thread
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Which thread
    thread_id: i64,
    /// Markdown
    body: Text<1, 65536>,
    /// Name to sign with; default: your principal
    author: Option<Author>,
    /// A post of any thread
    quote_post_id: Option<i64>,
}

/// Change the text of a post of your own
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EditPost {
    /// Which post
    post_id: i64,
    /// Markdown
    body: Text<1, 65536>,
}

/// Delete a post of your own, at level 4 any; its place stays, its text is gone for good
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletePost {
    /// Which post
    post_id: i64,
}

impl Tool for Reply {
    const NAME: &'static str = "forum_reply";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/forum/threads/{thread_id}/posts";
    type Output = Post;

    async fn run(self, cx: &Context) -> Result<Post> {
        let Reply { thread_id, body, author, quote_post_id } = self;
        let (by, now) = (signature(cx, author), cx.now());
        let post = cx
            .write(move |tx| {
                let post = forum::insert_post(tx, thread_id, &by, &body, quote_post_id, now)?;
                reading::mark_own(tx, &by, &post, now)?;
                Ok(post)
            })
            .await?;
        publish_change(cx, thread_id);
        Ok(post)
    }
}

impl Tool for EditPost {
    const NAME: &'static str = "forum_edit_post";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/forum/posts/{post_id}";
    type Output = Post;

    async fn run(self, cx: &Context) -> Result<Post> {
        let EditPost { post_id, body } = self;
        let (principal, now) = (cx.caller.principal.clone(), cx.now());
        let post = cx
            .write(move |tx| {
                check_own(tx, post_id, &principal)?;
                forum::edit_post(tx, post_id, &body, now)
            })
            .await?;
        publish_change(cx, post.thread_id);
        Ok(post)
    }
}

impl Tool for DeletePost {
    const NAME: &'static str = "forum_delete_post";
    const LEVEL: Level = Level::Monitor;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "DELETE /api/forum/posts/{post_id}";
    type Output = Post;

    async fn run(self, cx: &Context) -> Result<Post> {
        let post_id = self.post_id;
        let (principal, level, now) = (cx.caller.principal.clone(), cx.caller.level, cx.now());
        let post = cx
            .write(move |tx| {
                if level < Level::Manage {
                    check_own(tx, post_id, &principal)?;
                }
                forum::delete_post(tx, post_id, now)
            })
            .await?;
        publish_change(cx, post.thread_id);
        Ok(post)
    }
}

/// Whose post it is, the gate says; the name that it is signed with counts for nothing.
fn check_own(conn: &Connection, post_id: i64, principal: &str) -> Result<()> {
    let post = forum::post(conn, post_id)?;
    if post.verified != principal {
        return Err(Error::forbidden(format_args!(
            "post {post_id} is by `{}`, and you are `{principal}`",
            post.verified
        )));
    }
    Ok(())
}
