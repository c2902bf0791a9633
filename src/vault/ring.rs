//! The ring of root keys: the one in use, the next one in a rotation, and what is still closed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::envelope::{self, Binding, Sealed};
use super::passphrase::Closed;
use super::root::{KeyId, Root};
use super::source::{KeyFile, Stored};
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::secret::Secret;

/// Wrong passphrases within the window, after which the next has to wait.
const TRIES: usize = 5;
const TRIES_WITHIN: Duration = Duration::from_secs(15 * 60);

/// What seals and opens.
pub struct Vault {
    pub file: KeyFile,
    ring: RwLock<Ring>,
    tries: Mutex<VecDeque<Timestamp>>,
}

#[derive(Clone)]
struct Ring {
    current: KeyId,
    /// Where a rotation goes to: what is sealed meanwhile is sealed under it
    next: Option<KeyId>,
    open: Vec<Root>,
    closed: Vec<Closed>,
}

impl Vault {
    /// `keys` are those that were read; `next` is the one that the database says a rotation goes to.
    pub fn new(file: KeyFile, keys: Vec<Stored>, current: KeyId, next: Option<KeyId>) -> Vault {
        let mut ring = Ring { current, next, open: Vec::new(), closed: Vec::new() };
        for key in keys {
            ring.add(key);
        }
        Vault { file, ring: RwLock::new(ring), tries: Mutex::default() }
    }

    /// Seals under the newest root key.
    pub fn seal(&self, binding: &Binding<'_>, secret: &Secret) -> Result<Sealed> {
        let ring = self.ring();
        envelope::seal(&ring.root(ring.newest())?.kek(), binding, secret)
    }

    pub fn open(&self, binding: &Binding<'_>, sealed: &Sealed) -> Result<Secret> {
        envelope::open(&self.ring().root(sealed.key_id)?.kek(), binding, sealed)
    }

    /// The wrapped data key under the newest root key.
    pub fn rewrap(&self, binding: &Binding<'_>, from: KeyId, wrapped: &[u8]) -> Result<Vec<u8>> {
        let ring = self.ring();
        envelope::rewrap(&ring.root(from)?.kek(), &ring.root(ring.newest())?.kek(), binding, wrapped)
    }

    pub fn current(&self) -> KeyId {
        self.ring().current
    }

    pub fn next(&self) -> Option<KeyId> {
        self.ring().next
    }

    pub fn is_sealed(&self) -> bool {
        let ring = self.ring();
        ring.root(ring.current).is_err()
    }

    /// Whether the key file is under a passphrase, open or not.
    pub fn has_passphrase(&self) -> bool {
        let ring = self.ring();
        ring.closed.iter().any(|closed| closed.service.id == ring.current)
    }

    /// The root key in use: for the kit, and for another form of its file.
    pub fn root(&self) -> Result<Root> {
        let ring = self.ring();
        ring.root(ring.current).cloned()
    }

    /// A root key that is loaded and open.
    pub fn root_by_id(&self, id: KeyId) -> Result<Root> {
        self.ring().root(id).cloned()
    }

    /// Opens what the passphrase opens. Takes its time: call it off the async threads.
    pub fn unlock(&self, passphrase: &Secret, now: Timestamp) -> Result<()> {
        self.admit_try(now)?;
        let closed: Vec<Closed> = self.ring().closed;
        let mut opened = Vec::new();
        for key in &closed {
            opened.extend(key.open(passphrase)?);
        }
        if opened.is_empty() {
            self.tries.lock().unwrap_or_else(PoisonError::into_inner).push_back(now);
            return Err(Error::forbidden("the passphrase does not open the root key"));
        }
        self.tries.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.ring.write().unwrap_or_else(PoisonError::into_inner).open.extend(opened);
        Ok(())
    }

    /// Adds the key that a rotation goes to; what is sealed from now on is sealed under it.
    pub fn begin(&self, next: Stored, opened: Root) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.next = Some(next.id());
        ring.add(next);
        if ring.root(opened.id()).is_err() {
            ring.open.push(opened);
        }
    }

    /// The next key is the one in use.
    pub fn finish(&self) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = ring.next.take() {
            ring.current = next;
            ring.open.retain(|root| root.id() == next);
            ring.closed.retain(|closed| closed.service.id == next);
        }
    }

    /// The key file has another form now; the key in it is the same.
    pub fn reform(&self, key: Stored) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.closed.retain(|closed| closed.service.id != key.id());
        if let Stored::Closed(closed) = key {
            ring.closed.push(closed);
        }
    }

    fn admit_try(&self, now: Timestamp) -> Result<()> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        while tries.front().is_some_and(|first| TRIES_WITHIN <= now.since(*first)) {
            tries.pop_front();
        }
        match tries.front() {
            Some(first) if TRIES <= tries.len() => Err(Error::new(
                Code::RateLimited,
                format_args!("{TRIES} wrong passphrases within {} minutes", TRIES_WITHIN.as_secs() / 60),
            )
            .with_retry_after(TRIES_WITHIN.saturating_sub(now.since(*first)))),
            _ => Ok(()),
        }
    }

    fn ring(&self) -> Ring {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ring {
    fn add(&mut self, key: Stored) {
        match key {
            Stored::Open(root) => self.open.push(root),
            Stored::Closed(closed) => self.closed.push(closed),
        }
    }

    fn newest(&self) -> KeyId {
        self.next.unwrap_or(self.current)
    }

    fn root(&self, id: KeyId) -> Result<&Root> {
        if let Some(root) = self.open.iter().find(|root| root.id() == id) {
            return Ok(root);
        }
        if self.closed.iter().any(|closed| closed.service.id == id) {
            return Err(Error::new(Code::Sealed, "the vault is sealed: its root key waits for its passphrase")
                .with_hint("a person has to run `hearth key unlock` on the server"));
        }
        Err(Error::new(Code::Integrity, format_args!("the root key {id} that this is sealed under is not loaded"))
            .with_hint("put its file back beside the key file, under that file's name and `.next`, and restart"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::vault::{Kind, Policy};

    fn vault(key: Stored) -> Vault {
        let dir = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&dir.path().join("root.key"), &dir.path().join("data")).unwrap();
        let id = key.id();
        Vault::new(file, vec![key], id, None)
    }

    fn policy() -> Policy {
        Policy {
            kind: Kind::Password,
            target: None,
            uses: Vec::new(),
            pins: Vec::new(),
            level: Level::Manage,
            username: None,
            header: None,
        }
    }

    #[test]
    fn a_sealed_vault_says_so_until_it_is_unlocked_and_counts_wrong_passphrases() {
        let passphrase = Secret::copied(b"correct horse battery");
        let key = Stored::new(Root::generate().unwrap(), Some(&passphrase)).unwrap();
        let vault = vault(key);
        let (policy, now) = (policy(), Timestamp::from_secs(1_000));
        let binding = Binding { credential_id: "c", version: 1, policy: &policy };
        assert!(vault.is_sealed());
        assert_eq!(vault.seal(&binding, &passphrase).err().unwrap().code, Code::Sealed);
        vault.unlock(&passphrase, now).unwrap();
        let sealed = vault.seal(&binding, &passphrase).unwrap();
        assert!(vault.open(&binding, &sealed).is_ok() && !vault.is_sealed() && vault.has_passphrase());
    }

    #[test]
    fn too_many_wrong_passphrases_have_to_wait() {
        let mut root = Stored::new(Root::generate().unwrap(), Some(&Secret::copied(b"correct horse battery"))).unwrap();
        if let Stored::Closed(closed) = &mut root {
            // What is guessed against here need not be slow.
            *closed = closed.hurried();
        }
        let vault = vault(root);
        let (wrong, start) = (Secret::copied(b"wrong"), Timestamp::from_secs(1_000));
        for _ in 0..TRIES {
            assert_eq!(vault.unlock(&wrong, start).err().unwrap().code, Code::Forbidden);
        }
        assert_eq!(vault.unlock(&wrong, start).err().unwrap().code, Code::RateLimited);
        assert_eq!(vault.unlock(&wrong, start + TRIES_WITHIN).err().unwrap().code, Code::Forbidden);
    }

    #[test]
    fn in_a_rotation_both_keys_open_and_the_next_one_seals() {
        let (old, new) = (Root::generate().unwrap(), Root::generate().unwrap());
        let vault = vault(Stored::Open(old.clone()));
        let policy = policy();
        let binding = Binding { credential_id: "c", version: 1, policy: &policy };
        let sealed = vault.seal(&binding, &Secret::copied(b"hunter2")).unwrap();
        vault.begin(Stored::Open(new.clone()), new.clone());
        assert_eq!(vault.open(&binding, &sealed).unwrap().expose(), b"hunter2");
        let wrapped = vault.rewrap(&binding, old.id(), &sealed.wrapped).unwrap();
        let moved = Sealed { key_id: new.id(), wrapped, value: sealed.value.clone() };
        assert_eq!(vault.open(&binding, &moved).unwrap().expose(), b"hunter2");
        assert_eq!(vault.seal(&binding, &Secret::copied(b"x")).unwrap().key_id, new.id());
        vault.finish();
        assert_eq!(vault.current(), new.id());
        assert_eq!(vault.open(&binding, &sealed).err().unwrap().code, Code::Integrity);
        assert!(vault.open(&binding, &moved).is_ok());
    }
}
