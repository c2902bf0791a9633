//! What it costs to keep secrets out of answers: a call with and without, and the search beside Aho-Corasick.
//!
//! `cargo bench --bench redact [-- --rounds N] [--secrets N]`

#![allow(clippy::print_stdout, reason = "the figures are what a benchmark is for")]

#[path = "../shared/mod.rs"]
mod shared;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hearth::app::{App, Caller, Door};
use hearth::config::Config;
use hearth::redact::Secrets;
use hearth::registry::{Call, Registry};
use serde_json::{Value, json};
use shared::Rounds;

const CALLS: usize = 500;
const POSTS: usize = 20;
const SENTENCE: &str =
    "The container came up again after the disk was full, see https://nas.lan:8443/log?day=3 for more. ";

fn main() -> anyhow::Result<()> {
    let rounds = shared::argument("--rounds", 9)?;
    let n_secrets: u64 = shared::argument("--secrets", 1000)?;
    println!("{}; {rounds} rounds, median [min–max], {n_secrets} secrets of 24 letters\n", shared::machine());
    let secrets: Vec<String> = (0..n_secrets).map(secret).collect();
    search(&secrets, rounds);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(calls(&secrets, rounds))
}

/// Letters as a generator of passwords makes them, and the same ones every time.
fn secret(n: u64) -> String {
    blake3::hash(&n.to_le_bytes()).to_hex()[..12]
        .bytes()
        .flat_map(|byte| [char::from(byte), char::from(b'g' + byte % 19)])
        .collect()
}

fn add(known: &Secrets, secrets: &[String]) {
    known.replace_all(secrets.iter().map(|secret| (secret.as_bytes(), "label")));
}

fn search(secrets: &[String], rounds: usize) {
    let text = SENTENCE.repeat(1000);
    let forms: Vec<String> = secrets.iter().flat_map(|secret| [secret.clone(), secret.to_uppercase()]).collect();
    let known = Secrets::default();
    let (mut build, mut clean, mut their_build, mut their_clean) = <(Rounds, Rounds, Rounds, Rounds)>::default();
    let megabytes = text.len() as f64 / 1e6;
    for _ in 0..rounds {
        let started = Instant::now();
        add(&known, secrets);
        build.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        black_box(known.clean(black_box(&text)));
        clean.push(megabytes / started.elapsed().as_secs_f64());
        let started = Instant::now();
        let automaton = aho_corasick::AhoCorasick::new(&forms).expect("few enough patterns");
        their_build.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        black_box(automaton.find(black_box(&text)));
        their_clean.push(megabytes / started.elapsed().as_secs_f64());
    }
    println!("search, every form:             built in {} ms, {} MB/s", build.show(), clean.show());
    println!("Aho-Corasick, two forms of each: built in {} ms, {} MB/s", their_build.show(), their_clean.show());
}

async fn calls(secrets: &[String], rounds: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut config = Config::default();
    config.limits.reads_per_second = 1_000_000;
    config.limits.writes_per_second = 1_000_000;
    let app = App::open(&dir.path().join("data"), &dir.path().join("root.key"), config)?;
    let registry = Registry::new(Arc::clone(&app), hearth::tools::TOOLSETS);
    let owner = Arc::new(Caller::owner(Door::Cli));
    let invoke = async |tool: &str, input: Value| registry.invoke(Call::new(Arc::clone(&owner), tool, input)).await;
    let body = SENTENCE.repeat(5);
    invoke("forum_create_thread", json!({ "title": "disk", "body": body })).await?;
    for _ in 1..POSTS {
        invoke("forum_reply", json!({ "thread_id": 1, "body": body })).await?;
    }
    for (tool, input) in [("system_whoami", json!({})), ("forum_read_thread", json!({ "thread_id": 1 }))] {
        let (mut without, mut with) = <(Rounds, Rounds)>::default();
        for _ in 0..rounds {
            for (known, times) in [(&[][..], &mut without), (secrets, &mut with)] {
                add(&app.secrets, known);
                let started = Instant::now();
                for _ in 0..CALLS {
                    black_box(invoke(tool, input.clone()).await?);
                }
                times.push(started.elapsed().as_secs_f64() * 1e6 / CALLS as f64);
            }
        }
        let ratio = with.by(&without);
        println!("{tool}, in the process: {} µs without, {} µs with: × {}", without.show(), with.show(), ratio.show());
    }
    app.close().await?;
    Ok(())
}
