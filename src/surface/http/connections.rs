//! The open connections: bounded in all and per peer, and those that do nothing make room for new ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    pub in_all: usize,
    pub per_peer: usize,
}

#[derive(Clone)]
pub struct Connections(Arc<Shared>);

struct Shared {
    most: Most,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    peer: IpAddr,
    activity: Arc<Activity>,
    evicted: CancellationToken,
}

/// What a connection is doing.
struct Activity {
    requests: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// A place among the connections; dropping it frees the place.
pub struct Place {
    connections: Connections,
    id: u64,
    activity: Arc<Activity>,
    /// Cancelled when another connection needs the place more.
    pub evicted: CancellationToken,
}

/// A request in progress, its answer included.
pub struct Busy(Arc<Activity>);

impl Connections {
    pub fn new(most: Most) -> Connections {
        Connections(Arc::new(Shared { most, open: Mutex::default() }))
    }

    /// Takes a place, if need be that of the connection which has waited longest for its next
    /// request: whoever opens connections and stays silent shuts out nobody else.
    pub fn enter(&self, peer: IpAddr) -> Option<Place> {
        let most = self.0.most;
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = open.entries.values().filter(|entry| entry.peer == peer).count();
        if most.per_peer <= of_peer {
            open.evict(|entry| entry.peer == peer)?;
        } else if most.in_all <= open.entries.len() {
            open.evict(|_| true)?;
        }
        let id = open.next_id;
        open.next_id += 1;
        let activity = Arc::new(Activity { requests: AtomicUsize::new(0), idle_since: Mutex::new(Instant::now()) });
        let evicted = CancellationToken::new();
        open.entries.insert(id, Entry { peer, activity: Arc::clone(&activity), evicted: evicted.clone() });
        Some(Place { connections: self.clone(), id, activity, evicted })
    }

    pub fn len(&self) -> usize {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Open {
    fn evict(&mut self, may_go: impl Fn(&Entry) -> bool) -> Option<()> {
        let idle = self.entries.iter().filter(|(_, entry)| may_go(entry) && entry.activity.is_idle());
        let (id, _) = idle.min_by_key(|(_, entry)| entry.activity.idle_since())?;
        let id = *id;
        self.entries.remove(&id)?.evicted.cancel();
        Some(())
    }
}

impl Activity {
    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0
    }

    fn idle_since(&self) -> Instant {
        *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub fn is_idle(&self) -> bool {
        self.activity.is_idle()
    }

    /// Marks a request until the mark is dropped.
    pub fn busy(&self) -> Busy {
        self.activity.requests.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.activity))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.entries.remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_makes_room_and_the_busy_do_not() {
        let connections = Connections::new(Most { in_all: 3, per_peer: 2 });
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = connections.enter(a).unwrap();
        let second = connections.enter(a).unwrap();
        let busy = first.busy();
        let third = connections.enter(a).unwrap();
        assert!(second.evicted.is_cancelled() && !first.evicted.is_cancelled());
        let busy_too = third.busy();
        assert!(connections.enter(a).is_none());
        let other = connections.enter(b).unwrap();
        let another = connections.enter(b).unwrap();
        assert!(other.evicted.is_cancelled());
        assert_eq!(connections.len(), 3);
        drop((busy, busy_too, first, second, third, another, other));
        assert!(connections.is_empty());
    }
}
