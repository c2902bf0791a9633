//! Who has read how far: one mark a reader and thread, which only moves forward.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::forum;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::page::{Limit, Page, decode_cursor};

/// A thread with posts that the reader has not seen.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct News {
    pub thread_id: i64,
    pub title: String,
    pub new_posts: i64,
    pub first_new_post_id: i64,
    pub last_activity_at: Timestamp,
    pub last_author: String,
}

const NEWS: &str = "
    select t.thread_id, t.title,
           (select count(*) from posts where thread_id = t.thread_id and coalesce(m.post_id, 0) < post_id
                                         and deleted_at is null),
           (select min(post_id) from posts where thread_id = t.thread_id and coalesce(m.post_id, 0) < post_id
                                             and deleted_at is null) as first_new,
           t.last_activity_at, t.last_author
    from threads t left join read_marks m on m.reader = ?1 and m.thread_id = t.thread_id
    where (t.last_activity_at, t.thread_id) < (?2, ?3) and first_new is not null
    order by t.last_activity_at desc, t.thread_id desc limit ?4";

const MARK: &str = "
    insert into read_marks (reader, thread_id, post_id, read_at) values (?1, ?2, ?3, ?4)
    on conflict (reader, thread_id) do update set post_id = excluded.post_id, read_at = excluded.read_at
    where post_id < excluded.post_id";

const MARK_ALL: &str = "
    insert into read_marks (reader, thread_id, post_id, read_at)
    select ?1, thread_id, max(post_id), ?2 from posts group by thread_id
    on conflict (reader, thread_id) do update set post_id = excluded.post_id, read_at = excluded.read_at
    where post_id < excluded.post_id";

const UNREAD_UP_TO: &str = "
    select count(*) from posts p left join read_marks m on m.reader = ?1 and m.thread_id = p.thread_id
    where p.thread_id = ?2 and p.post_id <= ?3 and coalesce(m.post_id, 0) < p.post_id and p.deleted_at is null";

const UNREAD: &str = "
    select count(*) from posts p left join read_marks m on m.reader = ?1 and m.thread_id = p.thread_id
    where coalesce(m.post_id, 0) < p.post_id and p.deleted_at is null";

/// Under which name marks are kept: several agents may share a principal and tell themselves apart.
pub fn reader(principal: &str, alias: Option<&str>) -> String {
    match alias {
        Some(alias) => format!("{principal}/{alias}"),
        None => principal.to_owned(),
    }
}

/// Threads with unread posts, those with the newest activity first.
pub fn news(conn: &Connection, reader: &str, limit: Limit, cursor: Option<&str>) -> Result<Page<News>> {
    let after: (i64, i64) = decode_cursor(cursor)?.unwrap_or((i64::MAX, i64::MAX));
    let mut statement = conn.prepare_cached(NEWS)?;
    let rows = statement.query_map(params![reader, after.0, after.1, limit.get() as i64 + 1], |row| {
        Ok(News {
            thread_id: row.get(0)?,
            title: row.get(1)?,
            new_posts: row.get(2)?,
            first_new_post_id: row.get(3)?,
            last_activity_at: row.get(4)?,
            last_author: row.get(5)?,
        })
    })?;
    let news = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::of(news, limit, |last| (last.last_activity_at.as_millis(), last.thread_id)))
}

/// Marks a thread as read up to a post, or to its end; returns how many posts were unread until now.
pub fn mark_thread(
    tx: &Transaction<'_>,
    reader: &str,
    thread_id: i64,
    up_to: Option<i64>,
    now: Timestamp,
) -> Result<i64> {
    let up_to = match up_to {
        Some(post_id) => post_id,
        None => tx
            .prepare_cached("select max(post_id) from posts where thread_id = ?1")?
            .query_row([thread_id], |row| row.get::<_, Option<i64>>(0))?
            .unwrap_or(0),
    };
    let marked = tx.prepare_cached(UNREAD_UP_TO)?.query_row(params![reader, thread_id, up_to], |row| row.get(0))?;
    tx.prepare_cached(MARK)?.execute(params![reader, thread_id, up_to, now])?;
    Ok(marked)
}

/// Marks everything as read; returns how many posts were unread until now.
pub fn mark_all(tx: &Transaction<'_>, reader: &str, now: Timestamp) -> Result<i64> {
    let marked = tx.prepare_cached(UNREAD)?.query_row([reader], |row| row.get(0))?;
    tx.prepare_cached(MARK_ALL)?.execute(params![reader, now])?;
    Ok(marked)
}

/// Whoever posts has read the thread up to there, under the name that they signed with and without it.
pub fn mark_own(tx: &Transaction<'_>, by: &forum::Signature, post: &forum::Post, now: Timestamp) -> Result<()> {
    let mut mark = tx.prepare_cached(MARK)?;
    mark.execute(params![by.verified, post.thread_id, post.post_id, now])?;
    if by.author != by.verified {
        mark.execute(params![reader(&by.verified, Some(&by.author)), post.thread_id, post.post_id, now])?;
    }
    Ok(())
}

/// The thread of a post, for a mark that names only the post.
pub fn thread_of(conn: &Connection, post_id: i64) -> Result<i64> {
    let found = conn
        .prepare_cached("select thread_id from posts where post_id = ?1")?
        .query_row([post_id], |row| row.get(0))
        .optional()?;
    found.ok_or_else(|| Error::not_found(format_args!("no post {post_id}")))
}
