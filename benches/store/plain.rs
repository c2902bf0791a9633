//! The peer: rusqlite by itself, with the pragmas that the store uses.

use std::path::Path;

use rusqlite::Connection;

pub const TABLE: &str = "create table bench (
    row_id     integer primary key,
    author     text not null,
    body       text not null,
    created_at integer not null
) strict";
pub const INSERT: &str = "insert into bench (author, body, created_at) values (?1, ?2, ?3)";
pub const SELECT: &str = "select body from bench where row_id = ?1";

/// What one row holds: about as much as a short post.
pub const AUTHOR: &str = "an agent of the bench";
pub const BODY: &str = "The nas has been moved to the rack in the cellar; its address stays. Its second disk showed \
                        twelve reallocated sectors this morning and is to be replaced before the month is over.";

pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 1000)?;
    Ok(conn)
}
