//! From the root key's file to the keys of the appliance: recognised before anything is written.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::Keys;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::secret::Key;
use crate::store::keys::{self, RootKey, State};
use crate::store::{self, audit};
use crate::vault::Vault;
use crate::vault::root::{KeyId, Root};
use crate::vault::service::{self, Purpose};
use crate::vault::source::{KeyFile, Stored};

/// The keys that lie at the place of the root key.
pub(super) struct Found {
    file: KeyFile,
    keys: Vec<Stored>,
}

/// What a key opened.
pub(super) struct Unsealed {
    pub(super) keys: Keys,
    current: KeyId,
    next: Option<KeyId>,
}

impl Found {
    /// Reads the key file, or makes one for a data folder that has no database yet.
    pub(super) fn at(path: &Path, data: &Path) -> Result<Found> {
        let file = KeyFile::at(path, data)?;
        let mut keys = Vec::new();
        keys.extend(file.read()?);
        keys.extend(file.read_next()?);
        if keys.is_empty() {
            if data.join(store::FILE).exists() {
                return Err(Error::new(
                    Code::Unconfigured,
                    format_args!("the root key {} is missing, and the database opens with no other", path.display()),
                )
                .with_hint("name it with --root-key, or restore it from your recovery kit with `hearth key restore`"));
            }
            let key = Stored::Open(Root::generate()?);
            file.create(&key)?;
            keys.push(key);
        }
        Ok(Found { file, keys })
    }

    /// Fails unless one of the keys is the one that the database hangs on.
    pub(super) fn recognise(&self, conn: &Connection) -> Result<()> {
        let roots = keys::roots(conn)?;
        let Some(current) = roots.iter().find(|root| root.state == State::Current) else {
            return match audit::is_empty(conn)? {
                true => Ok(()),
                false => Err(wrong("the database names no root key, though it was made with one")),
            };
        };
        self.keys_under(conn, current).map(drop)
    }

    /// The appliance's keys; a new database gets its keys now.
    pub(super) fn unseal(&self, tx: &Transaction<'_>, now: Timestamp) -> Result<Unsealed> {
        let roots = keys::roots(tx)?;
        let next = roots.iter().find(|root| root.state == State::Next).map(|root| root.key_id);
        match roots.iter().find(|root| root.state == State::Current) {
            Some(current) => Ok(Unsealed { keys: self.keys_under(tx, current)?, current: current.key_id, next }),
            None => self.begin(tx, now),
        }
    }

    pub(super) fn into_vault(self, unsealed: &Unsealed) -> Vault {
        Vault::new(self.file, self.keys, unsealed.current, unsealed.next)
    }

    fn begin(&self, tx: &Transaction<'_>, now: Timestamp) -> Result<Unsealed> {
        let first = self.keys.first().ok_or_else(|| Error::internal("no root key was read"))?;
        let (service, mut made) = (first.service(), Vec::new());
        // A key that is still closed cannot seal its probe; it gets one when it opens.
        let probe = match first {
            Stored::Open(root) => root.probe()?,
            Stored::Closed(_) => Vec::new(),
        };
        keys::insert_root(tx, first.id(), State::Current, &probe, now)?;
        for purpose in Purpose::ALL {
            let key = service::generate()?;
            keys::put_service(tx, purpose.word(), first.id(), &service.wrap(purpose, &key)?)?;
            made.push((purpose, key));
        }
        Ok(Unsealed { keys: Keys::of(&made)?, current: first.id(), next: None })
    }

    fn keys_under(&self, conn: &Connection, current: &RootKey) -> Result<Keys> {
        let found = self.keys.iter().find(|key| key.id() == current.key_id).ok_or_else(|| {
            let ids: Vec<_> = self.keys.iter().map(|key| key.id().to_string()).collect();
            wrong(&format!(
                "the root key {} ({}) is not the one that this database was made with ({})",
                self.file.path().display(),
                ids.join(", "),
                current.key_id
            ))
        })?;
        if let Stored::Open(root) = found
            && !current.probe.is_empty()
            && !root.opens_probe(&current.probe)
        {
            return Err(wrong("the root key has the right name but does not open what it sealed"));
        }
        let service = found.service();
        let mut opened = Vec::new();
        for (word, wrapped) in keys::services(conn)? {
            let Some(purpose) = Purpose::ALL.into_iter().find(|purpose| purpose.word() == word) else { continue };
            let key = service.unwrap(purpose, &wrapped).ok_or_else(|| {
                wrong(&format!("the appliance's {word} key does not open under the root key {}", current.key_id))
            })?;
            opened.push((purpose, key));
        }
        Keys::of(&opened)
    }
}

impl Keys {
    fn of(opened: &[(Purpose, Key)]) -> Result<Keys> {
        let key = |wanted: Purpose| {
            let found = opened.iter().find(|(purpose, _)| *purpose == wanted);
            found
                .map(|(_, key)| key.clone())
                .ok_or_else(|| wrong(&format!("the database has lost the appliance's {} key", wanted.word())))
        };
        Ok(Keys {
            audit: key(Purpose::Audit)?,
            token: key(Purpose::Token)?,
            state: key(Purpose::State)?,
            digest: key(Purpose::Digest)?,
        })
    }

    /// The same keys, as they are wrapped.
    pub fn each(&self) -> [(Purpose, &Key); 4] {
        [
            (Purpose::Audit, &self.audit),
            (Purpose::Token, &self.token),
            (Purpose::State, &self.state),
            (Purpose::Digest, &self.digest),
        ]
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Code::Integrity, what).with_hint("name the right key file with --root-key; nothing was written")
}
