//! The distinct words of all posts: they lead from a part of a word to the words that have it.
//!
//! There are far fewer words than posts, so an index of their trigrams is small where one of
//! the text would be several times the text. A word leaves with the last post that has it.
//!
//! Invariant: a word here is never cut where the index of posts goes on, so what a text has
//! within one of the index's words is within one of these.

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use crate::error::{Error, Result};

/// Longer ones, which are keys and encoded files, are found by their beginning only.
const CHARS_MAX: usize = 256;
/// Words that one part may stand for; a part of more of them is in so many posts that looking at the newest is quicker.
const STANDS_FOR: usize = 512;
/// What the index of parts looks up in one piece.
const TRIGRAM: usize = 3;
/// Follows each word in the index of parts, so that an ending is a part like any other.
const END: char = ' ';

const ADD: &str =
    "insert into post_words (word) select value from json_each(?1) where true on conflict (word) do nothing";
const IS_USED: &str = "select 1 from post_text where post_text match ?1 limit 1";
const REMOVE: &str = "delete from post_words where word = ?1";
const WITH_PART: &str = "select word from post_words
    where word_id in (select rowid from post_word_parts where post_word_parts match ?1 limit ?2)";
/// For parts that are shorter than a trigram: as they are written, but for the case of ASCII.
const WITH_LETTERS: &str = "select word from post_words where word like ?1 limit ?2";

/// What parts of words come to in an expression for MATCH.
#[derive(Debug, PartialEq, Eq)]
pub enum Parts {
    /// At least one of them is nowhere.
    Nowhere,
    Expression(String),
    /// One is in more words than an expression may hold, or none has a letter.
    TooMany,
}

/// Makes the words of these texts known.
pub fn add(tx: &Transaction<'_>, texts: &[&str]) -> Result<()> {
    let words: BTreeSet<String> = texts.iter().flat_map(|text| words(text)).collect();
    if !words.is_empty() {
        let list = serde_json::to_string(&words).map_err(Error::internal)?;
        tx.prepare_cached(ADD)?.execute([list])?;
    }
    Ok(())
}

/// Forgets those words of a text that left the posts with it.
pub fn remove_unused(tx: &Transaction<'_>, text: &str) -> Result<()> {
    let mut is_used = tx.prepare_cached(IS_USED)?;
    for word in words(text).collect::<BTreeSet<_>>() {
        if !is_used.exists([phrase(&[&word], Last::Whole)])? {
            tx.prepare_cached(REMOVE)?.execute([word])?;
        }
    }
    Ok(())
}

/// The words that the user typed, each standing for all words that it is a part of.
pub fn expression(conn: &Connection, typed: &[String]) -> Result<Parts> {
    let mut all = Vec::new();
    for word in typed {
        let pieces: Vec<&str> = word.split(|letter| !is_of_a_word(letter)).filter(|piece| !piece.is_empty()).collect();
        let Some((&first, rest)) = pieces.split_first() else { continue };
        let last = if word.ends_with(is_of_a_word) { Last::Beginning } else { Last::Whole };
        // A sign before it says that a word begins here.
        if !word.starts_with(is_of_a_word) {
            all.push(phrase(&pieces, last));
            continue;
        }
        // Where more follows, or a sign, the part is an ending.
        let is_ending = !rest.is_empty() || last == Last::Whole;
        let Some(words) = with_part(conn, first, is_ending)? else { return Ok(Parts::TooMany) };
        if words.is_empty() {
            return Ok(Parts::Nowhere);
        }
        let last = if rest.is_empty() { Last::Whole } else { last };
        let each = words.iter().map(|word| phrase(&[&[word.as_str()], rest].concat(), last));
        all.push(format!("({})", each.collect::<Vec<_>>().join(" OR ")));
    }
    Ok(if all.is_empty() { Parts::TooMany } else { Parts::Expression(all.join(" AND ")) })
}

/// The words that a part is within, unless they are too many.
fn with_part(conn: &Connection, part: &str, is_ending: bool) -> Result<Option<Vec<String>>> {
    let letters = part.chars().filter(|letter| !is_mark(*letter)).count();
    let end = if is_ending { END.to_string() } else { String::new() };
    let limit = STANDS_FOR as i64 + 1;
    let read = |sql: &str, wanted: String| -> Result<Vec<String>> {
        let mut statement = conn.prepare_cached(sql)?;
        let rows = statement.query_map(params![wanted, limit], |row| row.get(0))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    };
    let words = if TRIGRAM <= letters + end.len() {
        read(WITH_PART, format!("\"{part}{end}\""))?
    } else if is_ending {
        read(WITH_LETTERS, format!("%{part}"))?
    } else {
        read(WITH_LETTERS, format!("%{part}%"))?
    };
    Ok((words.len() <= STANDS_FOR).then_some(words))
}

/// How a phrase ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Whole,
    /// Its last word is the beginning of one.
    Beginning,
}

/// Words hold letters only, so nothing in them is syntax of MATCH.
fn phrase(words: &[&str], last: Last) -> String {
    let beginning = if last == Last::Beginning { "*" } else { "" };
    format!("\"{}\"{beginning}", words.join(" "))
}

/// The words of a text, in the case of ASCII alone: the indexes fold the rest, and alike.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter| !is_of_a_word(letter))
        .filter(|word| !word.is_empty() && word.chars().nth(CHARS_MAX).is_none())
        .map(str::to_ascii_lowercase)
}

/// Whatever the tokenizer of the posts takes for part of a word: letters, numbers, marks over
/// letters, letters of private use. More than that does no harm: the word is a phrase then.
pub(super) fn is_of_a_word(letter: char) -> bool {
    letter.is_alphanumeric() || is_mark(letter) || is_private(letter)
}

fn is_mark(letter: char) -> bool {
    matches!(letter, '\u{300}'..='\u{36f}')
}

fn is_private(letter: char) -> bool {
    matches!(letter, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(crate::store::migrate::SCHEMA).unwrap();
        conn
    }

    fn typed(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_part_stands_for_the_words_that_have_it() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        add(&tx, &["Transcoder, café CAFE\u{301}S 192.168.1.10", "İstanbul öl \"NEAR\"* col:umn"]).unwrap();
        let of = |words: &[&str]| match expression(&tx, &typed(words)).unwrap() {
            Parts::Expression(text) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(of(&["SCODE"]), "(\"transcoder\")");
        assert_eq!(of(&["afe"]), "(\"cafe\u{301}s\" OR \"café\")");
        assert_eq!(of(&["oder", "mn"]), "(\"transcoder\") AND (\"umn\")");
        assert_eq!(of(&["68.1.1"]), "(\"168 1 1\"*)");
        assert_eq!(of(&["afe."]), "(\"café\")");
        assert_eq!(of(&["r."]), "(\"near\" OR \"transcoder\")");
        assert_eq!(of(&["-oder"]), "\"oder\"*");
        assert_eq!(of(&["xyz", "oder"]), "Nowhere");
        assert_eq!(of(&["++"]), "TooMany");
    }

    #[test]
    fn a_part_of_too_many_words_is_none() {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        let many: Vec<String> = (0..=STANDS_FOR).map(|n| format!("w{n}common")).collect();
        add(&tx, &[&many[1..].join(" ")]).unwrap();
        assert!(matches!(expression(&tx, &typed(&["ommo"])).unwrap(), Parts::Expression(_)));
        add(&tx, &[&many[0], &"x".repeat(CHARS_MAX + 1)]).unwrap();
        assert_eq!(expression(&tx, &typed(&["ommo"])).unwrap(), Parts::TooMany);
        assert_eq!(expression(&tx, &typed(&["xxx"])).unwrap(), Parts::Nowhere);
    }
}
