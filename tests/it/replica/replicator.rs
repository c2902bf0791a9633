//! A replication whose object store goes away: what waits is bounded, and a stop can be hurried.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use hearth::clock::SystemClock;
use hearth::replica::object::file::Folder;
use hearth::replica::object::{Body, Error, Kind, Listed, Meta, ObjectStore};
use hearth::replica::replicator::{Bell, Replicator, Settings};

use super::capture::{Bare, open, seen_by_sqlite};

/// A folder that can be away.
struct Moody {
    inner: Arc<dyn ObjectStore>,
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl ObjectStore for Moody {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn level_prefix(&self, level: u8) -> String {
        self.inner.level_prefix(level)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Error> {
        self.inner.list(prefix).await
    }

    async fn head(&self, key: &str) -> Result<(Listed, Meta), Error> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytes, Error> {
        self.inner.get(key, range).await
    }

    async fn put(&self, key: &str, body: Body, meta: &Meta) -> Result<(), Error> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Unreachable, key));
        }
        self.inner.put(key, body, meta).await
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    fn at(&self, sub: &str) -> Arc<dyn ObjectStore> {
        Arc::new(Moody { inner: self.inner.at(sub), is_away: Arc::clone(&self.is_away) })
    }
}

const BOUND: u64 = 256 << 10;

struct Bench {
    scratch: tempfile::TempDir,
    is_away: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Bench {
    fn start(&self, writer: rusqlite::Connection) -> (Replicator, Arc<std::sync::Mutex<rusqlite::Connection>>) {
        let source = Bare::new(&self.scratch.path().join("t.db"), writer);
        let writer = source.writer();
        let inner = Arc::new(Folder::new(self.replica()));
        let store = Arc::new(Moody { inner, is_away: Arc::clone(&self.is_away) });
        let (spool, bell) = (self.scratch.path().join("spool"), Arc::clone(&self.bell));
        let settings = Settings { spool, sync_interval: Duration::from_millis(1), spool_bytes: BOUND };
        (Replicator::start(Arc::new(source), bell, store, settings, Arc::new(SystemClock)).unwrap(), writer)
    }

    fn replica(&self) -> std::path::PathBuf {
        self.scratch.path().join("replica")
    }

    fn note(&self) -> std::path::PathBuf {
        self.scratch.path().join("spool/baseline-needed")
    }
}

fn bench() -> (Bench, rusqlite::Connection) {
    let scratch = tempfile::tempdir().unwrap();
    let conn = open(&scratch.path().join("t.db")).unwrap();
    conn.execute_batch("create table t(id integer primary key, b blob); insert into t values(1, randomblob(20000))")
        .unwrap();
    (Bench { scratch, is_away: Arc::default(), bell: Arc::default() }, conn)
}

fn bytes_under(folder: &Path) -> u64 {
    let sizes = super::ltx_files(folder).into_iter().filter_map(|path| path.metadata().ok());
    sizes.map(|about| about.len()).sum()
}

/// Waits, with patience, for what is bound to come.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The snapshot, and after it what level 0 says, in order and without a gap.
fn restored(replica: &Path) -> Vec<u8> {
    let mut files: Vec<_> =
        super::ltx_files(replica).iter().map(|path| super::decode(&std::fs::read(path).unwrap()).unwrap()).collect();
    files.sort_by_key(|file| file.header.max_txid);
    let (mut image, mut reached) = (Vec::new(), 0);
    for file in files {
        assert_eq!(file.header.min_txid.0, reached + 1, "no gap and no overlap");
        reached = file.header.max_txid.0;
        let size = file.header.page_size as usize;
        image.resize(file.header.commit as usize * size, 0);
        for (pgno, page) in file.pages {
            let at = (pgno as usize - 1) * size;
            image[at..at + size].copy_from_slice(&page);
        }
    }
    image
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_is_dropped_and_a_baseline_heals_the_replica_even_after_a_restart() {
    let (bench, conn) = bench();
    let (replicator, writer) = bench.start(conn);
    until("the first upload", || replicator.progress().replicated.0 >= 2).await;
    bench.is_away.store(true, Ordering::SeqCst);
    for _ in 0..200 {
        writer.lock().unwrap().execute_batch("update t set b = randomblob(20000)").unwrap();
        bench.bell.ring();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let bytes = bytes_under(&bench.scratch.path().join("spool"));
        assert!(bytes <= BOUND + (64 << 10), "{bytes} bytes wait");
        if bench.note().exists() {
            break;
        }
    }
    assert!(bench.note().exists(), "the spool was never full");
    let progress = replicator.stop(std::future::ready(())).await;
    assert!(progress.replicated < progress.captured, "{progress:?}");
    drop(writer);

    let conn = open(&bench.scratch.path().join("t.db")).unwrap();
    let (replicator, writer) = bench.start(conn);
    writer.lock().unwrap().execute_batch("insert into t values(2, randomblob(9000))").unwrap();
    bench.bell.ring();
    assert!(bench.note().exists(), "a restart forgets nothing");
    bench.is_away.store(false, Ordering::SeqCst);
    until("the baseline", || !bench.note().exists()).await;
    writer.lock().unwrap().execute_batch("insert into t values(3, randomblob(9000))").unwrap();
    bench.bell.ring();
    let progress = replicator.stop(tokio::time::sleep(Duration::from_secs(60))).await;
    assert_eq!(progress.replicated, progress.captured);
    assert!(restored(&bench.replica()) == seen_by_sqlite(&bench.scratch.path().join("t.db")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_with_the_hurry_or_once_the_store_is_back() {
    for is_back in [false, true] {
        let (bench, conn) = bench();
        bench.is_away.store(true, Ordering::SeqCst);
        let (replicator, _writer) = bench.start(conn);
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.is_away.store(!is_back, Ordering::SeqCst);
        let begun = Instant::now();
        let hurry = Duration::from_secs(if is_back { 60 } else { 1 });
        let progress = replicator.stop(tokio::time::sleep(hurry)).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(progress.replicated == progress.captured, is_back, "{progress:?}");
        if is_back {
            assert!(restored(&bench.replica()) == seen_by_sqlite(&bench.scratch.path().join("t.db")));
        }
    }
}
