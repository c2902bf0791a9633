//! Sessions of MCP clients and the events that they may have missed.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// A session as it outlives the process.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    pub session_id: String,
    pub principal: String,
    /// The parameters of `initialize`, as JSON.
    pub state: String,
    /// The URIs that the client subscribed to.
    pub resources: Vec<String>,
    pub log_level: Option<String>,
}

/// One event of a stream, with its place in the order of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub event_id: i64,
    pub stream_id: String,
    pub session_id: String,
    /// The message as JSON; `null` for one that only says when to come back.
    pub event: Arc<str>,
}

const GET: &str = "select session_id, principal, state, resources, log_level from mcp_sessions where session_id = ?1";
const PUT: &str = "insert into mcp_sessions (session_id, transport, principal, state, created_at, used_at)
    values (?1, ?2, ?3, ?4, ?5, ?5)
    on conflict (session_id) do update set state = excluded.state, used_at = excluded.used_at";
const TOUCH: &str = "update mcp_sessions set used_at = ?2 where session_id = ?1";
const SET_RESOURCES: &str = "update mcp_sessions set resources = ?2 where session_id = ?1";
const SET_LOG_LEVEL: &str = "update mcp_sessions set log_level = ?2 where session_id = ?1";
const REMOVE: &str = "delete from mcp_sessions where session_id = ?1";
const REMOVE_EVENTS_BY: &str = "delete from mcp_events where session_id in
    (select session_id from mcp_sessions where principal = ?1)";
const REMOVE_BY: &str = "delete from mcp_sessions where principal = ?1";
const REMOVE_UNUSED: &str = "delete from mcp_sessions where used_at < ?1";
const REMOVE_MOST: &str = "delete from mcp_sessions where session_id in
    (select session_id from mcp_sessions order by used_at desc limit -1 offset ?1)";

const LAST_EVENT: &str = "select coalesce(max(event_id), 0) from mcp_events";
const INSERT_EVENT: &str = "insert or ignore into mcp_events (event_id, stream_id, session_id, event, created_at)
    values (?1, ?2, ?3, ?4, ?5)";
const STREAM_OF: &str = "select stream_id from mcp_events where event_id = ?1 and session_id = ?2";
const EVENTS_AFTER: &str = "select event_id, event from mcp_events
    where stream_id = ?1 and ?2 < event_id order by event_id limit ?3";
const REMOVE_EVENTS_OF: &str = "delete from mcp_events where session_id = ?1";
/// A client comes back for its last answers; older ones make room, lest one session fill the disk.
const EVENTS_PER_SESSION: i64 = 1024;
const REMOVE_SURPLUS: &str = "delete from mcp_events where session_id = ?1 and event_id <=
    (select event_id from mcp_events where session_id = ?1 order by event_id desc limit 1 offset ?2)";
const REMOVE_EVENTS_BEFORE: &str = "delete from mcp_events where created_at < ?1";

pub fn get(conn: &Connection, session_id: &str) -> Result<Option<Session>> {
    let found = conn
        .prepare_cached(GET)?
        .query_row([session_id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?, row.get(4)?))
        })
        .optional()?;
    let Some((session_id, principal, state, resources, log_level)) = found else {
        return Ok(None);
    };
    let resources = serde_json::from_str(&resources).map_err(Error::internal)?;
    Ok(Some(Session { session_id, principal, state, resources, log_level }))
}

/// Stores what `initialize` said; a session that is known keeps its owner.
pub fn put(
    tx: &Transaction<'_>,
    session_id: &str,
    transport: &str,
    principal: &str,
    state: &str,
    now: Timestamp,
) -> Result<()> {
    tx.prepare_cached(PUT)?.execute(params![session_id, transport, principal, state, now])?;
    Ok(())
}

/// Notes that these sessions were used.
pub fn touch(tx: &Transaction<'_>, session_ids: &[String], now: Timestamp) -> Result<()> {
    let mut statement = tx.prepare_cached(TOUCH)?;
    for session_id in session_ids {
        statement.execute(params![session_id, now])?;
    }
    Ok(())
}

pub fn set_resources(tx: &Transaction<'_>, session_id: &str, resources: &[String]) -> Result<()> {
    let list = serde_json::to_string(resources).map_err(Error::internal)?;
    tx.prepare_cached(SET_RESOURCES)?.execute(params![session_id, list])?;
    Ok(())
}

pub fn set_log_level(tx: &Transaction<'_>, session_id: &str, level: &str) -> Result<()> {
    tx.prepare_cached(SET_LOG_LEVEL)?.execute(params![session_id, level])?;
    Ok(())
}

/// Forgets a session and its events.
pub fn remove(tx: &Transaction<'_>, session_id: &str) -> Result<()> {
    tx.prepare_cached(REMOVE_EVENTS_OF)?.execute([session_id])?;
    tx.prepare_cached(REMOVE)?.execute([session_id])?;
    Ok(())
}

/// Forgets the sessions of a caller and their events.
pub fn remove_by(tx: &Transaction<'_>, principal: &str) -> Result<()> {
    tx.prepare_cached(REMOVE_EVENTS_BY)?.execute([principal])?;
    tx.prepare_cached(REMOVE_BY)?.execute([principal])?;
    Ok(())
}

/// Forgets sessions that nobody used since `unused_since`, and all but the `most` used last.
pub fn prune(tx: &Transaction<'_>, unused_since: Timestamp, most: usize) -> Result<()> {
    tx.prepare_cached(REMOVE_UNUSED)?.execute([unused_since])?;
    tx.prepare_cached(REMOVE_MOST)?.execute([i64::try_from(most).unwrap_or(i64::MAX)])?;
    Ok(())
}

pub fn last_event_id(conn: &Connection) -> Result<i64> {
    Ok(conn.prepare_cached(LAST_EVENT)?.query_row([], |row| row.get(0))?)
}

/// Keeps events, of each session the last of them.
pub fn insert_events(tx: &Transaction<'_>, events: &[Event], now: Timestamp) -> Result<()> {
    let mut statement = tx.prepare_cached(INSERT_EVENT)?;
    for event in events {
        statement.execute(params![event.event_id, event.stream_id, event.session_id, &*event.event, now])?;
    }
    let session_ids: BTreeSet<&str> = events.iter().map(|event| event.session_id.as_str()).collect();
    let mut statement = tx.prepare_cached(REMOVE_SURPLUS)?;
    for session_id in session_ids {
        statement.execute(params![session_id, EVENTS_PER_SESSION])?;
    }
    Ok(())
}

/// The stream of an event, if the event belongs to that session.
pub fn stream_of(conn: &Connection, session_id: &str, event_id: i64) -> Result<Option<String>> {
    Ok(conn.prepare_cached(STREAM_OF)?.query_row(params![event_id, session_id], |row| row.get(0)).optional()?)
}

/// The events of a stream that come after `event_id`, in their order.
pub fn events_after(conn: &Connection, stream_id: &str, event_id: i64, limit: usize) -> Result<Vec<(i64, String)>> {
    let mut statement = conn.prepare_cached(EVENTS_AFTER)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![stream_id, event_id, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn remove_events_before(tx: &Transaction<'_>, moment: Timestamp) -> Result<()> {
    tx.prepare_cached(REMOVE_EVENTS_BEFORE)?.execute([moment])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(crate::store::migrate::SCHEMA).unwrap();
        conn
    }

    #[test]
    fn a_session_keeps_its_owner_and_its_subscriptions() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        put(&tx, "s", "http", "token:a", "{}", Timestamp::from_secs(1)).unwrap();
        set_resources(&tx, "s", &["hearth://forum".into()]).unwrap();
        put(&tx, "s", "http", "token:b", "{\"x\":1}", Timestamp::from_secs(2)).unwrap();
        let session = get(&tx, "s").unwrap().unwrap();
        assert_eq!((session.principal.as_str(), session.state.as_str()), ("token:a", "{\"x\":1}"));
        assert_eq!(session.resources, ["hearth://forum"]);
    }

    #[test]
    fn events_of_another_session_are_not_found() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        let event = |event_id, session_id: &str| Event {
            event_id,
            stream_id: format!("{session_id}:1"),
            session_id: session_id.into(),
            event: "null".into(),
        };
        insert_events(&tx, &[event(1, "a"), event(2, "b"), event(3, "a")], Timestamp::from_secs(1)).unwrap();
        assert_eq!(stream_of(&tx, "b", 1).unwrap(), None);
        assert_eq!(stream_of(&tx, "a", 1).unwrap().as_deref(), Some("a:1"));
        assert_eq!(events_after(&tx, "a:1", 1, 9).unwrap(), [(3, "null".to_owned())]);
    }

    #[test]
    fn of_each_session_the_last_events_stay() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        let event = |event_id, session_id: &str| Event {
            event_id,
            stream_id: session_id.into(),
            session_id: session_id.into(),
            event: "null".into(),
        };
        insert_events(&tx, &[event(1, "a")], Timestamp::from_secs(1)).unwrap();
        let many: Vec<Event> = (2..=EVENTS_PER_SESSION + 11).map(|id| event(id, "b")).collect();
        insert_events(&tx, &many, Timestamp::from_secs(2)).unwrap();
        assert_eq!(events_after(&tx, "a", 0, 9).unwrap().len(), 1);
        let left = events_after(&tx, "b", 0, 9999).unwrap();
        assert_eq!((left.len(), left[0].0), (EVENTS_PER_SESSION as usize, 12));
    }

    #[test]
    fn the_sessions_used_last_stay() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        for n in 1..=3 {
            put(&tx, &format!("s{n}"), "sse", "owner", "{}", Timestamp::from_secs(n)).unwrap();
        }
        prune(&tx, Timestamp::from_secs(2), 1).unwrap();
        assert!(get(&tx, "s2").unwrap().is_none());
        assert!(get(&tx, "s3").unwrap().is_some());
    }
}
