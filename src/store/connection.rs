//! How a connection to the file is opened: one set of pragmas for the writer and one for readers.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Result};

/// A checkpoint racing with a restart of the log could lose commits before this version.
pub const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// "hrth": marks the file as one of ours, for `file(1)` and for the refusal of a foreign one.
pub const APPLICATION_ID: i32 = 0x6872_7468;

const BUSY_WAIT: Duration = Duration::from_secs(5);
const READ_DEADLINE: Duration = Duration::from_secs(5);
/// Virtual-machine steps between two looks at the clock.
const PROGRESS_STEPS: i32 = 10_000;
const CACHED_STATEMENTS: usize = 256;

pub fn check_sqlite_version() -> Result<()> {
    let version = rusqlite::version_number();
    if version < SQLITE_VERSION_MIN {
        return Err(Error::unavailable(format_args!(
            "SQLite {} has the log-reset bug that loses commits; hearth needs {SQLITE_VERSION_MIN} or newer",
            rusqlite::version()
        )));
    }
    Ok(())
}

pub(super) fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    harden(&conn)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    // An acknowledged commit survives a power cut; group commit shares the price.
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    // What was removed is overwritten: a sealed secret that was taken out must not be found again.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(conn)
}

pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    harden(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// For whoever follows the log: it counts frames and copies them back.
pub(super) fn open_follower(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    harden(&conn)?;
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    conn.pragma_update(None, "synchronous", "full")?;
    Ok(conn)
}

fn harden(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(BUSY_WAIT)?;
    conn.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Copying the log back is the writer's, or that of whoever follows it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "mmap_size", 0)?;
    conn.set_limit(Limit::SQLITE_LIMIT_LENGTH, 8 << 20)?;
    conn.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    Ok(())
}

/// Ends a read that runs past its deadline, since a long reader keeps the log from starting over.
pub(super) fn limit_time(conn: &mut Connection) -> rusqlite::Result<()> {
    let end = Instant::now() + READ_DEADLINE;
    conn.progress_handler(PROGRESS_STEPS, Some(move || end < Instant::now()))
}
