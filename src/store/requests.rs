//! Idempotency keys: what a caller's `request_id` has already done, kept for a day.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::clock::Timestamp;
use crate::error::{Error, Result};

const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a call with a `request_id` has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the first: run.
    Run,
    /// It has been done: answer this, as JSON.
    Done(String),
}

/// A call as its key names it.
pub struct Request<'a> {
    pub principal: &'a str,
    pub request_id: &'a str,
    pub tool: &'a str,
    pub input_digest: &'a str,
    pub call_id: &'a str,
}

struct Row {
    tool: String,
    input_digest: String,
    state: String,
    output: Option<String>,
    created_at: Timestamp,
}

/// Claims the key for this call, or says what it has done already.
///
/// A key left `running` by a process that ended had no effect, as the effect would have
/// been committed together with `applied`; `started_at` is when this process began.
pub fn claim(tx: &Transaction<'_>, request: &Request<'_>, now: Timestamp, started_at: Timestamp) -> Result<Claim> {
    let row = tx
        .prepare_cached(
            "select tool, input_digest, state, output, created_at from requests where principal = ?1 and request_id = ?2",
        )?
        .query_row([request.principal, request.request_id], |row| {
            Ok(Row {
                tool: row.get(0)?,
                input_digest: row.get(1)?,
                state: row.get(2)?,
                output: row.get(3)?,
                created_at: row.get(4)?,
            })
        })
        .optional()?;
    if let Some(row) = row.filter(|row| now.since(row.created_at) < KEPT) {
        if row.tool != request.tool || row.input_digest != request.input_digest {
            return Err(Error::conflict(format_args!(
                "request_id `{}` was used for another call of `{}`",
                request.request_id, row.tool
            ))
            .with_hint("use a new request_id for a new call"));
        }
        if let Some(output) = row.output {
            return Ok(Claim::Done(output));
        }
        if row.state == "running" && started_at <= row.created_at {
            return Err(Error::conflict(format_args!(
                "the call with request_id `{}` is still running",
                request.request_id
            ))
            .with_hint("repeat it with the same request_id to get its answer")
            .with_retry_after(Duration::from_secs(1)));
        }
    }
    tx.prepare_cached(
        "insert or replace into requests (principal, request_id, tool, input_digest, call_id, state, created_at)
         values (?1, ?2, ?3, ?4, ?5, 'running', ?6)",
    )?
    .execute(params![
        request.principal,
        request.request_id,
        request.tool,
        request.input_digest,
        request.call_id,
        now
    ])?;
    Ok(Claim::Run)
}

/// The answer that the key has to this very call, as JSON.
pub fn answer(conn: &Connection, request: &Request<'_>, now: Timestamp) -> Result<Option<String>> {
    let sql = "select output from requests where principal = ?1 and request_id = ?2 and tool = ?3
               and input_digest = ?4 and output is not null and ?5 < created_at";
    let key = params![request.principal, request.request_id, request.tool, request.input_digest, now - KEPT];
    Ok(conn.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?)
}

/// Keeps the answer, in the transaction of the effect.
pub fn apply(tx: &Transaction<'_>, principal: &str, request_id: &str, output: &str) -> Result<()> {
    tx.prepare_cached("update requests set state = 'applied', output = ?3 where principal = ?1 and request_id = ?2")?
        .execute([principal, request_id, output])?;
    Ok(())
}

/// Forgets the key of a call that failed without an effect, so that it may be tried again.
pub fn forget(tx: &Transaction<'_>, principal: &str, request_id: &str) -> Result<()> {
    tx.prepare_cached("delete from requests where principal = ?1 and request_id = ?2 and output is null")?
        .execute([principal, request_id])?;
    Ok(())
}

pub fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached("delete from requests where created_at < ?1")?.execute([now - KEPT])?;
    Ok(())
}
