//! The parts of the appliance, and what one call may know of them.

pub mod access;
pub mod caller;
pub mod context;
pub mod credentials;
pub mod event;
pub mod limiter;
pub mod metrics;
mod reads;
mod redaction;
pub mod rotation;
mod unseal;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use rusqlite::Transaction;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

pub use crate::level::Level;
pub use caller::{Caller, Door};
pub use context::{Context, Progress};
pub use event::Event;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Config;
use crate::error::Result;
use crate::redact::Secrets;
use crate::secret::Key;
use crate::store::{Store, approvals, audit, credentials as stored, requests};
use crate::vault::Vault;

/// Watchers that lag behind this many events miss some, and are told so.
const EVENTS: usize = 1024;
const READS_EVERY: Duration = Duration::from_secs(60);

/// The parts, built once; no logic.
pub struct App {
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
    pub keys: Keys,
    pub vault: Arc<Vault>,
    pub events: broadcast::Sender<Event>,
    pub metrics: metrics::Metrics,
    pub limits: limiter::Limiter,
    pub reads: reads::Reads,
    pub data: PathBuf,
    /// What must not leave the process.
    pub secrets: Arc<Secrets>,
    pub started_at: Timestamp,
    /// Our own addresses, which no health check may reach.
    pub listening: RwLock<Vec<SocketAddr>>,
}

/// Each key for one purpose; they outlive the root key that wraps them.
pub struct Keys {
    /// The macs of the audit chain.
    pub audit: Key,
    /// The hashes of bearer tokens.
    pub token: Key,
    /// The seals of state that a client holds for us.
    pub state: Key,
    /// Digests of inputs: a bare hash of a short secret could be guessed.
    pub digest: Key,
}

impl App {
    /// Opens the data folder, making what is missing.
    pub fn open(data: &Path, root_key: &Path, config: Config) -> Result<Arc<App>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (found, now) = (unseal::Found::at(root_key, data)?, clock.now());
        let begin = |tx: &Transaction<'_>| Ok((found.unseal(tx, now)?, stored::all_versions(tx)?));
        let (store, (unsealed, versions)) = Store::open_with(data, |conn| found.recognise(conn), begin)?;
        let vault = Arc::new(found.into_vault(&unsealed));
        let secrets = Arc::new(Secrets::default());
        redaction::hide(&secrets, &vault, &versions);
        Ok(Arc::new(App {
            store,
            started_at: clock.now(),
            clock,
            keys: unsealed.keys,
            vault,
            events: broadcast::channel(EVENTS).0,
            metrics: metrics::Metrics::default(),
            limits: limiter::Limiter::new(config.limits.clone()),
            reads: reads::Reads::default(),
            data: data.to_owned(),
            secrets,
            listening: RwLock::default(),
            config,
        }))
    }

    /// Writes the counted reads and drops what has expired, until cancelled.
    pub async fn keep_house(self: Arc<Self>, cancel: CancellationToken) {
        while cancel.run_until_cancelled(tokio::time::sleep(READS_EVERY)).await.is_some() {
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, cause = error.chain(), "housekeeping failed");
            }
        }
    }

    async fn tidy(&self) -> Result<()> {
        self.write_reads().await?;
        let now = self.clock.now();
        let (vault, secrets) = (self.vault.clone(), self.secrets.clone());
        self.store
            .write(move |tx| {
                requests::expire(tx, now)?;
                if stored::expire(tx, now)? != 0 {
                    redaction::hide(&secrets, &vault, &stored::all_versions(tx)?);
                }
                approvals::expire(tx, now)
            })
            .await
    }

    /// Writes the reads that are only counted so far.
    pub async fn write_reads(&self) -> Result<()> {
        let rows = self.reads.take(self.clock.now());
        if rows.is_empty() {
            return Ok(());
        }
        let key = self.keys.audit.clone();
        self.store
            .write(move |tx| {
                for row in &rows {
                    audit::append(tx, &key, row)?;
                }
                Ok(())
            })
            .await
    }

    /// Writes what is only counted so far and closes the store.
    pub async fn close(&self) -> Result<()> {
        self.write_reads().await?;
        self.store.close().await
    }
}
