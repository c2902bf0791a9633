//! Bearer tokens: kept as keyed hashes, so that the file alone gives nobody a token.
//!
//! A name is given once. What its holder wrote, planned and was granted stands under that name,
//! so a revoked token leaves its row behind.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::level::Level;
use crate::secret::Key;

#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    pub level: Level,
    pub toolsets: Option<Vec<String>>,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
}

/// How far `last_used_at` may lag behind, so that a busy token does not write at every call.
const USE_NOTED_EVERY_MS: i64 = 60_000;

const COLUMNS: &str = "name, level, toolsets, created_at, created_by, expires_at, last_used_at";

impl Token {
    fn read(row: &Row<'_>) -> rusqlite::Result<Token> {
        let toolsets: Option<String> = row.get(2)?;
        Ok(Token {
            name: row.get(0)?,
            // What this program did not write is no reason to give more than the least.
            level: row.get::<_, u8>(1).ok().and_then(Level::from_number).unwrap_or(Level::Monitor),
            toolsets: toolsets.map(|json| serde_json::from_str(&json).unwrap_or_default()),
            created_at: row.get(3)?,
            created_by: row.get(4)?,
            expires_at: row.get(5)?,
            last_used_at: row.get(6)?,
        })
    }

    /// Whether its use should be noted now.
    pub fn is_use_due(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| last.as_millis() + USE_NOTED_EVERY_MS <= now.as_millis())
    }
}

/// What is stored in place of a token: BLAKE3 under a key that derives from the root.
pub fn hash(key: &Key, token: &str) -> [u8; 32] {
    *blake3::keyed_hash(key.expose(), token.as_bytes()).as_bytes()
}

pub fn insert(tx: &Transaction<'_>, token: &Token, hash: &[u8; 32]) -> Result<()> {
    let toolsets = token.toolsets.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
    let taken: Option<bool> = tx
        .prepare_cached("select revoked_at is not null from tokens where name = ?1")?
        .query_row([&token.name], |row| row.get(0))
        .optional()?;
    if let Some(is_revoked) = taken {
        let what = if is_revoked { "there was a token" } else { "there is a token" };
        return Err(Error::conflict(format_args!("{what} `{}` already", token.name))
            .with_hint("choose another name: what was done under this one stays with its first holder"));
    }
    tx.prepare_cached(
        "insert into tokens (name, hash, level, toolsets, created_at, created_by, expires_at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        token.name,
        hash,
        token.level.number(),
        toolsets,
        token.created_at,
        token.created_by,
        token.expires_at
    ])?;
    Ok(())
}

/// The token with that hash, unless it is revoked or has expired. Looking up a keyed hash in an index tells
/// an attacker nothing by its timing, since the hash cannot be steered without the key.
pub fn find(conn: &Connection, hash: &[u8; 32], now: Timestamp) -> Result<Option<Token>> {
    let sql = format!("select {COLUMNS} from tokens where hash = ?1 and revoked_at is null");
    let token = conn.prepare_cached(&sql)?.query_row([hash], Token::read).optional()?;
    Ok(token.filter(|token| token.expires_at.is_none_or(|end| now < end)))
}

pub fn note_use(tx: &Transaction<'_>, name: &str, now: Timestamp) -> Result<()> {
    tx.prepare_cached("update tokens set last_used_at = ?2 where name = ?1")?.execute(params![name, now])?;
    Ok(())
}

pub fn list(conn: &Connection) -> Result<Vec<Token>> {
    let sql = format!("select {COLUMNS} from tokens where revoked_at is null order by name limit 1000");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map([], Token::read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Ends a token for good and says how its name is spelled.
pub fn revoke(tx: &Transaction<'_>, name: &str, now: Timestamp) -> Result<String> {
    let sql = "update tokens set revoked_at = ?2 where name = ?1 and revoked_at is null returning name";
    let revoked = tx.prepare_cached(sql)?.query_row(params![name, now], |row| row.get(0)).optional()?;
    revoked.ok_or_else(|| Error::not_found(format_args!("no token `{name}`")))
}

/// Whether there was a token of that name and it holds no longer.
pub fn has_ended(conn: &Connection, name: &str, now: Timestamp) -> Result<bool> {
    let sql = "select exists (select 1 from tokens
               where name = ?1 and (revoked_at is not null or expires_at <= ?2))";
    Ok(conn.prepare_cached(sql)?.query_row(params![name, now], |row| row.get(0))?)
}
