//! How fast the store commits, reads and searches, beside plain rusqlite doing the same.
//!
//! `cargo bench --bench store [-- --rounds N] [--seconds S] [--posts N] [--only commits|reads|search]`

#![allow(clippy::print_stdout, reason = "the tables are what a benchmark is for")]

mod commits;
mod corpus;
mod plain;
mod reads;
mod search;
#[path = "../shared/mod.rs"]
mod shared;

use std::time::Duration;

/// How much to measure.
pub struct Plan {
    pub rounds: usize,
    /// For each measurement of a rate
    pub time: Duration,
    pub posts: usize,
}

fn main() -> anyhow::Result<()> {
    let plan = Plan {
        rounds: shared::argument("--rounds", 5)?,
        time: Duration::from_secs_f64(shared::argument("--seconds", 2.0)?),
        posts: shared::argument("--posts", 100_000)?,
    };
    let only: String = shared::argument("--only", String::new())?;
    let wanted = |name: &str| only.is_empty() || only == name;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{}; {} rounds, median [min–max]\n", shared::machine(), plan.rounds);
    if wanted("commits") {
        println!("{}", runtime.block_on(commits::run(&plan))?.to_markdown());
    }
    if wanted("reads") {
        println!("{}", runtime.block_on(reads::run(&plan))?.to_markdown());
    }
    if wanted("search") {
        println!("{}", runtime.block_on(search::run(&plan))?.to_markdown());
    }
    println!("load average at the end: {}", shared::load());
    Ok(())
}
