//! A new root key for everything that hangs on the old one, in steps that a crash may part.
//!
//! ```text
//!   FILE.next on disk → the database names it → versions re-wrapped, BATCH a transaction
//!     → in one transaction: none left, the appliance's keys re-wrapped, next becomes current
//!     → FILE.next takes the place of FILE, which stays as FILE.<key id>
//! ```
//!
//! Up to the last step both keys are loaded at a start, and [`resume`] goes on from wherever it was.

use super::App;
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::store::audit::{self, Record};
use crate::store::credentials;
use crate::store::keys::{self, State};
use crate::vault::root::{KeyId, Root};
use crate::vault::source::Stored;

/// Versions re-wrapped in one transaction.
const BATCH: usize = 500;

/// Begins a rotation, or goes on with one, and brings it to its end. Under a passphrase the new
/// key comes under the same one.
pub async fn rotate(app: &App, passphrase: Option<&Secret>, record: Record) -> Result<(KeyId, KeyId)> {
    let old = app.vault.current();
    if app.vault.next().is_none() {
        let next = prepared(app, passphrase)?;
        let root = next.1.clone();
        let (id, probe, now) = (root.id(), root.probe()?, app.clock.now());
        app.store.write(move |tx| keys::insert_root(tx, id, State::Next, &probe, now)).await?;
        app.vault.begin(next.0, root);
    }
    finish(app, record).await?;
    Ok((old, app.vault.current()))
}

/// Goes on with a rotation that a crash cut off, if there is one.
pub async fn resume(app: &App) -> Result<bool> {
    let Some(current) = app.vault.file.read()? else { return Ok(false) };
    if current.id() != app.vault.current() {
        // The database was ahead of the files.
        app.vault.file.adopt_next(current.id())?;
        return Ok(true);
    }
    if app.vault.next().is_none() || app.vault.is_sealed() {
        return Ok(false);
    }
    let record = Record {
        at: app.clock.now(),
        principal: "hearth".to_owned(),
        door: "start".to_owned(),
        tool: "key_rotate".to_owned(),
        phase: "outcome",
        decision: "ok".to_owned(),
        reason: Some("went on with a rotation that was cut off".to_owned()),
        ..Record::default()
    };
    finish(app, record).await?;
    Ok(true)
}

/// The key to go to: one that was made before a crash, or a new one.
fn prepared(app: &App, passphrase: Option<&Secret>) -> Result<(Stored, Root)> {
    let file = &app.vault.file;
    app.vault.root()?;
    if let Some(next) = file.read_next()? {
        return match (&next, passphrase) {
            (Stored::Open(root), _) => Ok((next.clone(), root.clone())),
            (Stored::Closed(closed), Some(passphrase)) => match closed.open(passphrase)? {
                Some(root) => Ok((next, root)),
                None => Err(Error::forbidden("the passphrase does not open the next root key")),
            },
            (Stored::Closed(_), None) => Err(passphrase_missing()),
        };
    }
    if app.vault.has_passphrase() && passphrase.is_none() {
        return Err(passphrase_missing());
    }
    let root = Root::generate()?;
    let next = Stored::new(root.clone(), passphrase)?;
    file.create_next(&next)?;
    Ok((next, root))
}

async fn finish(app: &App, record: Record) -> Result<()> {
    let (old, next) = (app.vault.current(), app.vault.next());
    let next = next.ok_or_else(|| Error::internal("a rotation without a next key"))?;
    let root = app.vault.root_by_id(next)?;
    loop {
        let vault = app.vault.clone();
        let moved = app
            .store
            .write(move |tx| {
                let batch = credentials::under(tx, old, BATCH)?;
                for row in &batch {
                    let wrapped = vault.rewrap(&row.binding(), old, &row.version.sealed.wrapped).map_err(|error| {
                        Error::new(Code::Integrity, format_args!("credential `{}`: {}", row.name, error.message))
                            .with_hint("remove it with credential_remove, then rotate again")
                    })?;
                    credentials::rehang(tx, row, next, &wrapped)?;
                }
                Ok(batch.len())
            })
            .await?;
        if moved < BATCH {
            break;
        }
    }
    let (service, now, key) = (root.service(), app.clock.now(), app.keys.audit.clone());
    let wrapped = app.keys.each().map(|(purpose, key)| service.wrap(purpose, key).map(|wrapped| (purpose, wrapped)));
    let wrapped = wrapped.into_iter().collect::<Result<Vec<_>>>()?;
    app.store
        .write(move |tx| {
            if credentials::count_under(tx, old)? != 0 {
                return Err(Error::conflict("a secret was sealed under the old key meanwhile").with_hint("call again"));
            }
            keys::promote(tx, old, next, now)?;
            for (purpose, wrapped) in &wrapped {
                keys::put_service(tx, purpose.word(), next, wrapped)?;
            }
            audit::append(tx, &key, &record)
        })
        .await?;
    app.vault.finish();
    app.vault.file.adopt_next(old)
}

fn passphrase_missing() -> Error {
    Error::invalid("passphrase", "must be given, since the root key is under one")
}
