//! Who is told of changes: sessions that subscribed, and `subscriptions/listen` of 2026-07-28.

// The newest revision deprecates logging; clients of all revisions still ask for it.
#![allow(deprecated)]

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, ResourceUpdatedNotificationParam};
use rmcp::service::{Peer, SubscriptionSink};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio_util::sync::CancellationToken;

use crate::app::Event;

/// Resources that one session may subscribe to.
pub const RESOURCES: usize = 256;
/// Changes that come together are told together, and each resource once.
const GATHER: Duration = Duration::from_millis(20);
/// A client that does not read is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Watchers {
    next: AtomicU64,
    peers: Mutex<HashMap<u64, Watcher>>,
    sinks: Mutex<HashMap<u64, SubscriptionSink>>,
}

/// A session that can be told things.
pub struct Watcher {
    pub peer: Peer<RoleServer>,
    pub resources: Vec<String>,
    pub level: Option<LoggingLevel>,
}

/// What there is to tell.
#[derive(Default)]
struct News {
    changed: BTreeSet<String>,
    list: bool,
    /// Some of it was missed, so everything may have changed.
    everything: bool,
}

impl Watchers {
    fn peers(&self) -> MutexGuard<'_, HashMap<u64, Watcher>> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|_, watcher| !watcher.peer.is_transport_closed());
        peers
    }

    fn sinks(&self) -> MutexGuard<'_, HashMap<u64, SubscriptionSink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names a handler among those that watch.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Changes what a session watches; the first time makes it known.
    pub fn update<T>(&self, id: u64, peer: &Peer<RoleServer>, f: impl FnOnce(&mut Watcher) -> T) -> T {
        let mut peers = self.peers();
        f(peers.entry(id).or_insert_with(|| Watcher { peer: peer.clone(), resources: Vec::new(), level: None }))
    }

    pub fn level(&self, id: u64) -> Option<LoggingLevel> {
        self.peers().get(&id).and_then(|watcher| watcher.level)
    }

    pub fn add_sink(&self, sink: SubscriptionSink) -> u64 {
        let id = self.next_id();
        self.sinks().insert(id, sink);
        id
    }

    pub fn remove_sink(&self, id: u64) {
        self.sinks().remove(&id);
    }

    /// Passes on what happens in the appliance until `ct` ends it.
    pub async fn pass_on(self: Arc<Self>, mut events: broadcast::Receiver<Event>, ct: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = events.recv() => first,
                () = ct.cancelled() => return,
            };
            let mut news = News::default();
            match first {
                Ok(event) => news.add(event),
                Err(RecvError::Lagged(_)) => news.everything = true,
                Err(RecvError::Closed) => return,
            }
            tokio::time::sleep(GATHER).await;
            loop {
                match events.try_recv() {
                    Ok(event) => news.add(event),
                    Err(TryRecvError::Lagged(_)) => news.everything = true,
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            self.tell(&news).await;
        }
    }

    async fn tell(&self, news: &News) {
        let mut letters: Vec<BoxFuture<'static, ()>> = Vec::new();
        for watcher in self.peers().values() {
            let (peer, uris, list) = (watcher.peer.clone(), news.of_interest(&watcher.resources), news.list());
            if uris.is_empty() && !list {
                continue;
            }
            letters.push(Box::pin(async move {
                if list {
                    let _ = peer.notify_resource_list_changed().await;
                }
                for uri in uris {
                    let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await;
                }
            }));
        }
        for sink in self.sinks().values() {
            let sink = sink.clone();
            let (uris, list) =
                (news.of_interest(sink.accepted().resource_subscriptions.as_deref().unwrap_or_default()), news.list());
            letters.push(Box::pin(async move {
                if list {
                    let _ = sink.notify_resource_list_changed().await;
                }
                for uri in uris {
                    let _ = sink.notify_resource_updated(uri).await;
                }
            }));
        }
        join_all(letters.into_iter().map(|letter| tokio::time::timeout(PATIENCE, letter))).await;
    }

    /// Tells everyone that there are other tools; only the fixtures change theirs.
    pub async fn tools_changed(&self) {
        let (peers, sinks) = self.everyone();
        for peer in peers {
            let _ = peer.notify_tool_list_changed().await;
        }
        for sink in sinks {
            let _ = sink.notify_tool_list_changed().await;
        }
    }

    pub async fn prompts_changed(&self) {
        let (peers, sinks) = self.everyone();
        for peer in peers {
            let _ = peer.notify_prompt_list_changed().await;
        }
        for sink in sinks {
            let _ = sink.notify_prompt_list_changed().await;
        }
    }

    fn everyone(&self) -> (Vec<Peer<RoleServer>>, Vec<SubscriptionSink>) {
        let peers = self.peers().values().map(|watcher| watcher.peer.clone()).collect();
        (peers, self.sinks().values().cloned().collect())
    }
}

impl News {
    fn add(&mut self, event: Event) {
        match event {
            Event::Changed { uri } => drop(self.changed.insert(uri)),
            Event::ListChanged => self.list = true,
            Event::AccessEnded => {}
        }
    }

    fn list(&self) -> bool {
        self.list || self.everything
    }

    /// Those of the subscribed resources that changed, as the subscriber spells them.
    fn of_interest(&self, subscribed: &[String]) -> Vec<String> {
        let is_news = |uri: &&String| self.everything || self.changed.iter().any(|one| one.eq_ignore_ascii_case(uri));
        subscribed.iter().filter(is_news).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_hears_of_its_resources_in_its_own_spelling() {
        let mut news = News::default();
        news.add(Event::Changed { uri: "hearth://host/nas".into() });
        news.add(Event::Changed { uri: "hearth://host/nas".into() });
        let subscribed = ["hearth://host/NAS".to_owned(), "hearth://forum".to_owned()];
        assert_eq!(news.of_interest(&subscribed), ["hearth://host/NAS"]);
        assert!(!news.list());
    }

    #[test]
    fn after_missed_events_everything_may_have_changed() {
        let news = News { everything: true, ..News::default() };
        assert_eq!(news.of_interest(&["hearth://forum".to_owned()]).len(), 1);
        assert!(news.list());
    }
}
