//! Restoring: files of a store become a database file, whole or not at all.

mod catalog;
mod fetch;
mod output;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::catalog::{Head, catalog, head};
use super::ltx::{self, Txid};
use super::object::{self, ObjectStore};
use super::plan::{self, Candidate, Target};

/// How often a plan is made anew when a compaction took a file of it away.
const PLANS_MAX: usize = 5;

/// How a restore goes on.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// These files are taken, oldest first; said again when a file vanished and it begins anew
    Planned(&'a [Candidate]),
    /// So many bytes more; said often
    Arrived(u64),
}

pub type Progress = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub txid: Txid,
    /// Of the last transaction, since 1970
    pub timestamp_ms: i64,
    pub page_size: u32,
    pub pages: u32,
    pub files: usize,
    pub fetched_bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{place}: {source}")]
    Plan { place: String, source: plan::Error },
    #[error(transparent)]
    Store(#[from] object::Error),
    #[error("{object} {source}")]
    File { object: String, source: ltx::Error },
    #[error("{object} does not fit to the others: {reason}")]
    Misfit { object: String, reason: String },
    #[error("page {pgno} of {pages} is in none of the files")]
    PageMissing { pgno: u32, pages: u32 },
    #[error("the database was deleted by transaction {txid}")]
    Deleted { txid: Txid },
    #[error("{} exists already, and nothing is overwritten; name another file or move it away", path.display())]
    Exists { path: PathBuf },
    #[error("{} cannot be {what}", path.display())]
    Output { path: PathBuf, what: &'static str, source: std::io::Error },
    #[error("what was restored is no sound database: {0}")]
    Unsound(String),
    #[error("files vanish faster than they are read; {PLANS_MAX} plans were tried")]
    Vanishing,
}

/// Plans and restores into `output`, which must not exist.
///
/// Every checksum is verified, and SQLite checks the result, before it gets its name.
pub async fn restore(
    store: &Arc<dyn ObjectStore>,
    target: Target,
    output: &Path,
    progress: Progress,
) -> Result<Restored, Error> {
    output::refuse_existing(output)?;
    for _ in 0..PLANS_MAX {
        let files = planned(store, target).await?;
        progress(Event::Planned(&files));
        match apply(store, files, output, progress.clone()).await {
            Err(Error::Store(error)) if error.is_not_found() => {}
            other => return other,
        }
    }
    Err(Error::Vanishing)
}

/// The files that a restore would take, oldest first.
pub async fn planned(store: &Arc<dyn ObjectStore>, target: Target) -> Result<Vec<Candidate>, Error> {
    let files = catalog(store, target).await?;
    plan::restore(&files, target).map_err(|source| Error::Plan { place: store.describe(), source })
}

async fn apply(
    store: &Arc<dyn ObjectStore>,
    mut files: Vec<Candidate>,
    output: &Path,
    progress: Progress,
) -> Result<Restored, Error> {
    // Newest first: each page is then written once, and what is superseded not at all.
    files.reverse();
    let names = files.iter().map(|file| format!("{}/{}", store.describe(), file.key)).collect();
    let pieces = fetch::pieces(store, &files, progress);
    let output = output.to_owned();
    let work = move || {
        let temporary = output::Temporary::create(&output)?;
        let restored = write::write(&files, names, pieces, &temporary)?;
        temporary.check()?;
        temporary.keep(&output)?;
        Ok(restored)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
