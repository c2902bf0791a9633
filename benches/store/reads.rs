//! Point reads a second: a row by its key, through both roads of the store and by rusqlite alone.

use std::time::{Duration, Instant};

use hearth::error::Error;
use hearth::store::Store;
use rusqlite::{Connection, Statement, params};

use super::shared::{Rounds, Table, folder};
use super::{Plan, plain};

const ROWS: i64 = 10_000;
const READERS: i64 = 4;
/// A prime, so that every row has its turn and no two in a row are neighbours.
const STRIDE: i64 = 4_099;

pub async fn run(plan: &Plan) -> anyhow::Result<Table> {
    let folder = folder()?;
    let store = Store::open(&folder.path().join("data"), |_| Ok(()))?;
    store
        .write(|tx| {
            tx.execute_batch(plain::TABLE)?;
            fill(tx).map_err(Error::from)
        })
        .await?;
    let peer = plain::open(&folder.path().join("peer.db"))?;
    peer.execute_batch("begin")?;
    peer.execute_batch(plain::TABLE)?;
    fill(&peer)?;
    peer.execute_batch("commit")?;

    let mut rates: [Rounds; 6] = Default::default();
    for _ in 0..plan.rounds {
        rates[0].push(through_store(&store, Road::Now, 1, plan).await?);
        rates[1].push(through_store(&store, Road::Now, READERS, plan).await?);
        rates[2].push(through_store(&store, Road::Thread, 1, plan).await?);
        rates[3].push(through_store(&store, Road::Thread, READERS, plan).await?);
        rates[4].push(held(&peer, plan.time)?);
        peer.execute_batch("begin")?;
        rates[5].push(held(&peer, plan.time)?);
        peer.execute_batch("commit")?;
    }
    store.close().await?;

    let mut table = Table::new("Point reads by key", &["", "reads/s", "µs a read", "÷ held statement, paired"]);
    let names = [
        "`Store::read_now`, one reader",
        "`Store::read_now`, four readers",
        "`Store::read`, one reader",
        "`Store::read`, four readers",
        "plain rusqlite, held statement",
        "plain rusqlite, held statement in an open transaction",
    ];
    for (name, rate) in names.iter().zip(&rates) {
        let micros = Rounds(rate.0.iter().map(|rate| 1e6 / rate).collect());
        table.row([(*name).to_owned(), rate.show(), micros.show_median(), rates[4].by(rate).show()]);
    }
    Ok(table)
}

fn fill(conn: &Connection) -> rusqlite::Result<()> {
    let mut insert = conn.prepare(plain::INSERT)?;
    for at in 0..ROWS {
        insert.execute(params![plain::AUTHOR, plain::BODY, at])?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Road {
    /// Where the caller stands
    Now,
    /// On a thread for blocking work
    Thread,
}

async fn through_store(store: &Store, road: Road, readers: i64, plan: &Plan) -> anyhow::Result<f64> {
    let (begun, end) = (Instant::now(), Instant::now() + plan.time);
    let tasks: Vec<_> = (0..readers)
        .map(|reader| {
            let store = store.clone();
            tokio::spawn(async move {
                let (mut reads, mut key) = (0_u64, reader);
                while Instant::now() < end {
                    key = (key + STRIDE) % ROWS;
                    let row_id = key + 1;
                    match road {
                        Road::Now => store.read_now(|conn| body(conn, row_id)).await?,
                        Road::Thread => store.read(move |conn| body(conn, row_id)).await?,
                    };
                    reads += 1;
                }
                Ok::<_, Error>(reads)
            })
        })
        .collect();
    let mut reads = 0;
    for task in tasks {
        reads += task.await??;
    }
    Ok(reads as f64 / begun.elapsed().as_secs_f64())
}

fn body(conn: &Connection, row_id: i64) -> Result<String, Error> {
    Ok(conn.prepare_cached(plain::SELECT)?.query_row([row_id], |row| row.get(0))?)
}

fn held(conn: &Connection, time: Duration) -> rusqlite::Result<f64> {
    let mut statement: Statement<'_> = conn.prepare(plain::SELECT)?;
    let (begun, end) = (Instant::now(), Instant::now() + time);
    let (mut reads, mut key) = (0_u64, 0);
    while Instant::now() < end {
        key = (key + STRIDE) % ROWS;
        let body: String = statement.query_row([key + 1], |row| row.get(0))?;
        std::hint::black_box(body);
        reads += 1;
    }
    Ok(reads as f64 / begun.elapsed().as_secs_f64())
}
