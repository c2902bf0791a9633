//! A small pool of read-only connections, each read on one snapshot.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::connection::{limit_time, open_reader};
use crate::error::{Error, Result};

const READERS: usize = 4;

pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub fn open(path: &Path) -> Result<Readers> {
        let idle = (0..READERS).map(|_| open_reader(path)).collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Readers { path: path.to_owned(), permits: Arc::new(Semaphore::new(READERS)), idle: Mutex::new(idle) })
    }

    /// Runs `f` on a thread for blocking work.
    pub async fn read<T, F>(self: &Arc<Self>, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            // The permit travels with the work: a caller that gives up must not free it early.
            let _permit = permit;
            readers.take()?.run(f)
        });
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(closed()),
        }
    }

    /// Runs `f` where the caller stands, waiting for a free connection if need be.
    ///
    /// For look-ups by key and pages of an index: they take microseconds, less than it
    /// costs to wake another thread.
    pub async fn read_now<T, F>(&self, f: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T>,
    {
        let _permit = self.permits.acquire().await.map_err(|_| closed())?;
        self.take()?.run(f)
    }

    fn take(&self) -> Result<Reader<'_>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            // Lost to a failed return; the permit says that there is room for one.
            None => open_reader(&self.path)?,
        };
        Ok(Reader { conn: Some(conn), readers: self })
    }

    pub fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn closed() -> Error {
    Error::unavailable("the store is closed: hearth is stopping")
}

/// A borrowed connection; it goes back to the pool, also on a panic.
struct Reader<'a> {
    conn: Option<Connection>,
    readers: &'a Readers,
}

impl Reader<'_> {
    fn run<T>(&mut self, f: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let conn = self.conn.as_mut().expect("taken only on drop");
        limit_time(conn)?;
        // Held statements: the short reads of a call would spend a third of their time on parsing these two.
        conn.prepare_cached("begin")?.execute([])?;
        let snapshot = Snapshot(conn);
        f(snapshot.0)
    }
}

/// An open read transaction, ended also on a panic.
struct Snapshot<'a>(&'a Connection);

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let ended = self.0.prepare_cached("rollback").and_then(|mut end| end.execute([]));
        if let Err(error) = ended {
            tracing::error!(%error, "a read does not let go of its snapshot");
        }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        if self.readers.permits.is_closed() {
            return;
        }
        let mut idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.extend(self.conn.take());
    }
}
