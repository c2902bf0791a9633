//! What replication asks of the store whose file it follows.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

/// A SQLite database in WAL mode with one writer, none of whose connections ever checkpoints:
/// copying the log back is for the capture alone.
pub trait Source: Send + Sync + 'static {
    fn path(&self) -> &Path;

    /// The database file, opened once. Closing a descriptor of it drops the locks of every
    /// connection in the process, so it lives as long as they do.
    fn file(&self) -> Arc<File>;

    /// One more connection that may checkpoint, itself without automatic checkpoints.
    fn connect(&self) -> rusqlite::Result<Connection>;

    /// Runs `work` while the writer holds the write lock between two transactions.
    fn hold_writes(&self, work: &mut dyn FnMut()) -> Result<(), Unheld>;
}

/// The writer takes no orders: it is closed, or its file is in trouble.
#[derive(Debug, thiserror::Error)]
#[error("the store's writer does not hold still")]
pub struct Unheld;
