//! Finding records and allocations by words: beginnings of words first, parts of words if there are none.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::error::{Error, Result};
use crate::page::{Limit, Page};

/// The most words of a query that count.
const TERMS: usize = 12;
/// How far a search can be paged.
const DEEPEST: usize = 10_000;
/// Characters of a snippet before and after the first hit.
const AROUND: usize = 60;

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Hit {
    pub kind: Kind,
    pub name: String,
    pub snippet: String,
}

/// Where a search goes on, and in which of the two ways.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Position {
    by_parts: bool,
    offset: usize,
}

const ENTRY: &str = "select entry_id, name, words from inventory_entries where kind = ?1 and name = ?2";
const INSERT: &str = "insert into inventory_entries (kind, name, words) values (?1, ?2, ?3)";
const INSERT_WORDS: &str = "insert into inventory_words (rowid, name, words) values (?1, ?2, ?3)";
const DELETE: &str = "delete from inventory_entries where entry_id = ?1";
const DELETE_WORDS: &str =
    "insert into inventory_words (inventory_words, rowid, name, words) values ('delete', ?1, ?2, ?3)";

/// A hit in the name counts ten times one in the words.
const MATCHING: &str = "select kind, inventory_entries.name, inventory_entries.words
     from inventory_words join inventory_entries on entry_id = inventory_words.rowid
     where inventory_words match ?1 and (?2 is null or kind = ?2)
     order by bm25(inventory_words, 10.0, 1.0), entry_id limit ?3 offset ?4";

/// Makes the entry findable by `words`, in the place of what it was found by.
pub fn index(tx: &Transaction<'_>, kind: Kind, name: &str, words: &[String]) -> Result<()> {
    forget(tx, kind, name)?;
    let words = words.join("; ");
    tx.prepare_cached(INSERT)?.execute(params![kind, name, words])?;
    tx.prepare_cached(INSERT_WORDS)?.execute(params![tx.last_insert_rowid(), name, words])?;
    Ok(())
}

pub fn forget(tx: &Transaction<'_>, kind: Kind, name: &str) -> Result<()> {
    let entry: Option<(i64, String, String)> = tx
        .prepare_cached(ENTRY)?
        .query_row(params![kind, name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((entry_id, name, words)) = entry else { return Ok(()) };
    tx.prepare_cached(DELETE_WORDS)?.execute(params![entry_id, name, words])?;
    tx.prepare_cached(DELETE)?.execute([entry_id])?;
    Ok(())
}

/// Entries that have every word of `query`.
pub fn search(
    conn: &Connection,
    query: &str,
    kind: Option<Kind>,
    from: Option<Position>,
    limit: Limit,
) -> Result<Page<Hit>> {
    let terms: Vec<&str> = query.split_whitespace().take(TERMS).collect();
    if terms.is_empty() {
        return Err(Error::invalid("query", "has no words"));
    }
    let start = from.unwrap_or(Position { by_parts: false, offset: 0 });
    if DEEPEST < start.offset {
        return Err(Error::invalid("cursor", "a search goes no further").with_hint("use more words, or `kind`"));
    }
    if !start.by_parts {
        let rows = beginnings(conn, &terms, kind, start.offset, limit)?;
        if !rows.is_empty() || from.is_some() {
            return Ok(page(rows, &terms, start, limit));
        }
    }
    let start = Position { by_parts: true, ..start };
    Ok(page(parts(conn, &terms, kind, start.offset, limit)?, &terms, start, limit))
}

type Found = (Kind, String, String);

fn page(rows: Vec<Found>, terms: &[&str], start: Position, limit: Limit) -> Page<Hit> {
    let hits =
        rows.into_iter().map(|(kind, name, words)| Hit { kind, name, snippet: snippet(&words, terms) }).collect();
    Page::of(hits, limit, |_| Position { offset: start.offset + limit.get(), ..start })
}

fn beginnings(
    conn: &Connection,
    terms: &[&str],
    kind: Option<Kind>,
    offset: usize,
    limit: Limit,
) -> Result<Vec<Found>> {
    // A term without a letter or digit is no token and would match nothing.
    let tokens = terms.iter().filter(|term| term.chars().any(char::is_alphanumeric));
    let phrases: Vec<String> = tokens.map(|term| format!("\"{}\"*", term.replace('"', "\"\""))).collect();
    if phrases.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = conn.prepare_cached(MATCHING)?;
    let rows = statement.query_map(params![phrases.join(" "), kind, limit.and_one(), offset as i64], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

fn parts(conn: &Connection, terms: &[&str], kind: Option<Kind>, offset: usize, limit: Limit) -> Result<Vec<Found>> {
    let conditions: Vec<String> =
        (4..).take(terms.len()).map(|n| format!("name || ' ' || words like ?{n} escape '\\'")).collect();
    let sql = format!(
        "select kind, name, words from inventory_entries where (?1 is null or kind = ?1) and {}
         order by name, kind limit ?2 offset ?3",
        conditions.join(" and ")
    );
    let kind = kind.map_or(Value::Null, |kind| kind.word().to_owned().into());
    let mut values = vec![kind, Value::Integer(limit.and_one()), Value::Integer(offset as i64)];
    values.extend(terms.iter().map(|term| Value::Text(format!("%{}%", escaped(term)))));
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?)
}

fn escaped(term: &str) -> String {
    term.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The surroundings of the first term that occurs, or else the beginning.
fn snippet(words: &str, terms: &[&str]) -> String {
    let characters: Vec<char> = words.chars().collect();
    let lower: Vec<char> = characters.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
    let hit = terms.iter().find_map(|term| {
        let term: Vec<char> = term.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect();
        lower.windows(term.len().max(1)).position(|window| window == term)
    });
    let from = hit.unwrap_or(0).saturating_sub(AROUND);
    let to = (hit.unwrap_or(0) + AROUND).min(characters.len());
    let mut text: String = characters[from..to].iter().map(|c| if c.is_control() { ' ' } else { *c }).collect();
    if 0 < from {
        text.insert(0, '…');
    }
    if to < characters.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_is_cut_around_the_hit() {
        let text = format!("{}Debian{}", "a ".repeat(100), " z".repeat(100));
        let cut = snippet(&text, &["nothing", "debian"]);
        assert!(cut.contains("Debian") && cut.starts_with('…') && cut.ends_with('…'), "{cut}");
        assert_eq!(snippet("os Über\nx", &["über"]), "os Über x");
        assert_eq!(snippet("", &["x"]), "");
    }
}
