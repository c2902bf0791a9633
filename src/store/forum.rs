//! Threads and posts: how they are written, changed and paged.
//!
//! Invariant: a deleted post keeps its row, and nothing of its text.
//! Invariant: the search rows follow by trigger, in the same transaction, and so do the words.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::forum_words;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::page::{Limit, Page, decode_cursor, encode_cursor};

/// How much text a page of posts holds before it ends early: about 8,000 tokens.
const PAGE_BYTES: usize = 24 << 10;
/// How much of a quoted post stands in the post that quotes it.
const QUOTE_CHARS: usize = 400;

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Thread {
    pub thread_id: i64,
    pub title: String,
    /// As signed
    pub author: String,
    /// Who it was
    pub verified: String,
    pub tags: Vec<String>,
    pub pinned: bool,
    /// Without deleted ones
    pub posts: i64,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub last_author: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Post {
    pub post_id: i64,
    pub thread_id: i64,
    /// As signed
    pub author: String,
    /// Who it was
    pub verified: String,
    pub body: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<Quote>,
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    pub deleted: bool,
}

/// Another post, maybe of another thread, as it reads today.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Quote {
    pub post_id: i64,
    pub thread_id: i64,
    pub author: String,
    /// Its beginning
    pub text: String,
    pub deleted: bool,
}

/// Who writes: the name that they sign with, and who the gate says they are.
#[derive(Clone, Debug)]
pub struct Signature {
    pub author: String,
    pub verified: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tag: Option<String>,
    pub author: Option<String>,
}

macro_rules! threads_where {
    ($clause:literal) => {
        concat!(
            "select t.thread_id, t.title, t.author, t.verified, t.pinned, t.posts, t.created_at, t.last_activity_at,
                    t.last_author,
                    (select json_group_array(tag) from
                        (select tag from thread_tags where thread_id = t.thread_id order by tag))
             from threads t where ",
            $clause
        )
    };
}

macro_rules! posts_where {
    ($clause:literal) => {
        concat!(
            "select p.post_id, p.thread_id, p.author, p.verified, p.body, p.created_at, p.edited_at,
                    p.deleted_at is not null,
                    q.post_id, q.thread_id, q.author, substr(q.body, 1, ?1), q.deleted_at is not null
             from posts p left join posts q on q.post_id = p.quote_post_id where ",
            $clause
        )
    };
}

const THREAD: &str = threads_where!("t.thread_id = ?1");
const THREADS: &str = threads_where!(
    "(t.pinned, t.last_activity_at, t.thread_id) < (?1, ?2, ?3)
       and (?4 is null or exists (select 1 from thread_tags where tag = ?4 and thread_id = t.thread_id))
       and (?5 is null or t.author = ?5 collate nocase)
     order by t.pinned desc, t.last_activity_at desc, t.thread_id desc limit ?6"
);
const POST: &str = posts_where!("p.post_id = ?2");
const POSTS: &str = posts_where!("p.thread_id = ?2 and ?3 < p.post_id order by p.post_id limit ?4");

const INSERT_THREAD: &str = "insert into threads (title, author, verified, created_at, last_activity_at, last_author)
                             values (?1, ?2, ?3, ?4, ?4, ?2)";
const INSERT_POST: &str = "insert into posts (thread_id, author, verified, body, quote_post_id, created_at)
                           values (?1, ?2, ?3, ?4, ?5, ?6)";
const COUNT_POST: &str = "update threads
                          set posts = posts + 1, last_activity_at = max(last_activity_at, ?2), last_author = ?3
                          where thread_id = ?1";

// === reading

pub fn thread(conn: &Connection, thread_id: i64) -> Result<Thread> {
    let found = conn.prepare_cached(THREAD)?.query_row([thread_id], read_thread).optional()?;
    found.ok_or_else(|| {
        Error::not_found(format_args!("no thread {thread_id}")).with_hint("forum_list_threads shows the threads")
    })
}

/// Pinned threads first, then those with the newest activity.
pub fn threads(conn: &Connection, filter: &Filter, limit: Limit, cursor: Option<&str>) -> Result<Page<Thread>> {
    let after: (i64, i64, i64) = decode_cursor(cursor)?.unwrap_or((i64::MAX, i64::MAX, i64::MAX));
    let mut statement = conn.prepare_cached(THREADS)?;
    let rows = statement.query_map(
        params![after.0, after.1, after.2, filter.tag, filter.author, limit.get() as i64 + 1],
        read_thread,
    )?;
    let threads = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::of(threads, limit, |last| (i64::from(last.pinned), last.last_activity_at.as_millis(), last.thread_id)))
}

pub fn post(conn: &Connection, post_id: i64) -> Result<Post> {
    let found = conn.prepare_cached(POST)?.query_row(params![QUOTE_CHARS as i64 + 1, post_id], read_post).optional()?;
    found.ok_or_else(|| Error::not_found(format_args!("no post {post_id}")))
}

/// The posts of a thread, oldest first; a page ends early where its text grows long.
pub fn posts(conn: &Connection, thread_id: i64, limit: Limit, cursor: Option<&str>) -> Result<Page<Post>> {
    let after: i64 = decode_cursor(cursor)?.unwrap_or(0);
    let mut statement = conn.prepare_cached(POSTS)?;
    let mut rows = statement.query(params![QUOTE_CHARS as i64 + 1, thread_id, after, limit.get() as i64 + 1])?;
    let mut posts: Vec<Post> = Vec::new();
    let mut bytes = 0;
    let mut more = false;
    while let Some(row) = rows.next()? {
        let post = read_post(row)?;
        bytes += post.body.len() + post.quote.as_ref().map_or(0, |quote| quote.text.len());
        if posts.len() == limit.get() || (PAGE_BYTES < bytes && !posts.is_empty()) {
            more = true;
            break;
        }
        posts.push(post);
    }
    let next_cursor = if more { posts.last().map(|last| encode_cursor(&last.post_id)) } else { None };
    Ok(Page { items: posts, next_cursor })
}

fn read_thread(row: &Row<'_>) -> rusqlite::Result<Thread> {
    let tags: String = row.get(9)?;
    Ok(Thread {
        thread_id: row.get(0)?,
        title: row.get(1)?,
        author: row.get(2)?,
        verified: row.get(3)?,
        pinned: row.get(4)?,
        posts: row.get(5)?,
        created_at: row.get(6)?,
        last_activity_at: row.get(7)?,
        last_author: row.get(8)?,
        tags: serde_json::from_str(&tags)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(9, rusqlite::types::Type::Text, error.into()))?,
    })
}

fn read_post(row: &Row<'_>) -> rusqlite::Result<Post> {
    let quote = match row.get(8)? {
        Some(post_id) => Some(Quote {
            post_id,
            thread_id: row.get(9)?,
            author: row.get(10)?,
            text: shorten(row.get(11)?, QUOTE_CHARS),
            deleted: row.get(12)?,
        }),
        None => None,
    };
    Ok(Post {
        post_id: row.get(0)?,
        thread_id: row.get(1)?,
        author: row.get(2)?,
        verified: row.get(3)?,
        body: row.get(4)?,
        quote,
        created_at: row.get(5)?,
        edited_at: row.get(6)?,
        deleted: row.get(7)?,
    })
}

/// At most `max` characters, with a mark where something was left out.
pub(crate) fn shorten(mut text: String, max: usize) -> String {
    if let Some((cut, _)) = text.char_indices().nth(max) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

// === writing

pub fn insert_thread(tx: &Transaction<'_>, by: &Signature, title: &str, now: Timestamp) -> Result<i64> {
    tx.prepare_cached(INSERT_THREAD)?.execute(params![title, by.author, by.verified, now])?;
    let thread_id = tx.last_insert_rowid();
    forum_words::add(tx, &[title])?;
    Ok(thread_id)
}

/// Adds a post to a thread that is there. A quote may name a post of any thread.
pub fn insert_post(
    tx: &Transaction<'_>,
    thread_id: i64,
    by: &Signature,
    body: &str,
    quote_post_id: Option<i64>,
    now: Timestamp,
) -> Result<Post> {
    if let Some(quoted) = quote_post_id {
        let quoted = post(tx, quoted)?;
        if quoted.deleted {
            return Err(Error::conflict(format_args!("post {} is deleted and cannot be quoted", quoted.post_id)));
        }
    }
    if tx.prepare_cached(COUNT_POST)?.execute(params![thread_id, now, by.author])? == 0 {
        thread(tx, thread_id)?;
    }
    tx.prepare_cached(INSERT_POST)?.execute(params![thread_id, by.author, by.verified, body, quote_post_id, now])?;
    let post_id = tx.last_insert_rowid();
    forum_words::add(tx, &[&by.author, body])?;
    post(tx, post_id)
}

pub fn edit_post(tx: &Transaction<'_>, post_id: i64, body: &str, now: Timestamp) -> Result<Post> {
    let before = post(tx, post_id)?;
    if before.deleted {
        return Err(Error::conflict(format_args!("post {post_id} is deleted and cannot be edited")));
    }
    tx.prepare_cached("update posts set body = ?2, edited_at = ?3 where post_id = ?1")?
        .execute(params![post_id, body, now])?;
    forum_words::add(tx, &[body])?;
    forum_words::remove_unused(tx, &before.body)?;
    post(tx, post_id)
}

/// Empties a post for good and leaves its place in the thread; a second time changes nothing.
pub fn delete_post(tx: &Transaction<'_>, post_id: i64, now: Timestamp) -> Result<Post> {
    let before = post(tx, post_id)?;
    if before.deleted {
        return Ok(before);
    }
    tx.prepare_cached("update posts set body = '', quote_post_id = null, deleted_at = ?2 where post_id = ?1")?
        .execute(params![post_id, now])?;
    tx.prepare_cached("update threads set posts = posts - 1 where thread_id = ?1")?.execute([before.thread_id])?;
    forum_words::remove_unused(tx, &before.body)?;
    forum_words::remove_unused(tx, &before.author)?;
    post(tx, post_id)
}

/// Replaces the tags of a thread.
pub fn set_tags(tx: &Transaction<'_>, thread_id: i64, tags: &BTreeSet<String>) -> Result<Thread> {
    thread(tx, thread_id)?;
    tx.prepare_cached("delete from thread_tags where thread_id = ?1")?.execute([thread_id])?;
    let mut insert = tx.prepare_cached("insert into thread_tags (thread_id, tag) values (?1, ?2)")?;
    for tag in tags {
        insert.execute(params![thread_id, tag])?;
    }
    thread(tx, thread_id)
}

pub fn set_pinned(tx: &Transaction<'_>, thread_id: i64, pinned: bool) -> Result<Thread> {
    tx.prepare_cached("update threads set pinned = ?2 where thread_id = ?1")?.execute(params![thread_id, pinned])?;
    thread(tx, thread_id)
}
