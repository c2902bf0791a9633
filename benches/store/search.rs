//! Search over a forum of 100,000 posts: by the store, through the gate, and by a LIKE scan.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use hearth::app::{App, Caller, Door};
use hearth::clock::Timestamp;
use hearth::config::Config;
use hearth::error::Error;
use hearth::page::Limit;
use hearth::registry::{Call, Registry};
use hearth::store::forum::{self, Signature};
use hearth::store::forum_search::{self, Within};
use rusqlite::{Connection, params};
use serde_json::json;

use super::Plan;
use super::corpus::Corpus;
use super::shared::{Latencies, Percentiles, Rounds, Table, figure, folder};

const POSTS_A_THREAD: usize = 20;
const POSTS_A_COMMIT: usize = 1_000;
/// How often a query of each kind is made in a round.
const QUERIES: usize = 300;
/// The same for those that look at every post, which take their time.
const SCANS: usize = 30;
/// Different queries of a kind.
const DIFFERENT: usize = 12;
/// As one would write it without an index for text.
const LIKE: &str = "select p.post_id, p.thread_id, t.title, p.author, p.body, p.created_at
                    from posts p join threads t using (thread_id)
                    where p.body like '%' || ?1 || '%' order by p.created_at desc limit 20";

/// Queries of one kind.
struct Kind {
    name: &'static str,
    queries: Vec<String>,
    /// Posts that the middle one of them finds
    hits: f64,
    repeats: usize,
    store: Percentiles,
    gate: Percentiles,
    like: Percentiles,
}

pub async fn run(plan: &Plan) -> anyhow::Result<Table> {
    let folder = folder()?;
    let mut config = Config::default();
    config.limits.reads_per_second = 1_000_000;
    let app = App::open(&folder.path().join("data"), &folder.path().join("root.key"), config)?;
    let registry = Registry::new(Arc::clone(&app), hearth::tools::TOOLSETS);
    let caller = Arc::new(Caller::owner(Door::Mcp));

    let words = fill(&app, plan.posts).await?;
    let mut kinds = choose(&app, &words, plan.posts).await?;
    for _ in 0..plan.rounds {
        for kind in &mut kinds {
            let (mut store, mut gate, mut like) = <(Latencies, Latencies, Latencies)>::default();
            for repeat in 0..kind.repeats {
                let query = &kind.queries[repeat % kind.queries.len()];
                let text = query.clone();
                let begun = Instant::now();
                let found = app
                    .store
                    .read(move |conn| forum_search::search(conn, &text, Within::All, Limit::default(), None))
                    .await?;
                store.push(begun.elapsed());

                let call = Call::new(Arc::clone(&caller), "forum_search", json!({ "query": query }));
                let begun = Instant::now();
                let answer = registry.invoke(call).await?;
                gate.push(begun.elapsed());
                let same = answer["items"].as_array().is_some_and(|items| items.len() == found.items.len());
                anyhow::ensure!(same, "the gate and the store differ on `{query}`");

                if repeat < SCANS / 2 {
                    let text = query.clone();
                    let begun = Instant::now();
                    app.store.read(move |conn| scan(conn, &text)).await?;
                    like.push(begun.elapsed());
                }
            }
            kind.store.push(store);
            kind.gate.push(gate);
            kind.like.push(like);
        }
    }
    app.close().await?;

    let title = format!("Search over {} posts of 776 bytes, 20 hits a page, in ms", figure(plan.posts as f64));
    let head = [
        "query",
        "posts found",
        "store p50 / p95 / p99",
        "p99 over rounds",
        "through the gate p50 / p95 / p99",
        "LIKE scan p50",
    ];
    let mut table = Table::new(&title, &head);
    for kind in &kinds {
        table.row([
            kind.name.to_owned(),
            figure(kind.hits),
            three(&kind.store),
            kind.store.p99.show(),
            three(&kind.gate),
            kind.like.p50.show_median(),
        ]);
    }
    Ok(table)
}

fn three(percentiles: &Percentiles) -> String {
    let Percentiles { p50, p95, p99 } = percentiles;
    format!("{} / {} / {}", p50.show_median(), p95.show_median(), p99.show_median())
}

/// Writes the forum and returns its words.
async fn fill(app: &App, posts: usize) -> anyhow::Result<Vec<String>> {
    let mut corpus = Corpus::new();
    let by = Signature { author: "ann".to_owned(), verified: "token:bench".to_owned() };
    let mut at = Timestamp::from_secs(1_700_000_000);
    for _ in 0..posts.div_ceil(POSTS_A_COMMIT) {
        let threads: Vec<(String, Vec<String>)> = (0..POSTS_A_COMMIT / POSTS_A_THREAD)
            .map(|_| (corpus.title(), (0..POSTS_A_THREAD).map(|_| corpus.body()).collect()))
            .collect();
        let by = by.clone();
        at = app
            .store
            .write(move |tx| {
                for (title, bodies) in &threads {
                    let thread_id = forum::insert_thread(tx, &by, title, at)?;
                    for body in bodies {
                        at = at + std::time::Duration::from_secs(60);
                        forum::insert_post(tx, thread_id, &by, body, None, at)?;
                    }
                }
                Ok(at)
            })
            .await?;
    }
    Ok(corpus.words)
}

/// Picks the queries by how many posts they find, since a query also finds longer words.
async fn choose(app: &App, words: &[String], posts: usize) -> anyhow::Result<Vec<Kind>> {
    let sample: Vec<String> = words.iter().step_by(17).cloned().chain(words.iter().take(300).cloned()).collect();
    let (words, prefixes) = app
        .store
        .read(move |conn| {
            let prefixes: BTreeSet<String> =
                sample.iter().filter(|word| 6 <= word.len()).map(|word| word[..4].to_owned()).collect();
            let counted = |text: String| Ok::<_, Error>((hits(conn, &text)?, text));
            let words = sample.into_iter().map(counted).collect::<Result<Vec<_>, _>>()?;
            let prefixes = prefixes.into_iter().step_by(29).map(counted).collect::<Result<Vec<_>, _>>()?;
            Ok((words, prefixes))
        })
        .await?;
    let share = |share: f64| nearest(&words, share * posts as f64);
    let (rare, medium, common) = (share(0.0002), share(0.01), share(0.30));
    let pairs = common.iter().zip(&rare).map(|((_, a), (n, b))| (*n, format!("{a} {b}"))).collect();
    // Without its first letter a rare word begins nowhere, or hardly anywhere.
    let inner: Vec<(f64, String)> = rare.iter().map(|(n, word)| (*n, word[1..].to_owned())).collect();
    let inner = only_inside(app, inner).await?;
    let prefixes = prefixes.into_iter().take(DIFFERENT).collect();

    Ok(vec![
        kind("a rare word", rare, QUERIES),
        kind("a word in 1 % of the posts", medium, QUERIES),
        kind("a word in 30 % of the posts", common, QUERIES),
        kind("a common and a rare word", pairs, QUERIES),
        kind("the first four letters of words", prefixes, QUERIES),
        kind("the inside of a rare word", inner, SCANS),
    ])
}

fn kind(name: &'static str, queries: Vec<(f64, String)>, repeats: usize) -> Kind {
    let hits = Rounds(queries.iter().map(|(hits, _)| *hits).collect()).median();
    let queries = queries.into_iter().map(|(_, text)| text).collect();
    let [store, gate, like] = Default::default();
    Kind { name, queries, hits, repeats, store, gate, like }
}

fn nearest(words: &[(f64, String)], target: f64) -> Vec<(f64, String)> {
    let mut words = words.to_vec();
    words.sort_by(|(a, _), (b, _)| (a - target).abs().total_cmp(&(b - target).abs()));
    words.dedup_by(|(_, a), (_, b)| a == b);
    words.truncate(DIFFERENT);
    words
}

/// Those that begin no word, so that search has to look inside of words.
async fn only_inside(app: &App, parts: Vec<(f64, String)>) -> anyhow::Result<Vec<(f64, String)>> {
    let inside = app
        .store
        .read(move |conn| {
            let mut inside = Vec::new();
            for (n, part) in parts {
                if hits(conn, &part)? == 0.0 {
                    inside.push((n, part));
                }
            }
            Ok(inside)
        })
        .await?;
    anyhow::ensure!(!inside.is_empty(), "every part of a word begins another word");
    Ok(inside)
}

/// Posts that have a word which begins with `text`.
fn hits(conn: &Connection, text: &str) -> Result<f64, Error> {
    let mut count = conn.prepare_cached("select count(*) from post_text where post_text match ?1")?;
    Ok(count.query_row([format!("\"{text}\"*")], |row| row.get::<_, i64>(0))? as f64)
}

fn scan(conn: &Connection, text: &str) -> Result<usize, Error> {
    let mut statement = conn.prepare_cached(LIKE)?;
    let mut rows = statement.query(params![text])?;
    let mut n = 0;
    while let Some(row) = rows.next()? {
        let body: String = row.get(4)?;
        std::hint::black_box(body);
        n += 1;
    }
    Ok(n)
}
