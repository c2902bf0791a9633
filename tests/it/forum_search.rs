//! Search against a slow and simple reader of the same posts.

use std::collections::BTreeSet;

use hearth::clock::Timestamp;
use hearth::page::Limit;
use hearth::store::forum::{self, Signature};
use hearth::store::forum_search::{self, Within};
use hearth::store::migrate::SCHEMA;
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config as Cases, TestRunner};
use rusqlite::Connection;

/// Few letters, so that words meet, in both cases, with accents in both spellings, and signs.
const TEXT: &str = "([aAbBcé0]|e\u{301}|Ö|中|[ .,-]){0,14}";
const QUERY: &str = "([aAbBcé0]|e\u{301}|Ö|中|[.-]){1,4}( ([aAbBcé0]|e\u{301}|中){1,3})?";

/// What one of the posts has under a name that search knows.
struct Text {
    title: Vec<Word>,
    author: Vec<Word>,
    body: Vec<Word>,
}

struct Word {
    folded: String,
    written: String,
}

fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    conn
}

fn words(text: &str) -> Vec<Word> {
    let fold = |word: &str| word.replace('\u{301}', "").replace('é', "e").replace('Ö', "o").to_lowercase();
    text.split([' ', '.', ',', '-'])
        .map(|word| Word { folded: fold(word), written: word.to_ascii_lowercase() })
        .filter(|word| !word.folded.is_empty())
        .collect()
}

/// Where a word may begin: with a word of the text, or anywhere in one. Parts that are shorter than what
/// the index holds lead to words that are written so, and with them to those that differ in accents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    Word,
    AnywhereAsWritten,
    Anywhere,
}

/// Whether the words stand in the text as typed, one after the other; the last may end within a word.
fn stands_in(text: &[Word], typed: &str, begin: Begins) -> bool {
    let pieces = words(typed);
    let is_sign = |letter: Option<char>| letter.is_some_and(|letter| ".-".contains(letter));
    let begins = begin == Begins::Word || is_sign(typed.chars().next());
    let ends = is_sign(typed.chars().last());
    text.windows(pieces.len()).any(|words| {
        words.iter().zip(&pieces).enumerate().all(|(index, (word, piece))| {
            let (is_first, is_last) = (index == 0, index + 1 == pieces.len());
            let has_end = usize::from(!is_last || ends);
            let is_short = begin == Begins::AnywhereAsWritten && piece.folded.chars().count() + has_end < 3;
            let (within, part) = if is_short { (&word.written, &piece.written) } else { (&word.folded, &piece.folded) };
            match (is_first && !begins, has_end == 1) {
                (true, false) => within.contains(part.as_str()),
                (true, true) => within.ends_with(part.as_str()),
                (false, false) => word.folded.starts_with(&piece.folded),
                (false, true) => word.folded == piece.folded,
            }
        })
    })
}

/// What is to be found at least and at most.
fn expected(texts: &[Text], query: &str, within: Within) -> [BTreeSet<i64>; 2] {
    let typed: Vec<&str> = query.split_whitespace().filter(|word| !words(word).is_empty()).collect();
    let found = |begin| -> BTreeSet<i64> {
        let has = |text: &Text, word: &str| match within {
            Within::Title => stands_in(&text.title, word, begin),
            Within::Author => stands_in(&text.author, word, begin),
            Within::Body => stands_in(&text.body, word, begin),
            Within::All => [&text.title, &text.author, &text.body].iter().any(|part| stands_in(part, word, begin)),
        };
        let hits = texts.iter().zip(1..).filter(|(text, _)| typed.iter().all(|word| has(text, word)));
        hits.map(|(_, post_id)| post_id).collect()
    };
    let beginnings = found(Begins::Word);
    if beginnings.is_empty() {
        [found(Begins::AnywhereAsWritten), found(Begins::Anywhere)]
    } else {
        [beginnings.clone(), beginnings]
    }
}

/// All that search finds, page after page.
fn found(conn: &Connection, query: &str, within: Within) -> BTreeSet<i64> {
    let (mut seen, mut cursor) = (BTreeSet::new(), None);
    loop {
        let limit = Limit::try_from(2).unwrap();
        let page = forum_search::search(conn, query, within, limit, cursor.as_deref()).unwrap();
        for hit in &page.items {
            assert!(seen.insert(hit.post_id), "post {} comes twice for {query:?}", hit.post_id);
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return seen;
        }
    }
}

#[test]
fn search_finds_what_a_reader_of_every_post_finds() {
    let text = || proptest::string::string_regex(TEXT).unwrap();
    let query = proptest::string::string_regex(QUERY).unwrap();
    // Signs alone are no word of any post, and are looked for letter by letter elsewhere.
    let query = query.prop_filter("a letter", |query| query.chars().any(char::is_alphanumeric));
    let posts = proptest::collection::vec((text(), text(), text(), any::<u8>()), 1..7);
    let queries = proptest::collection::vec(query, 1..9);
    let mut runner = TestRunner::new(Cases { cases: 300, failure_persistence: None, ..Cases::default() });
    let result = runner.run(&(posts, queries), |(posts, queries)| {
        let mut conn = database();
        let tx = conn.transaction().unwrap();
        let at = Timestamp::from_secs(1);
        let mut texts = Vec::new();
        for ((title, author, body, fate), post_id) in posts.iter().zip(1..) {
            let by = Signature { author: author.clone(), verified: "token:a".into() };
            let thread_id = forum::insert_thread(&tx, &by, title, at).unwrap();
            let first = if fate % 4 == 1 { "once before" } else { body };
            assert_eq!(forum::insert_post(&tx, thread_id, &by, first, None, at).unwrap().post_id, post_id);
            let mut text = Text { title: words(title), author: words(author), body: words(body) };
            match fate % 4 {
                1 => drop(forum::edit_post(&tx, post_id, body, at).unwrap()),
                2 => {
                    forum::delete_post(&tx, post_id, at).unwrap();
                    (text.author, text.body) = (Vec::new(), Vec::new());
                }
                _ => {}
            }
            texts.push(text);
        }
        for query in &queries {
            for within in [Within::All, Within::Title, Within::Author, Within::Body] {
                let found = found(&tx, query, within);
                let [least, most] = expected(&texts, query, within);
                assert!(
                    least.is_subset(&found) && found.is_subset(&most),
                    "{query:?} in {within:?} of {posts:?}: {found:?} is not from {least:?} to {most:?}"
                );
            }
        }
        assert_eq!(found(&tx, "nce befor", Within::All), BTreeSet::new(), "the text before an edit");
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_word_leaves_with_the_last_post_that_has_it() {
    let mut conn = database();
    let tx = conn.transaction().unwrap();
    let (by, at) = (Signature { author: "ann".into(), verified: "token:a".into() }, Timestamp::from_secs(1));
    let thread_id = forum::insert_thread(&tx, &by, "Title", at).unwrap();
    let post = |body| forum::insert_post(&tx, thread_id, &by, body, None, at).unwrap().post_id;
    let (first, second) = (post("hunter2 shared"), post("shared"));
    let words = || -> Vec<String> {
        let mut statement = tx.prepare("select word from post_words order by word").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    };
    assert_eq!(words(), ["ann", "hunter2", "shared", "title"]);
    forum::delete_post(&tx, first, at).unwrap();
    assert_eq!(words(), ["ann", "shared", "title"]);
    forum::edit_post(&tx, second, "other", at).unwrap();
    assert_eq!(words(), ["ann", "other", "title"]);
}
