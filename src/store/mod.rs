//! The SQLite store: one thread writes, a small pool reads.
//!
//! Invariant: [`Store::write`] returns `Ok` only when the commit is on disk.
//! Invariant: no other code of this process opens the database file, since closing
//! a second descriptor drops SQLite's locks on it.

pub mod approvals;
pub mod audit;
pub mod connection;
mod error;
mod follow;
pub mod forum;
pub mod forum_reading;
pub mod forum_search;
pub mod forum_words;
pub mod inventory;
pub mod meta;
pub mod migrate;
mod readers;
pub mod requests;
pub mod sessions;
pub mod tokens;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, watch};

use crate::error::{Error, Result};
use readers::Readers;
pub use writer::{Counters, Health};
use writer::{Follower, Task, Writer};

const QUEUE: usize = 1024;

/// The database file in a data folder.
pub const FILE: &str = "hearth.db";
const LOCK: &str = "LOCK";

/// A handle to the database; clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    jobs: Mutex<Option<mpsc::Sender<Task>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    readers: Arc<Readers>,
    health: watch::Receiver<Health>,
    counters: Arc<Counters>,
    follower: Follower,
    /// Open as long as any connection, since closing it drops the locks of all of them.
    file: Arc<File>,
    /// Held as long as the store is open: a second hearth on the same folder is refused.
    _lock: File,
}

impl Store {
    /// Opens, and if need be makes or upgrades, the database in `folder`; `check` may refuse an
    /// existing file before anything is written to it.
    pub fn open(folder: &Path, check: impl FnOnce(&Connection) -> Result<()>) -> Result<Store> {
        connection::check_sqlite_version()?;
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        let mut conn = connection::open_writer(&path).map_err(|error| cannot_open(&path, error))?;
        migrate::migrate(&mut conn, &path, check)?;
        if !meta::note_start(&conn)? {
            check_quickly(&conn, &path)?;
        }

        let readers = Arc::new(Readers::open(&path)?);
        let counters = Arc::new(Counters::default());
        let (health_tx, health) = watch::channel(Health::default());
        let (jobs, queue) = mpsc::channel(QUEUE);
        let file = Arc::new(File::open(&path).map_err(Error::internal)?);
        let follower = Follower::default();
        let writer = Writer::new(path.clone(), conn, health_tx, Arc::clone(&counters), Arc::clone(&follower));
        let writer = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(queue))
            .map_err(Error::internal)?;
        let shared = Shared {
            path,
            jobs: Mutex::new(Some(jobs)),
            writer: Mutex::new(Some(writer)),
            readers,
            health,
            counters,
            follower,
            file,
            _lock: lock,
        };
        Ok(Store { shared: Arc::new(shared) })
    }

    /// Runs `f` in a write transaction, which it may share with others waiting; commits if it returns `Ok`.
    pub async fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = jobs.ok_or_else(stopping)?;
        let (job, result) = writer::job(f);
        jobs.send(Task::Write(job)).await.map_err(|_| stopping())?;
        match result.await {
            Ok(outcome) => writer::unwrap_panic(outcome),
            Err(_) => Err(self.not_taken()),
        }
    }

    /// Runs `f` against one snapshot, on a thread for blocking work: searches and scans.
    pub async fn read<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.shared.readers.read(f).await
    }

    /// Runs `f` against one snapshot, where the caller stands: look-ups by key and pages of an index.
    pub async fn read_now<T, F>(&self, f: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T>,
    {
        self.shared.readers.read_now(f).await
    }

    pub fn health(&self) -> Health {
        self.shared.health.borrow().clone()
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Writes what waits, notes the clean stop and closes the file.
    pub async fn close(&self) -> Result<()> {
        self.write(meta::note_stop).await?;
        self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // The last connection to close copies the log back, so readers go first.
            self.shared.readers.close();
            tokio::task::spawn_blocking(move || writer.join())
                .await
                .map_err(Error::internal)?
                .map_err(|_| Error::unavailable("the writer ended in a panic"))?;
        }
        Ok(())
    }

    fn not_taken(&self) -> Error {
        match self.health() {
            Health { trouble: Some(why), passing: true } => {
                Error::unavailable(format_args!("the store takes no writes at the moment ({why}); nothing was written"))
                    .with_hint("free space or mend the disk of the data folder; hearth goes on by itself")
            }
            Health { trouble: Some(why), .. } => {
                Error::unavailable(format_args!("the store takes no writes any more ({why}); nothing was written"))
                    .with_hint("stop hearth and restore the database")
            }
            Health { trouble: None, .. } => Error::unavailable(
                "the store did not take the write, since it is busy or stopping; nothing was written",
            ),
        }
    }
}

fn stopping() -> Error {
    Error::unavailable("the store is closed: hearth is stopping")
}

fn cannot_open(path: &Path, error: rusqlite::Error) -> Error {
    Error::unavailable(format_args!("cannot open {}: {error}", path.display())).with_source(error)
}

/// One process at a time: two writers of one file would be told apart by nobody.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let open = || {
        std::fs::create_dir_all(folder)?;
        File::options().create(true).append(true).open(&path)
    };
    let file = open().map_err(|error| {
        Error::unavailable(format_args!("cannot use the data folder {}: {error}", folder.display()))
            .with_hint("name a folder that you can write with --data")
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::unavailable(format_args!("another hearth uses {}", folder.display()))
                .with_hint("stop it, or name another folder with --data"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(Error::internal(error)),
    }
}

/// After an unclean stop the file is looked over before it is trusted.
fn check_quickly(conn: &Connection, path: &Path) -> Result<()> {
    let verdict: String = conn.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Error::new(
            crate::error::Code::Integrity,
            format_args!("{} is damaged: {verdict}", path.display()),
        )
        .with_hint("keep the file, and restore the newest replica beside it"));
    }
    Ok(())
}
