//! The writer thread: the one connection that writes and checkpoints.
//!
//! Jobs that wait together share one transaction, a savepoint each, and so share
//! its fsync. A job is answered only after the transaction that holds it is on disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::open_writer;
use super::error::{Fault, fault, fault_behind};
use crate::error::{Error, Result};

/// Jobs in one transaction: enough to share an fsync, few enough to keep it short.
const BATCH: usize = 128;
/// Frames in the log before it is copied back into the file.
const CHECKPOINT_FRAMES: u64 = 1000;
/// How soon after a failure the file is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Runs inside the shared transaction; what it returns is called once the outcome is known.
pub(super) type Job = Box<dyn FnOnce(&Transaction<'_>) -> Settled + Send>;

/// What the writer is asked for.
pub(super) enum Task {
    Write(Job),
    /// Runs between two transactions; dropped if there is no connection
    Hold(Box<dyn FnOnce(&Connection) + Send>),
}

/// Whoever copies the log back in the writer's place, and is told of each commit.
pub(super) type Follower = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

pub(super) struct Settled {
    /// Whether the savepoint is kept.
    keep: bool,
    fault: Option<Fault>,
    answer: Box<dyn FnOnce(Result<(), Arc<rusqlite::Error>>) + Send>,
}

/// Whether the store takes writes, and if not why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    pub trouble: Option<String>,
    /// Whether the trouble may end by itself.
    pub passing: bool,
}

/// What the writer has done since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub commits: AtomicU64,
    pub jobs: AtomicU64,
    pub frames: AtomicU64,
    pub checkpoints: AtomicU64,
}

/// Makes a job of a closure, and the receiver of its result.
pub(super) fn job<T, F>(f: F) -> (Job, oneshot::Receiver<std::thread::Result<Result<T>>>)
where
    T: Send + 'static,
    F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
{
    let (reply, result) = oneshot::channel();
    let job: Job = Box::new(move |tx| {
        let outcome = catch_unwind(AssertUnwindSafe(|| f(tx)));
        let keep = matches!(outcome, Ok(Ok(_)));
        let fault = match &outcome {
            Ok(Err(error)) => fault_behind(error),
            _ => None,
        };
        let answer = Box::new(move |commit: Result<(), Arc<rusqlite::Error>>| {
            let outcome = match (outcome, commit) {
                (Ok(Ok(_)), Err(error)) => Ok(Err(not_committed(&error))),
                (outcome, _) => outcome,
            };
            // The caller may have gone away; the transaction stands either way.
            let _ = reply.send(outcome);
        });
        Settled { keep, fault, answer }
    });
    (job, result)
}

/// A panic of the closure goes on in the caller, whose call it is.
pub(super) fn unwrap_panic<T>(outcome: std::thread::Result<T>) -> T {
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}

fn not_committed(error: &Arc<rusqlite::Error>) -> Error {
    let full =
        matches!(&**error, rusqlite::Error::SqliteFailure(failure, _) if failure.code == rusqlite::ErrorCode::DiskFull);
    let what = if full { "the disk is full" } else { "the database did not take the commit" };
    Error::unavailable(format_args!("{what}; the write is not acknowledged"))
        .with_hint("read the state before trying again, and use a request_id")
        .with_source(Arc::clone(error))
}

pub(super) struct Writer {
    path: PathBuf,
    /// Absent while the file is in trouble: after a failed fsync a descriptor is not to be trusted.
    conn: Option<Connection>,
    lasting: bool,
    tried_at: Instant,
    health: watch::Sender<Health>,
    counters: Arc<Counters>,
    follower: Follower,
}

impl Writer {
    pub fn new(
        path: PathBuf,
        mut conn: Connection,
        health: watch::Sender<Health>,
        counters: Arc<Counters>,
        follower: Follower,
    ) -> Writer {
        watch_frames(&mut conn, &counters);
        Writer { path, conn: Some(conn), lasting: false, tried_at: Instant::now(), health, counters, follower }
    }

    pub fn run(mut self, mut tasks: mpsc::Receiver<Task>) {
        while let Some(first) = tasks.blocking_recv() {
            let mut batch = Vec::new();
            let mut next = Some(first);
            let mut hold = None;
            while let Some(task) = next {
                match task {
                    Task::Write(job) => batch.push(job),
                    Task::Hold(work) => hold = Some(work),
                }
                let is_full = hold.is_some() || BATCH <= batch.len();
                next = if is_full { None } else { tasks.try_recv().ok() };
            }
            if !batch.is_empty() {
                self.turn(batch);
            }
            if let (Some(work), Some(conn)) = (hold, &self.conn) {
                work(conn);
            }
        }
        if let (Some(conn), None) = (&self.conn, self.follower.get()) {
            checkpoint(conn, &self.counters);
            // With nobody to follow it, the log need not outlive its last connection.
            if let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false) {
                tracing::warn!(%error, "the log stays beside the database");
            }
        }
    }

    fn turn(&mut self, batch: Vec<Job>) {
        self.reopen_if_due();
        let Some(conn) = &mut self.conn else {
            // Dropping a job closes its channel, which its caller reads as "not taken".
            return drop(batch);
        };
        let jobs = batch.len() as u64;
        match commit(conn, batch, &self.follower) {
            Ok(()) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.jobs.fetch_add(jobs, Ordering::Relaxed);
                let is_due = CHECKPOINT_FRAMES <= self.counters.frames.load(Ordering::Relaxed);
                if is_due && self.follower.get().is_none() {
                    checkpoint(conn, &self.counters);
                }
            }
            Err((Some(found), why)) => self.fail(found, &why),
            Err((None, why)) => tracing::warn!(why, "a batch of writes was not committed"),
        }
    }

    fn fail(&mut self, found: Fault, why: &str) {
        tracing::error!(why, ?found, "the store stops taking writes");
        self.lasting = found == Fault::Lasting;
        self.conn = None;
        self.tried_at = Instant::now();
        self.health.send_replace(Health { trouble: Some(why.to_owned()), passing: !self.lasting });
    }

    fn reopen_if_due(&mut self) {
        if self.conn.is_some() || self.lasting || self.tried_at.elapsed() < RETRY_AFTER {
            return;
        }
        self.tried_at = Instant::now();
        let reopened = open_writer(&self.path).and_then(|mut conn| {
            // A real write, since an empty transaction would not touch the disk.
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.execute("insert or replace into meta (key, value) values ('reopened', 'yes')", [])?;
            tx.commit()?;
            Ok(conn)
        });
        match reopened {
            Ok(mut conn) => {
                tracing::warn!("the store takes writes again");
                watch_frames(&mut conn, &self.counters);
                self.conn = Some(conn);
                self.health.send_replace(Health::default());
            }
            Err(error) => match fault(&error) {
                Some(Fault::Lasting) => self.fail(Fault::Lasting, &error.to_string()),
                _ => tracing::warn!(%error, "the store still takes no writes"),
            },
        }
    }
}

/// Runs the batch in one transaction and answers every job; an error says what to make of it.
fn commit(conn: &mut Connection, batch: Vec<Job>, follower: &Follower) -> Result<(), (Option<Fault>, String)> {
    let mut settled = Vec::with_capacity(batch.len());
    let committed = transact(conn, batch, &mut settled).map_err(Arc::new);
    let verdict = match &committed {
        Err(error) => Err((fault(error), error.to_string())),
        Ok(()) => match settled.iter().find_map(|done: &Settled| done.fault) {
            Some(found) => Err((Some(found), "a statement failed".to_owned())),
            None => Ok(()),
        },
    };
    // Told before any caller is answered, so that whoever has an answer can wait for its replica.
    if let Some(told) = follower.get() {
        told();
    }
    for done in settled {
        (done.answer)(committed.clone());
    }
    verdict
}

fn transact(conn: &mut Connection, batch: Vec<Job>, settled: &mut Vec<Settled>) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        tx.execute_batch("savepoint job")?;
        let done = job(&tx);
        let end = if done.keep { "release job" } else { "rollback to job; release job" };
        settled.push(done);
        tx.execute_batch(end)?;
    }
    tx.commit()
}

fn watch_frames(conn: &mut Connection, counters: &Arc<Counters>) {
    let counters = Arc::clone(counters);
    let hooked = conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames| {
        counters.frames.store(u64::try_from(frames).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }));
    if let Err(error) = hooked {
        tracing::error!(%error, "no hook on the log; it is copied back on a clean stop only");
    }
}

/// Copies the log back as far as readers allow; never waits for them.
fn checkpoint(conn: &Connection, counters: &Counters) {
    let result = conn.query_row("pragma wal_checkpoint(passive)", [], |row| row.get::<_, i64>(2));
    match result {
        Ok(_) => {
            counters.checkpoints.fetch_add(1, Ordering::Relaxed);
            counters.frames.store(0, Ordering::Relaxed);
        }
        Err(error) => tracing::warn!(%error, "the log was not copied back"),
    }
}
