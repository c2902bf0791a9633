//! Approvals: a plan that waits for a person, bound to caller, tool, arguments and state.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// How long a decided or expired one is kept to be looked at.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Clone, Debug)]
pub struct Approval {
    pub approval_id: String,
    pub principal: String,
    pub tool: String,
    pub input: String,
    pub input_digest: String,
    pub state_digest: String,
    pub plan: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// `pending`, `approved`, `rejected` or `used`.
    pub state: String,
    pub decided_by: Option<String>,
}

const COLUMNS: &str =
    "approval_id, principal, tool, input, input_digest, state_digest, plan, created_at, expires_at, state, decided_by";

impl Approval {
    fn read(row: &Row<'_>) -> rusqlite::Result<Approval> {
        Ok(Approval {
            approval_id: row.get(0)?,
            principal: row.get(1)?,
            tool: row.get(2)?,
            input: row.get(3)?,
            input_digest: row.get(4)?,
            state_digest: row.get(5)?,
            plan: row.get(6)?,
            created_at: row.get(7)?,
            expires_at: row.get(8)?,
            state: row.get(9)?,
            decided_by: row.get(10)?,
        })
    }
}

pub fn insert(tx: &Transaction<'_>, approval: &Approval) -> Result<()> {
    tx.prepare_cached(&format!("insert into approvals ({COLUMNS}) values (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"))?
        .execute(params![
            approval.approval_id,
            approval.principal,
            approval.tool,
            approval.input,
            approval.input_digest,
            approval.state_digest,
            approval.plan,
            approval.created_at,
            approval.expires_at,
            approval.state,
            approval.decided_by
        ])?;
    Ok(())
}

pub fn get(conn: &Connection, approval_id: &str) -> Result<Option<Approval>> {
    let sql = format!("select {COLUMNS} from approvals where approval_id = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([approval_id], Approval::read).optional()?)
}

/// Those that wait for a person, oldest first.
pub fn pending(conn: &Connection, now: Timestamp) -> Result<Vec<Approval>> {
    let sql = format!(
        "select {COLUMNS} from approvals where state = 'pending' and ?1 < expires_at order by created_at limit 100"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([now], Approval::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Moves a pending one to `state`.
pub fn decide(tx: &Transaction<'_>, approval_id: &str, state: &str, by: &str, now: Timestamp) -> Result<Approval> {
    let found = get(tx, approval_id)?;
    let Some(found) = found.filter(|found| now < found.expires_at) else {
        return Err(Error::not_found(format_args!("no approval `{approval_id}` waits; it may have expired")));
    };
    if found.state != "pending" {
        return Err(Error::conflict(format_args!("approval `{approval_id}` is {} already", found.state)));
    }
    tx.prepare_cached("update approvals set state = ?2, decided_by = ?3, decided_at = ?4 where approval_id = ?1")?
        .execute(params![approval_id, state, by, now])?;
    Ok(Approval { state: state.to_owned(), decided_by: Some(by.to_owned()), ..found })
}

/// Rejects all that a caller could still use or get.
pub fn withdraw(tx: &Transaction<'_>, principal: &str, by: &str, now: Timestamp) -> Result<()> {
    tx.prepare_cached(
        "update approvals set state = 'rejected', decided_by = ?2, decided_at = ?3
         where principal = ?1 and state in ('pending', 'approved')",
    )?
    .execute(params![principal, by, now])?;
    Ok(())
}

/// Spends an approved one; says whether this call is the one that may use it.
pub fn spend(tx: &Transaction<'_>, approval_id: &str) -> Result<bool> {
    let spent = tx
        .prepare_cached("update approvals set state = 'used' where approval_id = ?1 and state = 'approved'")?
        .execute([approval_id])?;
    Ok(spent == 1)
}

pub fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached("delete from approvals where created_at < ?1")?.execute([now - KEPT])?;
    Ok(())
}
