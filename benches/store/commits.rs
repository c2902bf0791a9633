//! Commits a second: one row each, synchronous FULL, alone and with fifty writers.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use hearth::error::Error;
use hearth::store::Store;
use rusqlite::{Connection, TransactionBehavior, params};

use super::shared::{Latencies, Rounds, Table, folder};
use super::{Plan, plain};

const WRITERS: usize = 50;

#[derive(Default)]
struct Figures {
    rate: Rounds,
    p50: Rounds,
    p99: Rounds,
}

impl Figures {
    fn push(&mut self, latencies: Latencies, plan: &Plan) {
        self.rate.push(latencies.len() as f64 / plan.time.as_secs_f64());
        let [p50, p99] = latencies.percentiles([0.50, 0.99]);
        self.p50.push(p50);
        self.p99.push(p99);
    }

    fn cells(&self, name: &str, ratio: &Rounds) -> [String; 5] {
        [name.to_owned(), self.rate.show(), ratio.show(), self.p50.show_median(), self.p99.show()]
    }
}

pub async fn run(plan: &Plan) -> anyhow::Result<Table> {
    let folder = folder()?;
    let store = Store::open(&folder.path().join("data"), |_| Ok(()))?;
    store.write(|tx| Ok(tx.execute_batch(plain::TABLE)?)).await?;
    let peer = plain::open(&folder.path().join("peer.db"))?;
    peer.execute_batch(plain::TABLE)?;
    let peer = Arc::new(Mutex::new(peer));

    let mut figures: [Figures; 4] = Default::default();
    for _ in 0..plan.rounds {
        figures[0].push(through_store(&store, 1, plan).await?, plan);
        figures[1].push(through_store(&store, WRITERS, plan).await?, plan);
        figures[2].push(by_threads(&peer, 1, plan)?, plan);
        figures[3].push(by_threads(&peer, WRITERS, plan)?, plan);
    }
    store.close().await?;

    let mut table = Table::new(
        "Commits, one row each, synchronous FULL",
        &["", "commits/s", "× plain rusqlite alone", "p50 ms", "p99 ms"],
    );
    let alone = &figures[2].rate;
    let names = [
        "`Store::write`, one writer".to_owned(),
        format!("`Store::write`, {WRITERS} writers"),
        "plain rusqlite, one writer".to_owned(),
        format!("plain rusqlite, {WRITERS} threads, one connection behind a mutex"),
    ];
    for (name, figures) in names.iter().zip(&figures) {
        table.row(figures.cells(name, &figures.rate.by(alone)));
    }
    let gain = figures[1].rate.by(&figures[0].rate);
    table.row(
        ["group commit: `Store::write`, 50 writers by one".to_owned(), "–".to_owned(), format!("× {}", gain.show())]
            .into_iter()
            .chain(["–".to_owned(), "–".to_owned()]),
    );
    Ok(table)
}

async fn through_store(store: &Store, writers: usize, plan: &Plan) -> anyhow::Result<Latencies> {
    let end = Instant::now() + plan.time;
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut latencies = Latencies::default();
                loop {
                    let begun = Instant::now();
                    if end <= begun {
                        return Ok::<_, Error>(latencies);
                    }
                    store
                        .write(|tx| {
                            let mut insert = tx.prepare_cached(plain::INSERT)?;
                            Ok(insert.execute(params![plain::AUTHOR, plain::BODY, 1_700_000_000_000_i64])?)
                        })
                        .await?;
                    latencies.push(begun.elapsed());
                }
            })
        })
        .collect();
    let mut all = Latencies::default();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

/// As a program without a store of its own would do it: a transaction for each row.
fn by_threads(peer: &Arc<Mutex<Connection>>, writers: usize, plan: &Plan) -> anyhow::Result<Latencies> {
    let end = Instant::now() + plan.time;
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let peer = Arc::clone(peer);
            thread::spawn(move || {
                let mut latencies = Latencies::default();
                loop {
                    let begun = Instant::now();
                    if end <= begun {
                        return Ok::<_, rusqlite::Error>(latencies);
                    }
                    let mut conn = peer.lock().unwrap_or_else(PoisonError::into_inner);
                    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    tx.prepare_cached(plain::INSERT)?.execute(params![
                        plain::AUTHOR,
                        plain::BODY,
                        1_700_000_000_000_i64
                    ])?;
                    tx.commit()?;
                    drop(conn);
                    latencies.push(begun.elapsed());
                }
            })
        })
        .collect();
    let mut all = Latencies::default();
    for thread in threads {
        all.extend(thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
    }
    Ok(all)
}
