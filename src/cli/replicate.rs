//! The store as what replication follows, from the start of a server to its stop.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::args::{Place, Serve};
use crate::app::App;
use crate::error::{Code, Error, Result};
use crate::replica::object;
use crate::replica::replicator::{Bell, Replicator, Settings};
use crate::replica::source::{Source, Unheld};
use crate::store::Store;

/// How long a stop waits for what is not in the object store yet.
const LAST_SYNC: Duration = Duration::from_secs(30);
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// What may wait on this disk while the object store is away.
const SPOOL_BYTES: u64 = 256 << 20;
const SPOOL: &str = "spool";

struct Followed(Store);

impl Source for Followed {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> Arc<File> {
        self.0.file()
    }

    fn connect(&self) -> rusqlite::Result<rusqlite::Connection> {
        self.0.connect_follower()
    }

    fn hold_writes(&self, work: &mut dyn FnMut()) -> std::result::Result<(), Unheld> {
        self.0.hold_writes(work).map_err(|_| Unheld)
    }
}

/// Replicates to the address that was named, if one was.
pub async fn start(app: &App, place: &Place, args: &Serve) -> Result<Option<Replicator>> {
    let Some(address) = &args.replica else { return Ok(None) };
    let store = object::url::open(address).map_err(|error| Error::new(Code::Unconfigured, error))?;
    tracing::info!(replica = store.describe(), "replicating");
    let settings = Settings { spool: place.data.join(SPOOL), sync_interval: SYNC_INTERVAL, spool_bytes: SPOOL_BYTES };
    let (source, clock) = (app.store.clone(), Arc::clone(&app.clock));
    let bell = Arc::new(Bell::default());
    let rung = Arc::clone(&bell);
    app.store.follow(move || rung.ring());
    let start = move || Replicator::start(Arc::new(Followed(source)), bell, store, settings, clock);
    let started = tokio::task::spawn_blocking(start).await.map_err(Error::internal)?;
    started.map(Some).map_err(|error| {
        Error::unavailable(format_args!("the database cannot be replicated: {error}"))
            .with_hint("see that the data folder can be written and that its disk is not full")
            .with_source(error)
    })
}

/// Brings the last commits into the object store, unless `hurry` comes first; says what is left, if anything is.
pub async fn stop(replicator: Replicator, hurry: impl Future<Output = ()>) -> bool {
    let enough = async {
        // Either way it was enough.
        let _ = tokio::time::timeout(LAST_SYNC, hurry).await;
    };
    let progress = replicator.stop(enough).await;
    let is_done = progress.captured <= progress.replicated;
    if is_done {
        tracing::info!(txid = %progress.replicated, "replicated to the last commit");
    } else {
        tracing::warn!(
            captured = %progress.captured,
            replicated = %progress.replicated,
            "not everything is in the object store; the rest waits in the spool for the next start"
        );
    }
    is_done
}
