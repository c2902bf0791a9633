//! The audit chain: each row carries a keyed hash over itself and the row before it.
//!
//! An edited, removed or reordered row breaks the chain, and a sealed head notices a
//! cut-off end. Who holds the root key from some moment on can forge what comes after.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use subtle::ConstantTimeEq;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::encode_hex;
use crate::page::{Limit, Page};
use crate::secret::Key;

/// The mac "before" the first row.
const GENESIS: [u8; 32] = [0; 32];

/// What the gate saw of a call, or counted of many.
#[derive(Clone, Debug, Default)]
pub struct Record {
    pub at: Timestamp,
    pub call_id: String,
    pub principal: String,
    pub door: String,
    pub tool: String,
    pub phase: &'static str,
    pub decision: String,
    pub reason: Option<String>,
    pub input_digest: Option<String>,
    pub count: Option<i64>,
}

/// A stored row of the chain.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    pub seq: i64,
    pub at: Timestamp,
    pub call_id: String,
    pub principal: String,
    pub door: String,
    pub tool: String,
    pub phase: String,
    pub decision: String,
    pub reason: Option<String>,
    pub input_digest: Option<String>,
    pub count: Option<i64>,
    #[serde(skip)]
    mac: Vec<u8>,
}

/// Which rows [`list`] returns, newest first.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub principal: Option<String>,
    pub tool: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub decision: Option<String>,
}

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub rows: i64,
    pub head: String,
    pub broken_at: Option<i64>,
    pub problem: Option<String>,
}

const COLUMNS: &str = "seq, at, call_id, principal, door, tool, phase, decision, reason, input_digest, count, mac";

const INSERT: &str =
    "insert into audit (seq, at, call_id, principal, door, tool, phase, decision, reason, input_digest, count, mac)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const PUT_HEAD: &str = "insert into audit_head (one, seq, mac, seal) values (1, ?1, ?2, ?3)
     on conflict (one) do update set seq = excluded.seq, mac = excluded.mac, seal = excluded.seal";

/// Appends a row at the end of the chain.
pub fn append(tx: &Transaction<'_>, key: &Key, record: &Record) -> Result<i64> {
    let (last, before) = last(tx)?;
    let row = Stored {
        seq: last + 1,
        at: record.at,
        call_id: record.call_id.clone(),
        principal: record.principal.clone(),
        door: record.door.clone(),
        tool: record.tool.clone(),
        phase: record.phase.to_owned(),
        decision: record.decision.clone(),
        reason: record.reason.clone(),
        input_digest: record.input_digest.clone(),
        count: record.count,
        mac: Vec::new(),
    };
    let mac = row.mac_after(key, &before);
    tx.prepare_cached(INSERT)?.execute(params![
        row.seq,
        row.at,
        row.call_id,
        row.principal,
        row.door,
        row.tool,
        row.phase,
        row.decision,
        row.reason,
        row.input_digest,
        row.count,
        mac
    ])?;
    tx.prepare_cached(PUT_HEAD)?.execute(params![row.seq, mac, seal(key, row.seq, &mac)])?;
    Ok(row.seq)
}

fn last(conn: &Connection) -> Result<(i64, [u8; 32])> {
    let last = conn
        .prepare_cached("select seq, mac from audit order by seq desc limit 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get::<_, [u8; 32]>(1)?)))
        .optional()?;
    Ok(last.unwrap_or((0, GENESIS)))
}

fn seal(key: &Key, seq: i64, mac: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(b"hearth/audit/head/v1").update(&seq.to_be_bytes()).update(mac);
    *hasher.finalize().as_bytes()
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
        Ok(Stored {
            seq: row.get(0)?,
            at: row.get(1)?,
            call_id: row.get(2)?,
            principal: row.get(3)?,
            door: row.get(4)?,
            tool: row.get(5)?,
            phase: row.get(6)?,
            decision: row.get(7)?,
            reason: row.get(8)?,
            input_digest: row.get(9)?,
            count: row.get(10)?,
            mac: row.get(11)?,
        })
    }

    /// BLAKE3, keyed, over the mac before and every field behind its length, so that no two rows read alike.
    fn mac_after(&self, key: &Key, before: &[u8; 32]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(key.expose());
        hasher.update(b"hearth/audit/row/v1").update(before);
        hasher.update(&self.seq.to_be_bytes()).update(&self.at.as_millis().to_be_bytes());
        let texts = [&self.call_id, &self.principal, &self.door, &self.tool, &self.phase, &self.decision];
        for text in texts {
            field(&mut hasher, Some(text));
        }
        field(&mut hasher, self.reason.as_deref());
        field(&mut hasher, self.input_digest.as_deref());
        hasher.update(&[u8::from(self.count.is_some())]).update(&self.count.unwrap_or(0).to_be_bytes());
        *hasher.finalize().as_bytes()
    }
}

fn field(hasher: &mut blake3::Hasher, text: Option<&str>) {
    let Some(text) = text else {
        hasher.update(&u64::MAX.to_be_bytes());
        return;
    };
    hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
}

/// Walks the whole chain and says where it breaks first.
pub fn verify(conn: &Connection, key: &Key) -> Result<Verdict> {
    let mut statement = conn.prepare_cached(&format!("select {COLUMNS} from audit order by seq"))?;
    let mut rows = statement.query([])?;
    let (mut count, mut before) = (0i64, GENESIS);
    let broken = |rows, head: &[u8; 32], at: i64, problem: &str| {
        Ok(Verdict { rows, head: encode_hex(head), broken_at: Some(at), problem: Some(problem.to_owned()) })
    };
    while let Some(row) = rows.next()? {
        let row = Stored::read(row)?;
        if row.seq != count + 1 {
            return broken(count, &before, count + 1, "a row is missing");
        }
        let mac = row.mac_after(key, &before);
        if !bool::from(mac.as_slice().ct_eq(&row.mac)) {
            return broken(count, &before, row.seq, "the row is not what was written, or the root key is another one");
        }
        (count, before) = (row.seq, mac);
    }
    let head = conn
        .prepare_cached("select seq, mac, seal from audit_head")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?, row.get::<_, [u8; 32]>(2)?)))
        .optional()?;
    match head {
        None if count == 0 => {}
        Some((seq, mac, stored)) if seq == count && mac == before && seal(key, seq, &mac) == stored => {}
        _ => return broken(count, &before, count + 1, "rows are missing at the end"),
    }
    Ok(Verdict { rows: count, head: encode_hex(&before), broken_at: None, problem: None })
}

/// Rows that match, newest first, before `cursor`.
pub fn list(conn: &Connection, filter: &Filter, before: Option<i64>, limit: Limit) -> Result<Page<Stored>> {
    let sql = format!(
        "select {COLUMNS} from audit
         where seq < ifnull(?1, 9223372036854775807)
           and (?2 is null or principal = ?2) and (?3 is null or tool = ?3)
           and (?4 is null or ?4 <= at) and (?5 is null or at < ?5)
           and (?6 is null or decision = ?6)
         order by seq desc limit ?7"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![before, filter.principal, filter.tool, filter.since, filter.until, filter.decision, limit.and_one()],
        Stored::read,
    )?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::bounded(rows, limit, |row| row.seq))
}

pub fn is_empty(conn: &Connection) -> Result<bool> {
    Ok(conn.query_row("select not exists (select 1 from audit)", [], |row| row.get(0))?)
}
