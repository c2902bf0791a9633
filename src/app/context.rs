//! What one call may know about: who asks, and the appliance.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, Transaction};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{App, Caller, Event};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::store::{audit, requests};

/// One call of one tool.
pub struct Context {
    pub caller: Arc<Caller>,
    pub app: Arc<App>,
    pub call_id: String,
    pub tool: &'static str,
    /// The caller's idempotency key, if it gave one.
    pub request_id: Option<String>,
    /// Digest of the tool's input as it came.
    pub input_digest: String,
    pub cancel: CancellationToken,
    pub progress: Progress,
    /// Whether the outcome stands in the audit chain already, committed with the effect.
    settled: Arc<AtomicBool>,
}

impl Context {
    pub fn new(
        app: Arc<App>,
        caller: Arc<Caller>,
        tool: &'static str,
        call_id: String,
        request_id: Option<String>,
        input_digest: String,
    ) -> Context {
        Context {
            caller,
            app,
            call_id,
            tool,
            request_id,
            input_digest,
            cancel: CancellationToken::new(),
            progress: Progress::none(),
            settled: Arc::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Searches and scans: off the async threads.
    pub async fn read<T, F>(&self, f: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        self.app.store.read(f).await
    }

    /// Look-ups by key and pages of an index: where the caller stands.
    pub async fn read_now<T, F>(&self, f: F) -> Result<T>
    where
        F: FnOnce(&Connection) -> Result<T>,
    {
        self.app.store.read_now(f).await
    }

    /// Commits the effect together with its row in the audit chain and the answer to the
    /// caller's `request_id`: all of it, or nothing. `T` is the tool's output.
    pub async fn write<T, F>(&self, f: F) -> Result<T>
    where
        T: Serialize + Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    {
        let key = self.app.keys.audit.clone();
        let record = self.record("outcome", "ok", None);
        let request = self.request_id.clone().map(|id| (self.caller.principal.clone(), id));
        let secrets = Arc::clone(&self.app.secrets);
        let output = self
            .app
            .store
            .write(move |tx| {
                let output = f(tx)?;
                if let Some((principal, id)) = &request {
                    let mut kept = serde_json::to_value(&output).map_err(Error::internal)?;
                    secrets.clean_value(&mut kept);
                    requests::apply(tx, principal, id, &kept.to_string())?;
                }
                audit::append(tx, &key, &record)?;
                Ok(output)
            })
            .await?;
        self.settled.store(true, Ordering::Release);
        Ok(output)
    }

    pub fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Tells those who watch; called after the commit.
    pub fn publish(&self, event: Event) {
        let event = match event {
            Event::Changed { uri } => Event::Changed { uri: self.app.secrets.clean(&uri).into_owned() },
            other => other,
        };
        // Without watchers there is nobody to tell.
        let _ = self.app.events.send(event);
    }

    pub async fn progress(&self, done: f64, total: Option<f64>, message: impl Into<String>) {
        let message = self.app.secrets.clean(&message.into()).into_owned();
        self.progress.tell(Step { done, total, message }).await;
    }

    /// A row of the audit chain about this call.
    pub fn record(&self, phase: &'static str, decision: &str, reason: Option<String>) -> audit::Record {
        audit::Record {
            at: self.now(),
            call_id: self.call_id.clone(),
            principal: self.caller.principal.clone(),
            door: self.caller.door.word().to_owned(),
            tool: self.tool.to_owned(),
            phase,
            decision: decision.to_owned(),
            reason: reason.map(|reason| self.app.secrets.clean(&reason).into_owned()),
            input_digest: Some(self.input_digest.clone()),
            count: None,
        }
    }
}

/// How far a call has come.
#[derive(Clone, Debug)]
pub struct Step {
    pub done: f64,
    pub total: Option<f64>,
    pub message: String,
}

/// Where a call tells how far it has come, if anyone listens.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Step) -> BoxFuture<'static, ()> + Send + Sync>>);

impl Progress {
    /// Silence from a tool that lasts longer is filled, since clients take it for a dead call.
    pub const HEARTBEAT: Duration = Duration::from_secs(10);

    pub fn none() -> Progress {
        Progress(None)
    }

    pub fn to(tell: impl Fn(Step) -> BoxFuture<'static, ()> + Send + Sync + 'static) -> Progress {
        Progress(Some(Arc::new(tell)))
    }

    pub fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    pub async fn tell(&self, step: Step) {
        if let Some(tell) = &self.0 {
            tell(step).await;
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Progress").field(&self.is_heard()).finish()
    }
}
