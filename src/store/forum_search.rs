//! Full text over titles, authors and posts.
//!
//! Invariant: what the user types never reaches MATCH as syntax: it is cut into words,
//! each of them quoted, each the beginning of a word in the text.
//!
//! Ranking every hit of a very common word costs more than it tells, so hits are taken
//! in windows of the newest; each window is ranked by itself, the newest window first.
//! Words that begin nowhere are then looked for within words, by a bounded scan.

use std::cmp::Ordering;

use rusqlite::{Connection, OptionalExtension, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forum::shorten;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor, encode_cursor};

const WORDS_MAX: usize = 16;
/// Hits that are ranked against each other.
const WINDOW: i64 = 1000;
/// Posts that a scan looks at, the newest ones.
const SCAN: i64 = 50_000;
const SNIPPET_WORDS: i64 = 32;
const SNIPPET_CHARS: usize = 400;

/// Where to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Within {
    Title,
    Body,
    Author,
    #[default]
    All,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Hit {
    pub thread_id: i64,
    pub post_id: i64,
    /// Of the thread
    pub title: String,
    pub author: String,
    pub verified: String,
    pub snippet: String,
    pub created_at: Timestamp,
}

/// Where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
enum Position {
    /// In the window of hits up to `top`, after the one with this rank (as bits) and number.
    Ranked { top: i64, after: Option<(u64, i64)> },
    /// In the scan, below this post.
    Scan { before: i64 },
}

const WINDOW_FLOOR: &str = "select rowid from post_text where post_text match ?1 and rowid <= ?2
                            order by rowid desc limit 1 offset ?3";
const NEXT_BELOW: &str = "select rowid from post_text where post_text match ?1 and rowid < ?2
                          order by rowid desc limit 1";
const RANKS: &str = "select rowid, bm25(post_text, 6.0, 3.0, 1.0) from post_text
                     where post_text match ?1 and rowid between ?2 and ?3";
const HIT: &str = "select p.thread_id, p.post_id, t.title, p.author, p.verified, p.created_at,
                          snippet(post_text, -1, '', '', '…', ?3)
                   from post_text join posts p on p.post_id = post_text.rowid join threads t using (thread_id)
                   where post_text match ?1 and post_text.rowid = ?2";
/// Each pattern of the JSON list ?2 has to be found in one of the columns that ?3 names.
const SCANNED: &str = "
    select p.thread_id, p.post_id, t.title, p.author, p.verified, p.created_at,
           case when ?3 = 'title' then text.title when ?3 = 'author' then text.author
                when text.body <> '' then text.body else text.title end
    from (select rowid as post_id, title, author, body from post_text
          where rowid < ?1 order by rowid desc limit ?4) as text
    join posts p on p.post_id = text.post_id join threads t on t.thread_id = p.thread_id
    where not exists (
        select 1 from json_each(?2) as pattern
        where not (
            (?3 in ('title', 'all') and text.title like pattern.value escape '\\')
            or (?3 in ('author', 'all') and text.author like pattern.value escape '\\')
            or (?3 in ('body', 'all') and text.body like pattern.value escape '\\')
        )
    )
    order by p.post_id desc limit ?5";

impl Within {
    fn word(self) -> &'static str {
        match self {
            Within::Title => "title",
            Within::Body => "body",
            Within::Author => "author",
            Within::All => "all",
        }
    }
}

/// Posts in which every word of `text` begins a word; failing that, posts that contain each of them.
pub fn search(conn: &Connection, text: &str, within: Within, limit: Limit, cursor: Option<&str>) -> Result<Page<Hit>> {
    let words = words(text);
    if words.is_empty() {
        return Ok(Page { items: Vec::new(), next_cursor: None });
    }
    let expression = expression(&words, within);
    match (decode_cursor(cursor)?, expression) {
        (Some(Position::Scan { before }), _) => scan(conn, &words, within, limit, before),
        (Some(Position::Ranked { top, after }), Some(expression)) => {
            let after = after.map(|(rank, post_id)| (f64::from_bits(rank), post_id));
            ranked(conn, &words, &expression, limit, top, after)
        }
        (None, Some(expression)) => {
            let page = ranked(conn, &words, &expression, limit, i64::MAX, None)?;
            if page.items.is_empty() { scan(conn, &words, within, limit, i64::MAX) } else { Ok(page) }
        }
        (_, None) => scan(conn, &words, within, limit, i64::MAX),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|word| word.replace('\0', "")).filter(|word| !word.is_empty()).take(WORDS_MAX).collect()
}

/// The words as an expression for MATCH; a word of nothing but signs is in no index and left out.
fn expression(words: &[String], within: Within) -> Option<String> {
    let indexed = words.iter().filter(|word| word.chars().any(char::is_alphanumeric));
    let quoted: Vec<String> = indexed.map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect();
    if quoted.is_empty() {
        return None;
    }
    let all = quoted.join(" AND ");
    Some(match within {
        Within::All => all,
        column => format!("{{{}}} : ({all})", column.word()),
    })
}

fn ranked(
    conn: &Connection,
    words: &[String],
    expression: &str,
    limit: Limit,
    top: i64,
    after: Option<(f64, i64)>,
) -> Result<Page<Hit>> {
    let floor: Option<i64> = conn
        .prepare_cached(WINDOW_FLOOR)?
        .query_row(params![expression, top, WINDOW - 1], |row| row.get(0))
        .optional()?;
    let mut ranks = conn
        .prepare_cached(RANKS)?
        .query_map(params![expression, floor.unwrap_or(i64::MIN), top], |row| Ok((row.get(0)?, row.get(1)?)))?
        .map(|row| row.map(|(post_id, rank): (i64, f64)| (rank, post_id)))
        .collect::<rusqlite::Result<Vec<(f64, i64)>>>()?;
    ranks.sort_by(in_order);
    if let Some(after) = after {
        ranks.retain(|hit| in_order(&after, hit) == Ordering::Less);
    }

    let more = limit.get() < ranks.len();
    ranks.truncate(limit.get());
    let mut statement = conn.prepare_cached(HIT)?;
    let mut items = Vec::with_capacity(ranks.len());
    for (_, post_id) in &ranks {
        let hit = statement.query_row(params![expression, post_id, SNIPPET_WORDS], |row| read_hit(row, words));
        items.extend(hit.optional()?);
    }

    let next = match (more, ranks.last(), floor) {
        (true, Some(&(rank, post_id)), _) => Some(Position::Ranked { top, after: Some((rank.to_bits(), post_id)) }),
        (false, _, Some(floor)) => conn
            .prepare_cached(NEXT_BELOW)?
            .query_row(params![expression, floor], |row| row.get(0))
            .optional()?
            .map(|top| Position::Ranked { top, after: None }),
        _ => None,
    };
    Ok(Page { items, next_cursor: next.map(|position| encode_cursor(&position)) })
}

/// Better ranks, which are lower, come first, and newer posts among equals.
fn in_order(a: &(f64, i64), b: &(f64, i64)) -> Ordering {
    a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))
}

fn scan(conn: &Connection, words: &[String], within: Within, limit: Limit, before: i64) -> Result<Page<Hit>> {
    let patterns: Vec<String> = words.iter().map(|word| pattern(word)).collect();
    let patterns = serde_json::to_string(&patterns).expect("a list of texts is JSON");
    let hits = conn
        .prepare_cached(SCANNED)?
        .query_map(params![before, patterns, within.word(), SCAN, limit.get() as i64 + 1], |row| read_hit(row, words))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(Page::of(hits, limit, |last| Position::Scan { before: last.post_id }))
}

/// The word anywhere in a text, its wildcards taken literally.
fn pattern(word: &str) -> String {
    let mut pattern = String::from("%");
    for letter in word.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

fn read_hit(row: &rusqlite::Row<'_>, words: &[String]) -> rusqlite::Result<Hit> {
    let text: String = row.get(6)?;
    Ok(Hit {
        thread_id: row.get(0)?,
        post_id: row.get(1)?,
        title: row.get(2)?,
        author: row.get(3)?,
        verified: row.get(4)?,
        snippet: around(&text, words),
        created_at: row.get(5)?,
    })
}

/// One line of the text around the first word found; the text itself if it is short.
fn around(text: &str, words: &[String]) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().nth(SNIPPET_CHARS).is_none() {
        return line;
    }
    // Lower-casing ASCII keeps every position.
    let lower = line.to_ascii_lowercase();
    let found = words.iter().filter_map(|word| lower.find(&word.to_ascii_lowercase())).min().unwrap_or(0);
    let before = line[..found].chars().count();
    let skipped = before.saturating_sub(SNIPPET_CHARS / 4);
    let rest: String = line.chars().skip(skipped).collect();
    let rest = shorten(rest, SNIPPET_CHARS);
    if skipped == 0 { rest } else { format!("…{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_bounded() {
        let typed = words("nas \"OR\" body:x \0 a\0b -- NEAR(");
        assert_eq!(typed, ["nas", "\"OR\"", "body:x", "ab", "--", "NEAR("]);
        assert_eq!(
            expression(&typed, Within::Title).unwrap(),
            "{title} : (\"nas\"* AND \"\"\"OR\"\"\"* AND \"body:x\"* AND \"ab\"* AND \"NEAR(\"*)"
        );
        assert_eq!(expression(&words("-- \u{1f600}"), Within::All), None);
        assert_eq!(words(&"w ".repeat(99)).len(), WORDS_MAX);
    }

    #[test]
    fn wildcards_are_letters() {
        assert_eq!(pattern("100%_\\"), "%100\\%\\_\\\\%");
    }

    #[test]
    fn a_snippet_is_one_short_line_around_the_word() {
        assert_eq!(around("one\n two", &[]), "one two");
        let long = format!("{} Needle {}", "ä".repeat(2000), "b".repeat(2000));
        let snippet = around(&long, &["needle".to_owned()]);
        assert!(snippet.contains("Needle"), "{snippet}");
        assert!(snippet.chars().count() <= SNIPPET_CHARS + 2);
    }
}
