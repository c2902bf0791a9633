//! Which root keys the file hangs on, by name and probe, and the appliance's own keys, wrapped.

use rusqlite::{Connection, Row, Transaction, params};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::vault::root::KeyId;

/// A root key as the file knows it.
#[derive(Clone, Debug)]
pub struct RootKey {
    pub key_id: KeyId,
    pub state: State,
    pub probe: Vec<u8>,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Current,
    Next,
    Retired,
}

impl State {
    pub const fn word(self) -> &'static str {
        match self {
            State::Current => "current",
            State::Next => "next",
            State::Retired => "retired",
        }
    }
}

impl RootKey {
    fn read(row: &Row<'_>) -> rusqlite::Result<RootKey> {
        let (key_id, state): (String, String) = (row.get(0)?, row.get(1)?);
        let state = [State::Current, State::Next].into_iter().find(|known| known.word() == state);
        Ok(RootKey {
            key_id: parse(0, &key_id)?,
            state: state.unwrap_or(State::Retired),
            probe: row.get(2)?,
            created_at: row.get(3)?,
            retired_at: row.get(4)?,
        })
    }
}

/// A name of a key in column `at`.
pub(super) fn parse(at: usize, text: &str) -> rusqlite::Result<KeyId> {
    KeyId::parse(text).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(at, rusqlite::types::Type::Text, "not a name of a root key".into())
    })
}

/// Oldest first.
pub fn roots(conn: &Connection) -> Result<Vec<RootKey>> {
    let sql = "select key_id, state, probe, created_at, retired_at from root_keys order by created_at limit 1000";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], RootKey::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert_root(tx: &Transaction<'_>, key_id: KeyId, state: State, probe: &[u8], now: Timestamp) -> Result<()> {
    let sql = "insert into root_keys (key_id, state, probe, created_at) values (?1, ?2, ?3, ?4)";
    tx.prepare_cached(sql)?.execute(params![key_id.to_string(), state.word(), probe, now])?;
    Ok(())
}

/// The next root key becomes the current one, and that one is retired.
pub fn promote(tx: &Transaction<'_>, old: KeyId, next: KeyId, now: Timestamp) -> Result<()> {
    let retired = tx
        .prepare_cached(
            "update root_keys set state = 'retired', retired_at = ?2 where key_id = ?1 and state = 'current'",
        )?
        .execute(params![old.to_string(), now])?;
    let promoted = tx
        .prepare_cached("update root_keys set state = 'current' where key_id = ?1 and state = 'next'")?
        .execute([next.to_string()])?;
    if (retired, promoted) != (1, 1) {
        return Err(Error::conflict("the rotation has been finished already"));
    }
    Ok(())
}

/// Each purpose with its key as it is wrapped.
pub fn services(conn: &Connection) -> Result<Vec<(String, Vec<u8>)>> {
    let mut statement = conn.prepare_cached("select purpose, wrapped from service_keys")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn put_service(tx: &Transaction<'_>, purpose: &str, key_id: KeyId, wrapped: &[u8]) -> Result<()> {
    tx.prepare_cached("insert or replace into service_keys (purpose, key_id, wrapped) values (?1, ?2, ?3)")?
        .execute(params![purpose, key_id.to_string(), wrapped])?;
    Ok(())
}
