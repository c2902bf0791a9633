//! The store: what was acknowledged is there, what failed is not, and trouble is told.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth::error::{Code, Error, Result};
use hearth::store::{Store, meta, migrate};
use rusqlite::Connection;

fn open(dir: &Path) -> Result<Store> {
    Store::open(dir, |_| Ok(()))
}

fn schema(conn: &Connection) -> Vec<String> {
    let mut statement =
        conn.prepare("select sql from sqlite_schema where sql is not null order by type, name").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_by_the_next_read_and_an_error_rolls_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store.write(|tx| meta::put(tx, "a", "1")).await.unwrap();
    let result: Result<()> = store
        .write(|tx| {
            meta::put(tx, "a", "2")?;
            Err(Error::conflict("no"))
        })
        .await;
    assert_eq!(result.unwrap_err().code, Code::Conflict);
    assert_eq!(store.read_now(|conn| meta::get(conn, "a")).await.unwrap().as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_together_share_a_commit_and_fail_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let writes = (0..200).map(|n| {
        store.write(move |tx| {
            meta::put(tx, &format!("k{n}"), "x")?;
            if n % 7 == 0 { Err(Error::conflict("unlucky")) } else { Ok(()) }
        })
    });
    let results = futures_util::future::join_all(writes).await;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), n % 7 == 0, "{n}");
    }
    let kept: i64 = store
        .read(|conn| Ok(conn.query_row("select count(*) from meta where key like 'k%'", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(kept, 171);
    assert!(store.counters().commits.load(Ordering::Relaxed) < 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_caller_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for _ in 0..6 {
        let (write, read) = (store.clone(), store.clone());
        assert!(tokio::spawn(async move { write.write::<(), _>(|_| panic!("on purpose")).await }).await.is_err());
        assert!(tokio::spawn(async move { read.read::<(), _>(|_| panic!("on purpose")).await }).await.is_err());
    }
    store.write(|tx| meta::put(tx, "a", "1")).await.unwrap();
    assert!(store.read(|conn| meta::get(conn, "a")).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_runs_on_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    let result = store.read(|conn| Ok(conn.query_row(endless, [], |row| row.get::<_, i64>(0))?)).await;
    assert_eq!(result.unwrap_err().code, Code::Timeout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hearth_a_foreign_and_a_newer_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    assert!(open(dir.path()).err().unwrap().message.contains("another hearth"));
    store.close().await.unwrap();
    drop(store);
    let file = dir.path().join("hearth.db");
    let set = |pragma: &str| Connection::open(&file).unwrap().execute_batch(pragma).unwrap();
    set("pragma user_version = 999");
    assert!(open(dir.path()).err().unwrap().message.contains("newer"));
    set("pragma user_version = 1; pragma application_id = 7");
    assert!(open(dir.path()).err().unwrap().message.contains("another program"));
}

/// Both roads, one schema: every version that was ever shipped climbs to what `schema.sql` makes.
#[test]
fn every_shipped_schema_climbs_to_the_present_one() {
    let present = Connection::open_in_memory().unwrap();
    present.execute_batch(migrate::SCHEMA).unwrap();
    let mut seen = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema");
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        let version: i64 = path.file_stem().unwrap().to_str().unwrap().trim_start_matches('v').parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let old = Connection::open(dir.path().join("hearth.db")).unwrap();
        old.execute_batch(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let marks = format!(
            "pragma application_id = {}; pragma user_version = {version}",
            hearth::store::connection::APPLICATION_ID
        );
        old.execute_batch(&marks).unwrap();
        drop(old);
        drop(open(dir.path()).unwrap());
        let climbed = Connection::open(dir.path().join("hearth.db")).unwrap();
        assert_eq!(schema(&climbed), schema(&present), "{}", path.display());
        seen += 1;
    }
    assert_eq!(seen, migrate::VERSION, "tests/data/schema holds every version up to this one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_after_an_unclean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let fill = |tx: &rusqlite::Transaction<'_>| {
        for n in 0..500 {
            meta::put(tx, &format!("k{n}"), &"x".repeat(500))?;
        }
        Ok(())
    };
    store.write(fill).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let file = dir.path().join("hearth.db");
    Connection::open(&file).unwrap().execute("update meta set value = 'yes' where key = 'in_use'", []).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 3 * 4096..end - 4096].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let error = open(dir.path()).err().unwrap();
    assert!(matches!(error.code, Code::Integrity | Code::Unavailable), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_close_nothing_is_taken_and_the_log_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()).unwrap());
    store.write(|tx| meta::put(tx, "a", "1")).await.unwrap();
    store.close().await.unwrap();
    assert_eq!(store.write(|tx| meta::put(tx, "a", "2")).await.unwrap_err().code, Code::Unavailable);
    assert_eq!(store.read_now(|conn| meta::get(conn, "a")).await.unwrap_err().code, Code::Unavailable);
    assert!(!dir.path().join("hearth.db-wal").exists());
}
