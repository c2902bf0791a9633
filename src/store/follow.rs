//! What somebody needs who follows the log and copies it back in the writer's place.

use std::fs::File;
use std::sync::{Arc, PoisonError, mpsc};

use rusqlite::Connection;

use super::connection::open_follower;
use super::writer::Task;
use super::{Store, stopping};
use crate::error::{Error, Result};

impl Store {
    /// From now on the log is copied back by the caller alone, who is told of each commit before
    /// anybody else; `false` if there is such a caller already.
    pub fn follow(&self, told: impl Fn() + Send + Sync + 'static) -> bool {
        self.shared.follower.set(Box::new(told)).is_ok()
    }

    /// One more connection, for counting the frames of the log and copying them back.
    pub fn connect_follower(&self) -> rusqlite::Result<Connection> {
        open_follower(&self.shared.path)
    }

    /// The database file; it stays open as long as the store.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.shared.file)
    }

    /// Runs `work` while the writer holds the write lock between two transactions. Blocks the thread.
    pub fn hold_writes(&self, work: &mut dyn FnMut()) -> Result<()> {
        let jobs = self.shared.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(stopping)?;
        let (held, is_held) = mpsc::sync_channel::<()>(1);
        let (release, released) = mpsc::sync_channel::<()>(1);
        let hold = move |conn: &Connection| {
            if let Err(error) = conn.execute_batch("begin immediate") {
                tracing::warn!(%error, "the write lock is not to be had");
                return;
            }
            if held.send(()).is_ok() {
                // Ends with the sender, also if its thread panics.
                let _ = released.recv();
            }
            if let Err(error) = conn.execute_batch("rollback") {
                tracing::error!(%error, "the write lock was not given back");
            }
        };
        jobs.blocking_send(Task::Hold(Box::new(hold))).map_err(|_| stopping())?;
        is_held.recv().map_err(|_| Error::unavailable("the store's writer does not hold still"))?;
        work();
        drop(release);
        Ok(())
    }
}
