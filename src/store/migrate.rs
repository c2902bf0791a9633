//! How a file gets the schema: a new one runs `schema.sql`, an older one climbs the steps.
//!
//! Invariant: both roads arrive at the same schema (`tests/it/store.rs`).

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::connection::APPLICATION_ID;
use crate::error::{Error, Result};

pub const SCHEMA: &str = include_str!("../../schema.sql");

/// Step `n` (counted from 0) brings a file from version `n + 1` to `n + 2`.
const STEPS: &[&str] = &[];

/// The version that this program writes.
pub const VERSION: i64 = STEPS.len() as i64 + 1;

/// Brings the file to [`VERSION`]; an older file is copied beside itself first.
pub(super) fn migrate(conn: &mut Connection, path: &Path, check: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let empty = conn.query_row("select count(*) = 0 from sqlite_schema", [], |row| row.get::<_, bool>(0))?;
    if empty {
        return create(conn);
    }
    if application != APPLICATION_ID {
        return Err(Error::unavailable(format_args!("{} is a database of another program", path.display()))
            .with_hint("name another folder with --data"));
    }
    if VERSION < version {
        return Err(Error::unavailable(format_args!(
            "{} has schema version {version}, newer than the {VERSION} of this hearth",
            path.display()
        ))
        .with_hint("run the newer hearth, or restore the copy that it kept before the upgrade"));
    }
    check(conn)?;
    if version < VERSION {
        keep_copy(conn, path, version)?;
        for (step, number) in STEPS.iter().zip(1..).skip(usize::try_from(version - 1).unwrap_or(0)) {
            climb(conn, step, number + 1)?;
        }
    }
    Ok(())
}

fn create(conn: &mut Connection) -> Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(SCHEMA)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", VERSION)?;
    Ok(tx.commit()?)
}

fn climb(conn: &mut Connection, step: &str, to: i64) -> Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(step)?;
    let broken: i64 = tx.query_row("select count(*) from pragma_foreign_key_check", [], |row| row.get(0))?;
    if broken != 0 {
        return Err(Error::unavailable(format_args!("the upgrade to schema {to} would break {broken} references")));
    }
    tx.pragma_update(None, "user_version", to)?;
    Ok(tx.commit()?)
}

fn keep_copy(conn: &Connection, path: &Path, version: i64) -> Result<PathBuf> {
    let copy = path.with_extension(format!("v{version}.db"));
    conn.execute("vacuum into ?1", [copy.to_string_lossy()])?;
    Ok(copy)
}
