//! Full text over titles, authors and posts.
//!
//! Invariant: what the user types never reaches MATCH as syntax: it is cut into words,
//! each of them quoted, each the beginning of a word in the text.
//!
//! Ranking every hit of a very common word costs more than it tells, so hits are taken
//! in windows of the newest; each window is ranked by itself, the newest window first.
//! Words that begin nowhere are then looked for within words: each stands for the words that
//! have it ([`forum_words`]). What is no part of a word, or of too many, is left to a scan
//! of the newest posts.

use std::cmp::Ordering;
use std::collections::HashMap;

use rusqlite::{Connection, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forum::shorten;
use super::forum_words::{self, Parts, is_of_a_word};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::page::{Limit, Page, decode_cursor, encode_cursor};

const WORDS_MAX: usize = 16;
/// Hits that are ranked against each other.
const WINDOW: usize = 1000;
/// Posts that a scan looks at for one page, the newest ones.
const SCAN: i64 = 50_000;
const SNIPPET_WORDS: i64 = 32;
const SNIPPET_CHARS: usize = 400;

/// Where to look
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
    Ranked { part: Part, top: i64, after: Option<(u64, i64)> },
    /// In the scan, below this post.
    Scan { before: i64 },
}

/// Which part of a word is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Beginning,
    Any,
}

const RANKS: &str = "select bm25(post_text, 6.0, 3.0, 1.0), rowid from post_text
                     where post_text match ?1 and rowid <= ?2 order by rowid desc limit ?3";
/// One pass over the window for all hits of a page: each start of a match gathers its words anew,
/// so the plus and the cross join keep SQLite from starting one for every number of the list.
const HITS: &str = "select p.thread_id, p.post_id, t.title, p.author, p.verified, p.created_at,
                           snippet(post_text, -1, '', '', '…', ?4)
                    from post_text cross join posts p on p.post_id = post_text.rowid join threads t using (thread_id)
                    where post_text match ?1 and post_text.rowid between ?2 and ?3
                      and +post_text.rowid in (select value from json_each(?5))";
const LAST: &str = "select coalesce(max(post_id), 0) from posts";
/// Each pattern of the JSON list ?3 has to be found in one of the places that ?4 names.
const SCANNED: &str = "
    select p.thread_id, p.post_id, t.title, p.author, p.verified, p.created_at,
           case when ?4 = 'author' then p.author when ?4 = 'title' or p.body = '' then t.title else p.body end
    from posts p cross join threads t on t.thread_id = p.thread_id
    where p.post_id between ?1 and ?2 and not exists (
        select 1 from json_each(?3) as pattern
        where not (
            (?4 in ('body', 'all') and p.body like pattern.value escape '\\')
            or (?4 in ('author', 'all') and p.deleted_at is null and p.author like pattern.value escape '\\')
            or (?4 in ('title', 'all') and t.title like pattern.value escape '\\'
                and p.post_id = (select min(post_id) from posts where thread_id = p.thread_id))
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

    /// The expression, about these columns only.
    fn narrowed(self, expression: String) -> String {
        match self {
            Within::All => expression,
            column => format!("{{{}}} : ({expression})", column.word()),
        }
    }
}

/// Posts in which every word of `text` begins a word; failing that, posts that contain each of them.
pub fn search(conn: &Connection, text: &str, within: Within, limit: Limit, cursor: Option<&str>) -> Result<Page<Hit>> {
    let words = words(text);
    if words.is_empty() {
        return Ok(Page::none());
    }
    let position = decode_cursor(cursor)?;
    let search = Search { conn, words: &words, within, limit };
    match position {
        Some(Position::Scan { before }) => search.scan(before),
        Some(Position::Ranked { part: Part::Beginning, top, after }) => match expression(&words, within) {
            Some(expression) => search.ranked(&expression, Part::Beginning, top, after),
            None => Ok(Page::none()),
        },
        Some(Position::Ranked { part: Part::Any, top, after }) => search.inside(top, after),
        None => {
            if let Some(expression) = expression(&words, within) {
                let page = search.ranked(&expression, Part::Beginning, i64::MAX, None)?;
                if !page.items.is_empty() {
                    return Ok(page);
                }
            }
            search.inside(i64::MAX, None)
        }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(|word| word.replace('\0', "")).filter(|word| !word.is_empty()).take(WORDS_MAX).collect()
}

/// The words as an expression for MATCH; a word of nothing but signs is in no index and left out.
fn expression(words: &[String], within: Within) -> Option<String> {
    let indexed = words.iter().filter(|word| word.chars().any(char::is_alphanumeric));
    let quoted: Vec<String> = indexed.map(|word| quoted(word)).collect();
    if quoted.is_empty() {
        return None;
    }
    Some(within.narrowed(quoted.join(" AND ")))
}

/// The word as a text, and as a beginning unless a sign ends it: `10.0.1.` is not `10.0.10`, `c++` not `cron`.
fn quoted(word: &str) -> String {
    let beginning = if word.ends_with(is_of_a_word) { "*" } else { "" };
    format!("\"{}\"{beginning}", word.replace('"', "\"\""))
}

/// What one call looks for.
struct Search<'a> {
    conn: &'a Connection,
    words: &'a [String],
    within: Within,
    limit: Limit,
}

impl Search<'_> {
    fn ranked(&self, expression: &str, part: Part, top: i64, after: Option<(u64, i64)>) -> Result<Page<Hit>> {
        let mut window = self
            .conn
            .prepare_cached(RANKS)?
            .query_map(params![expression, top, WINDOW as i64 + 1], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(f64, i64)>>>()?;
        let next_window = if WINDOW < window.len() { window.pop() } else { None };
        window.sort_by(in_order);
        if let Some((rank, post_id)) = after {
            let after = (f64::from_bits(rank), post_id);
            window.retain(|hit| in_order(&after, hit) == Ordering::Less);
        }

        let more = self.limit.get() < window.len();
        window.truncate(self.limit.get());
        let next = match (more, window.last(), next_window) {
            (true, Some(&(rank, post_id)), _) => {
                Some(Position::Ranked { part, top, after: Some((rank.to_bits(), post_id)) })
            }
            (false, _, Some((_, top))) => Some(Position::Ranked { part, top, after: None }),
            _ => None,
        };
        let items = read_hits(self.conn, self.words, expression, &window)?;
        Ok(Page { items, next_cursor: next.map(|position| encode_cursor(&position)) })
    }

    /// Posts with words that the typed ones are any part of.
    fn inside(&self, top: i64, after: Option<(u64, i64)>) -> Result<Page<Hit>> {
        match forum_words::expression(self.conn, self.words)? {
            Parts::Nowhere => Ok(Page::none()),
            Parts::Expression(expression) => self.ranked(&self.within.narrowed(expression), Part::Any, top, after),
            Parts::TooMany => self.scan(top.saturating_add(1)),
        }
    }

    /// Looks at the posts themselves, the newest below `before`.
    fn scan(&self, before: i64) -> Result<Page<Hit>> {
        let patterns = json(&self.words.iter().map(|word| pattern(word)).collect::<Vec<_>>());
        let last: i64 = self.conn.prepare_cached(LAST)?.query_row([], |row| row.get(0))?;
        let newest = last.min(before.saturating_sub(1));
        let oldest = newest.saturating_sub(SCAN);
        let hits = self
            .conn
            .prepare_cached(SCANNED)?
            .query_map(params![oldest, newest, patterns, self.within.word(), self.limit.get() as i64 + 1], |row| {
                read_hit(row, self.words)
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Page::of(hits, self.limit, |last| Position::Scan { before: last.post_id }))
    }
}

/// The posts behind the ranks, in their order.
fn read_hits(conn: &Connection, words: &[String], expression: &str, ranks: &[(f64, i64)]) -> Result<Vec<Hit>> {
    let order: HashMap<i64, usize> = ranks.iter().enumerate().map(|(index, (_, post_id))| (*post_id, index)).collect();
    let (Some(lowest), Some(highest)) = (order.keys().min(), order.keys().max()) else { return Ok(Vec::new()) };
    let numbers = json(&order.keys().collect::<Vec<_>>());
    let mut hits = conn
        .prepare_cached(HITS)?
        .query_map(params![expression, lowest, highest, SNIPPET_WORDS, numbers], |row| read_hit(row, words))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    hits.sort_by_key(|hit| order.get(&hit.post_id));
    Ok(hits)
}

/// Better ranks, which are lower, come first, and newer posts among equals.
fn in_order(a: &(f64, i64), b: &(f64, i64)) -> Ordering {
    a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))
}

fn json(list: &impl Serialize) -> String {
    serde_json::to_string(list).expect("a list of texts or numbers is JSON")
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
            "{title} : (\"nas\"* AND \"\"\"OR\"\"\" AND \"body:x\"* AND \"ab\"* AND \"NEAR(\")"
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
