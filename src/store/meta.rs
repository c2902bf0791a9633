//! Single values about the file itself.

use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::error::Result;

const GET: &str = "select value from meta where key = ?1";
const PUT: &str =
    "insert into meta (key, value) values (?1, ?2) on conflict (key) do update set value = excluded.value";

pub fn get(conn: &Connection, key: &str) -> Result<Option<String>> {
    Ok(conn.prepare_cached(GET)?.query_row([key], |row| row.get(0)).optional()?)
}

pub fn put(conn: &Connection, key: &str, value: &str) -> Result<()> {
    conn.prepare_cached(PUT)?.execute([key, value])?;
    Ok(())
}

/// Notes that the file is in use; says whether the last use ended cleanly.
pub(super) fn note_start(conn: &Connection) -> Result<bool> {
    let clean = get(conn, "in_use")?.is_none_or(|in_use| in_use == "no");
    put(conn, "in_use", "yes")?;
    Ok(clean)
}

pub(super) fn note_stop(tx: &Transaction<'_>) -> Result<()> {
    put(tx, "in_use", "no")
}
