//! Credentials: names, policies and dates in the clear, secrets as the vault sealed them.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::keys;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::page::{Limit, Page};
use crate::vault::root::KeyId;
use crate::vault::{Binding, Policy, Sealed};

/// How long a replaced version can be brought back.
pub const PREVIOUS_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A credential with its newest version.
#[derive(Clone, Debug)]
pub struct Credential {
    pub credential_id: String,
    pub name: String,
    pub notes: Option<String>,
    pub expires_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub updated_by: String,
    pub version: Version,
}

/// A version: the policy that its seal binds, and the seal.
#[derive(Clone, Debug)]
pub struct Version {
    pub number: i64,
    pub policy: Policy,
    pub public_key: Option<String>,
    pub sealed: Sealed,
    /// Since when the secret is this one; older than the version if only its policy was narrowed
    pub secret_at: Timestamp,
    pub created_at: Timestamp,
    pub created_by: String,
    pub replaced_at: Option<Timestamp>,
}

/// A credential to write down, sealed for `credential_id` and version 1.
#[derive(Clone, Debug)]
pub struct NewCredential {
    pub credential_id: String,
    pub name: String,
    pub notes: Option<String>,
    pub expires_at: Option<Timestamp>,
    pub policy: Policy,
    pub public_key: Option<String>,
    pub sealed: Sealed,
    pub now: Timestamp,
    pub by: String,
}

/// Which credentials [`list`] returns.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub target: Option<String>,
    pub kind: Option<String>,
    /// Only those that have expired by then
    pub expires_before: Option<Timestamp>,
}

/// What is to become of the version before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// Its secret is another one and may be wanted back.
    Keep,
    /// It holds the same secret under a wider policy.
    Drop,
}

const SELECT: &str = "select c.credential_id, c.name, c.notes, c.expires_at, c.used_at, c.created_at, c.updated_at,
       c.updated_by, v.version, v.policy, v.public_key, v.key_id, v.wrapped, v.value, v.secret_at, v.created_at,
       v.created_by, v.replaced_at
     from credentials c join credential_versions v using (credential_id)";

const INSERT: &str = "insert into credentials (credential_id, name, kind, target, version, notes, expires_at,
       created_at, updated_at, updated_by)
     values (?1, ?2, ?3, ?4, 1, ?5, ?6, ?7, ?7, ?8)";

const INSERT_VERSION: &str = "insert into credential_versions (credential_id, version, policy, public_key, key_id,
       wrapped, value, secret_at, created_at, created_by)
     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// Where the version's columns begin in [`SELECT`].
const VERSION_AT: usize = 8;

impl Credential {
    fn read(row: &Row<'_>) -> rusqlite::Result<Credential> {
        Ok(Credential {
            credential_id: row.get(0)?,
            name: row.get(1)?,
            notes: row.get(2)?,
            expires_at: row.get(3)?,
            used_at: row.get(4)?,
            created_at: row.get(5)?,
            updated_at: row.get(6)?,
            updated_by: row.get(7)?,
            version: Version::read(row)?,
        })
    }

    pub fn binding(&self) -> Binding<'_> {
        self.version.binding(&self.credential_id)
    }
}

impl Version {
    fn read(row: &Row<'_>) -> rusqlite::Result<Version> {
        let at = VERSION_AT;
        let (policy, key_id): (String, String) = (row.get(at + 1)?, row.get(at + 3)?);
        Ok(Version {
            number: row.get(at)?,
            policy: serde_json::from_str(&policy).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(at + 1, rusqlite::types::Type::Text, error.into())
            })?,
            public_key: row.get(at + 2)?,
            sealed: Sealed {
                key_id: keys::parse(at + 3, &key_id)?,
                wrapped: row.get(at + 4)?,
                value: row.get(at + 5)?,
            },
            secret_at: row.get(at + 6)?,
            created_at: row.get(at + 7)?,
            created_by: row.get(at + 8)?,
            replaced_at: row.get(at + 9)?,
        })
    }

    pub fn binding<'a>(&'a self, credential_id: &'a str) -> Binding<'a> {
        Binding { credential_id, version: self.number.unsigned_abs(), policy: &self.policy }
    }
}

pub fn get(conn: &Connection, name: &str) -> Result<Option<Credential>> {
    let sql = format!("{SELECT} where c.name = ?1 and v.version = c.version");
    Ok(conn.prepare_cached(&sql)?.query_row([name], Credential::read).optional()?)
}

/// The version before the newest, while it is kept.
pub fn previous(conn: &Connection, name: &str, now: Timestamp) -> Result<Option<Credential>> {
    let sql = format!(
        "{SELECT} where c.name = ?1 and v.version < c.version and ?2 < v.replaced_at order by v.version desc limit 1"
    );
    Ok(conn.prepare_cached(&sql)?.query_row(params![name, now - PREVIOUS_KEPT], Credential::read).optional()?)
}

/// Those for a target, by name; whether their policies say so too is for the caller to see.
pub fn for_target(conn: &Connection, target: &str) -> Result<Vec<Credential>> {
    let sql = format!("{SELECT} where c.target = ?1 and v.version = c.version order by c.name limit 100");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([target], Credential::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Credentials after the name `after`.
pub fn list(conn: &Connection, filter: &Filter, after: Option<String>, limit: Limit) -> Result<Page<Credential>> {
    let sql = format!(
        "{SELECT} where v.version = c.version and (?1 is null or ?1 < c.name)
           and (?2 is null or c.target = ?2) and (?3 is null or c.kind = ?3)
           and (?4 is null or c.expires_at < ?4)
         order by c.name limit ?5"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(
        params![after, filter.target, filter.kind, filter.expires_before, limit.and_one()],
        Credential::read,
    )?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::of(rows, limit, |row| row.name.clone()))
}

/// Every version that is kept, for what has to know each secret.
pub fn all_versions(conn: &Connection) -> Result<Vec<Credential>> {
    let mut statement = conn.prepare_cached(&format!("{SELECT} order by c.name, v.version"))?;
    let rows = statement.query_map([], Credential::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub fn insert(tx: &Transaction<'_>, new: &NewCredential) -> Result<()> {
    let taken: bool = tx
        .prepare_cached("select exists (select 1 from credentials where name = ?1)")?
        .query_row([&new.name], |row| row.get(0))?;
    if taken {
        return Err(Error::conflict(format_args!("there is a credential `{}` already", new.name)));
    }
    let policy = &new.policy;
    tx.prepare_cached(INSERT)?.execute(params![
        new.credential_id,
        new.name,
        policy.kind.word(),
        policy.target,
        new.notes,
        new.expires_at,
        new.now,
        new.by
    ])?;
    insert_version(
        tx,
        &new.credential_id,
        &Version {
            number: 1,
            policy: new.policy.clone(),
            public_key: new.public_key.clone(),
            sealed: new.sealed.clone(),
            secret_at: new.now,
            created_at: new.now,
            created_by: new.by.clone(),
            replaced_at: None,
        },
    )
}

/// Makes `version` the newest; fails if another was meanwhile.
pub fn replace(tx: &Transaction<'_>, credential_id: &str, version: &Version, previous: Previous) -> Result<()> {
    let changed = tx
        .prepare_cached(
            "update credentials set version = ?2, kind = ?3, target = ?4, updated_at = ?5, updated_by = ?6
             where credential_id = ?1 and version = ?2 - 1",
        )?
        .execute(params![
            credential_id,
            version.number,
            version.policy.kind.word(),
            version.policy.target,
            version.created_at,
            version.created_by
        ])?;
    if changed != 1 {
        return Err(Error::conflict("the credential was changed or removed meanwhile").with_hint("call again"));
    }
    let before = version.number - 1;
    let sql = match previous {
        Previous::Keep => "update credential_versions set replaced_at = ?3 where credential_id = ?1 and version = ?2",
        Previous::Drop => {
            "delete from credential_versions where credential_id = ?1 and version = ?2 and ?3 is not null"
        }
    };
    tx.prepare_cached(sql)?.execute(params![credential_id, before, version.created_at])?;
    if previous == Previous::Keep {
        tx.prepare_cached("delete from credential_versions where credential_id = ?1 and version < ?2")?
            .execute(params![credential_id, before])?;
    }
    insert_version(tx, credential_id, version)
}

/// Notes and expiry, which no seal binds.
pub fn describe(
    tx: &Transaction<'_>,
    credential_id: &str,
    notes: Option<&str>,
    expires_at: Option<Timestamp>,
) -> Result<()> {
    tx.prepare_cached("update credentials set notes = ?2, expires_at = ?3 where credential_id = ?1")?
        .execute(params![credential_id, notes, expires_at])?;
    Ok(())
}

fn insert_version(tx: &Transaction<'_>, credential_id: &str, version: &Version) -> Result<()> {
    let is_live: bool = tx
        .prepare_cached("select exists (select 1 from root_keys where key_id = ?1 and state <> 'retired')")?
        .query_row([version.sealed.key_id.to_string()], |row| row.get(0))?;
    if !is_live {
        return Err(Error::conflict("the root key was changed while the secret was sealed").with_hint("call again"));
    }
    let policy = serde_json::to_string(&version.policy).map_err(Error::internal)?;
    tx.prepare_cached(INSERT_VERSION)?.execute(params![
        credential_id,
        version.number,
        policy,
        version.public_key,
        version.sealed.key_id.to_string(),
        version.sealed.wrapped,
        version.sealed.value,
        version.secret_at,
        version.created_at,
        version.created_by
    ])?;
    Ok(())
}

pub fn remove(tx: &Transaction<'_>, credential_id: &str) -> Result<()> {
    let removed = tx.prepare_cached("delete from credentials where credential_id = ?1")?.execute([credential_id])?;
    if removed == 0 {
        return Err(Error::not_found("the credential was removed meanwhile"));
    }
    Ok(())
}

pub fn note_use(tx: &Transaction<'_>, credential_id: &str, now: Timestamp) -> Result<()> {
    tx.prepare_cached("update credentials set used_at = ?2 where credential_id = ?1")?
        .execute(params![credential_id, now])?;
    Ok(())
}

/// Drops replaced versions whose time is over; says how many.
pub fn expire(tx: &Transaction<'_>, now: Timestamp) -> Result<usize> {
    Ok(tx
        .prepare_cached("delete from credential_versions where replaced_at is not null and replaced_at <= ?1")?
        .execute([now - PREVIOUS_KEPT])?)
}

/// How many versions hang on a root key.
pub fn count_under(conn: &Connection, key_id: KeyId) -> Result<i64> {
    let sql = "select count(*) from credential_versions where key_id = ?1";
    Ok(conn.prepare_cached(sql)?.query_row([key_id.to_string()], |row| row.get(0))?)
}

/// Up to `limit` versions that hang on a root key.
pub fn under(conn: &Connection, key_id: KeyId, limit: usize) -> Result<Vec<Credential>> {
    let mut statement = conn.prepare_cached(&format!("{SELECT} where v.key_id = ?1 limit ?2"))?;
    let rows = statement.query_map(params![key_id.to_string(), limit as i64], Credential::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Hangs a version on another root key.
pub fn rehang(tx: &Transaction<'_>, credential: &Credential, key_id: KeyId, wrapped: &[u8]) -> Result<()> {
    let sql = "update credential_versions set key_id = ?3, wrapped = ?4 where credential_id = ?1 and version = ?2";
    tx.prepare_cached(sql)?.execute(params![
        credential.credential_id,
        credential.version.number,
        key_id.to_string(),
        wrapped
    ])?;
    Ok(())
}
