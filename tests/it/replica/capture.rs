//! What is captured, applied page by page, is the database, whatever was done to it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use hearth::replica::capture::{Capture, Error, Reading};
use hearth::replica::source::{Source, Unheld};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

pub struct Bare {
    path: PathBuf,
    file: Arc<File>,
    writer: Arc<Mutex<Connection>>,
}

impl Bare {
    pub fn new(path: &Path, writer: Connection) -> Bare {
        let file = Arc::new(File::open(path).unwrap());
        Bare { path: path.to_owned(), file, writer: Arc::new(Mutex::new(writer)) }
    }

    pub fn writer(&self) -> Arc<Mutex<Connection>> {
        Arc::clone(&self.writer)
    }
}

/// The database as SQLite's own reader sees it, page by page.
pub fn seen_by_sqlite(path: &Path) -> Vec<u8> {
    open(path).unwrap().serialize("main").unwrap().to_vec()
}

pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open(path)?;
    conn.execute_batch("pragma journal_mode=wal; pragma wal_autocheckpoint=0; pragma synchronous=off")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(conn)
}

impl Source for Bare {
    fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        open(&self.path)
    }

    fn hold_writes(&self, work: &mut dyn FnMut()) -> Result<(), Unheld> {
        let writer = self.writer.lock().unwrap();
        writer.execute_batch("begin immediate").map_err(|_| Unheld)?;
        work();
        writer.execute_batch("rollback").map_err(|_| Unheld)
    }
}

fn apply(image: &mut Vec<u8>, reading: &Reading<'_>) -> Result<(), hearth::replica::capture::Error> {
    let size = reading.page_size as usize;
    image.resize(reading.changes.commit as usize * size, 0xEE);
    reading.each(&mut |pgno, page| {
        let at = (pgno as usize - 1) * size;
        image[at..at + size].copy_from_slice(page);
        Ok(())
    })
}

const ROWS: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200)";

fn shake(state: &mut u64) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
}

/// One random thing that a program may do to its database.
fn disturb(conn: &Connection, path: &Path, step: usize, dice: u64) {
    let number = dice >> 8;
    let sql = match dice % 100 {
        0..45 => format!("insert into t(k, b) values('k{number}', randomblob({}))", number % 9000),
        45..60 => format!("update t set b = randomblob({}) where id % 7 = {}", number % 3000, number % 7),
        60..68 => format!("delete from t where id % 5 = {}", number % 5),
        68..72 => "pragma incremental_vacuum(20)".to_owned(),
        72 => "vacuum".to_owned(),
        73..75 => format!("alter table t add column c{step} text"),
        75..80 => format!("insert into f(x) values('hello {number} world')"),
        80..84 => format!(
            "pragma cache_size=10; begin; insert into t(k, b) {ROWS} select 'x', randomblob(4000) from n; rollback; pragma cache_size=-2000"
        ),
        84..88 => format!(
            "begin; insert into t(k, b) {ROWS} select 'y', randomblob(900) from n; savepoint a; delete from t where id % 3 = 0; rollback to a; commit"
        ),
        88..92 => "delete from t".to_owned(),
        _ => {
            // Another connection that checkpoints as hard as it can; the pin has to hold.
            let other = open(path).unwrap();
            other.busy_timeout(std::time::Duration::ZERO).unwrap();
            let mode = ["passive", "full", "restart", "truncate"][number as usize % 4];
            let _ = other.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
            return;
        }
    };
    conn.execute_batch(&sql).unwrap();
}

#[test]
fn every_capture_of_random_transactions_is_the_database_byte_for_byte() {
    for seed in 1..=8u64 {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("t.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("pragma auto_vacuum=incremental").unwrap();
        drop(conn);
        let conn = open(&path).unwrap();
        conn.execute_batch(
            "create table t(id integer primary key, k text, b blob); create index tk on t(k); create virtual table f using fts5(x);",
        )
        .unwrap();
        let source = Bare::new(&path, conn);
        let (file, writer) = (source.file(), source.writer());
        let mut capture = Capture::open(Arc::new(source)).unwrap();

        let mut image = Vec::new();
        capture
            .image(&mut |_, _| Ok(()), &mut |_, page| {
                image.extend_from_slice(page);
                Ok(())
            })
            .unwrap();
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut wholes = 0;
        for step in 0..120 {
            shake(&mut state);
            disturb(&writer.lock().unwrap(), &path, step, state);
            let mut sink = |reading: &Reading<'_>| apply(&mut image, reading);
            let done = match state % 6 {
                0 => capture.checkpoint(&mut sink).map(|done| Some(done.is_whole)),
                1 | 2 => capture.capture(&mut sink).map(|_| Some(false)),
                _ => Ok(None),
            };
            let Some(is_whole) = done.unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error:?}")) else {
                continue;
            };
            assert!(seen_by_sqlite(&path) == image, "seed {seed}, step {step}: the image is not what SQLite reads");
            if is_whole {
                // SQLite itself has copied everything into the file: another witness.
                let mut live = vec![0; image.len()];
                file.read_exact_at(&mut live, 0).unwrap();
                assert!(live == image, "seed {seed}, step {step}: the image is not the database");
                assert_eq!(file.metadata().unwrap().len(), image.len() as u64, "seed {seed}, step {step}");
                wholes += 1;
            }
        }
        assert!(wholes > 3, "seed {seed}: only {wholes} comparisons");
    }
}

#[test]
fn a_log_that_was_emptied_after_our_own_checkpoint_is_followed_without_a_gap() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("t.db");
    let conn = open(&path).unwrap();
    conn.execute_batch("create table t(a); insert into t values(1)").unwrap();
    let source = Bare::new(&path, conn);
    let writer = source.writer();
    let mut capture = Capture::open(Arc::new(source)).unwrap();
    let mut image = Vec::new();
    let mut turn = |capture: &mut Capture| capture.checkpoint(&mut |reading| apply(&mut image, reading)).unwrap();
    assert!(turn(&mut capture).is_whole);
    let other = open(&path).unwrap();
    other.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    assert_eq!(std::fs::metadata(scratch.path().join("t.db-wal")).unwrap().len(), 0, "the other did empty it");
    assert!(turn(&mut capture).is_whole, "an empty log is whole");
    writer.lock().unwrap().execute_batch("insert into t values(2)").unwrap();
    capture.capture(&mut |reading| apply(&mut image, reading)).unwrap();
    assert!(seen_by_sqlite(&path) == image);
}

#[test]
fn beside_a_busy_writer_and_a_hostile_checkpointer_nothing_is_missed() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("t.db");
    let conn = open(&path).unwrap();
    conn.execute_batch(
        "create table t(id integer primary key, k text, b blob); create index tk on t(k); create virtual table f using fts5(x);",
    )
    .unwrap();
    let source = Bare::new(&path, conn);
    let writer = source.writer();
    let mut capture = Capture::open(Arc::new(source)).unwrap();
    let mut image = Vec::new();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut state = 0x9E37_79B9_7F4A_7C15u64;
            for step in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                shake(&mut state);
                disturb(&writer.lock().unwrap(), &path, step, state);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        scope.spawn(|| {
            let other = open(&path).unwrap();
            other.busy_timeout(std::time::Duration::ZERO).unwrap();
            for mode in ["passive", "full", "restart", "truncate"].iter().cycle() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let _ = other.query_row(&format!("pragma wal_checkpoint({mode})"), [], |_| Ok(()));
                std::thread::sleep(std::time::Duration::from_micros(300));
            }
        });
        let mut run = || {
            for step in 0..300 {
                let mut sink = |reading: &Reading<'_>| apply(&mut image, reading);
                match step % 5 {
                    0 => match capture.checkpoint(&mut sink) {
                        // The other one had the write lock.
                        Ok(_) | Err(Error::Unheld(_)) => {}
                        Err(error) => return Err(format!("step {step}: {error:?}")),
                    },
                    _ => drop(capture.capture(&mut sink).map_err(|error| format!("step {step}: {error:?}"))?),
                }
                if step % 10 == 0 {
                    let _still = writer.lock().unwrap();
                    let mut sink = |reading: &Reading<'_>| apply(&mut image, reading);
                    capture.capture(&mut sink).map_err(|error| format!("step {step}, still: {error:?}"))?;
                    if seen_by_sqlite(&path) != image {
                        return Err(format!("step {step}: the image is not what SQLite reads"));
                    }
                }
            }
            Ok(())
        };
        let ended = run();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(ended, Ok(()));
    });
}
