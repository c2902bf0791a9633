//! The root key: its state, rotation, kit and passphrase; for a person at the command line alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Level, rotation};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::registry::{Effect, Entry, Tool};
use crate::secret::Secret;
use crate::store::credentials;
use crate::store::keys::{self, State};
use crate::vault::kit;
use crate::vault::policy::Use;

pub const TOOLS: &[Entry] = &[
    Entry::of::<KeyStatus>(),
    Entry::of::<RotateKey>(),
    Entry::of::<UnlockKey>(),
    Entry::of::<VerifyKit>(),
    Entry::of::<ShowKit>(),
    Entry::of::<Compromised>(),
];

/// Show which root keys the database hangs on
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyStatus {}

#[derive(Serialize, JsonSchema)]
pub struct Status {
    sealed: bool,
    passphrase: bool,
    file: String,
    keys: Vec<ShownKey>,
}

#[derive(Serialize, JsonSchema)]
pub struct ShownKey {
    key_id: String,
    state: String,
    versions: i64,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<Timestamp>,
}

impl Tool for KeyStatus {
    const NAME: &'static str = "key_status";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/keys";
    const PERSON_ONLY: bool = true;
    type Output = Status;

    async fn run(self, cx: &Context) -> Result<Status> {
        let keys = cx
            .read_now(|conn| {
                let shown = |root: keys::RootKey| {
                    Ok(ShownKey {
                        key_id: root.key_id.to_string(),
                        state: root.state.word().to_owned(),
                        versions: credentials::count_under(conn, root.key_id)?,
                        created_at: root.created_at,
                        retired_at: root.retired_at,
                    })
                };
                keys::roots(conn)?.into_iter().map(shown).collect::<Result<_>>()
            })
            .await?;
        let vault = &cx.app.vault;
        let file = vault.file.path().display().to_string();
        Ok(Status { sealed: vault.is_sealed(), passphrase: vault.has_passphrase(), file, keys })
    }
}

/// Exchange the root key, or go on with an exchange that was cut off
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// Of the key file, if it has one
    passphrase: Option<Secret>,
}

#[derive(Serialize, JsonSchema)]
pub struct Rotated {
    old: String,
    new: String,
    next: &'static str,
}

impl Tool for RotateKey {
    const NAME: &'static str = "key_rotate";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/keys/rotate";
    const PERSON_ONLY: bool = true;
    const DEADLINE: Option<std::time::Duration> = Some(std::time::Duration::from_secs(600));
    type Output = Rotated;

    async fn run(self, cx: &Context) -> Result<Rotated> {
        let record = cx.record("use", "ok", Some("the root key was exchanged".to_owned()));
        let (old, new) = rotation::rotate(&cx.app, self.passphrase.as_ref(), record).await?;
        let next = "print a new kit with `hearth key kit`; older backups still need the old one";
        Ok(Rotated { old: old.to_string(), new: new.to_string(), next })
    }
}

/// Open the sealed vault with its passphrase
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnlockKey {
    /// Of the key file
    passphrase: Secret,
}

#[derive(Serialize, JsonSchema)]
pub struct Unlocked {
    key_id: String,
}

impl Tool for UnlockKey {
    const NAME: &'static str = "key_unlock";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/keys/unlock";
    const PERSON_ONLY: bool = true;
    type Output = Unlocked;

    async fn run(self, cx: &Context) -> Result<Unlocked> {
        let (vault, now) = (cx.app.vault.clone(), cx.now());
        // Stretching a passphrase takes half a second of a core.
        tokio::task::spawn_blocking(move || vault.unlock(&self.passphrase, now)).await.map_err(Error::internal)??;
        cx.app.hide_stored().await?;
        rotation::resume(&cx.app).await?;
        Ok(Unlocked { key_id: cx.app.vault.current().to_string() })
    }
}

/// Check a recovery kit against this database and open every secret, showing none
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyKit {
    /// The code on the kit
    code: Secret,
}

#[derive(Serialize, JsonSchema)]
pub struct Verified {
    key_id: String,
    state: String,
    versions: usize,
    opened: usize,
}

impl Tool for VerifyKit {
    const NAME: &'static str = "key_verify";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/keys/verify";
    const PERSON_ONLY: bool = true;
    type Output = Verified;

    async fn run(self, cx: &Context) -> Result<Verified> {
        let root = kit::read(&self.code)?;
        cx.read(move |conn| {
            let known = keys::roots(conn)?.into_iter().find(|known| known.key_id == root.id());
            let known = known.ok_or_else(|| {
                Error::not_found(format_args!("the kit is of root key {}, which this database never had", root.id()))
            })?;
            if known.state == State::Retired {
                return Err(Error::conflict(format_args!("the kit is of root key {}, which was exchanged", root.id()))
                    .with_hint("it opens older backups only; print a new one with `hearth key kit`"));
            }
            let kek = root.kek();
            let mine = credentials::all_versions(conn)?;
            let mine: Vec<_> = mine.iter().filter(|row| row.version.sealed.key_id == root.id()).collect();
            let opens = |row: &&&credentials::Credential| {
                crate::vault::envelope::open(&kek, &row.binding(), &row.version.sealed).is_ok()
            };
            let opened = mine.iter().filter(opens).count();
            let (key_id, state) = (root.id().to_string(), known.state.word().to_owned());
            Ok(Verified { key_id, state, versions: mine.len(), opened })
        })
        .await
    }
}

/// Print the recovery kit
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowKit {}

#[derive(Serialize, JsonSchema)]
pub struct Kit {
    kit: String,
}

impl Tool for ShowKit {
    const NAME: &'static str = "key_kit";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/keys/kit";
    const PERSON_ONLY: bool = true;
    type Output = Kit;

    async fn run(self, cx: &Context) -> Result<Kit> {
        if cx.request_id.is_some() {
            return Err(Error::invalid("request_id", "a kit is not kept for a second answer"));
        }
        Ok(Kit { kit: kit::page(&cx.app.vault.root()?)?.to_string() })
    }
}

/// List what has to be changed when the root key has leaked
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compromised {}

#[derive(Serialize, JsonSchema)]
pub struct ToChange {
    steps: Vec<&'static str>,
    items: Vec<Leaked>,
}

#[derive(Serialize, JsonSchema)]
pub struct Leaked {
    name: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    uses: Vec<Use>,
    changed_at: Timestamp,
}

impl Tool for Compromised {
    const NAME: &'static str = "key_compromise";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/keys/compromise";
    const PERSON_ONLY: bool = true;
    type Output = ToChange;

    async fn run(self, cx: &Context) -> Result<ToChange> {
        let items = cx
            .read_now(|conn| {
                let roots = keys::roots(conn)?;
                // What became a secret under the key in use has never hung on one before it.
                let is_alone = roots.len() < 2;
                let since = roots.iter().find(|root| root.state == State::Current).map(|root| root.created_at);
                let rows = credentials::all_versions(conn)?.into_iter().filter(|row| row.version.replaced_at.is_none());
                let leaked = rows.filter(|row| is_alone || since.is_none_or(|since| row.version.secret_at < since));
                Ok(leaked
                    .map(|row| Leaked {
                        name: row.name,
                        kind: row.version.policy.kind.word().to_owned(),
                        target: row.version.policy.target,
                        uses: row.version.policy.uses,
                        changed_at: row.version.secret_at,
                    })
                    .collect())
            })
            .await?;
        Ok(ToChange {
            steps: vec![
                "exchange the root key: hearth key rotate",
                "change each of these at its service, then: hearth credential rotate NAME",
                "older backups still open with the old key: delete them once these are changed",
                "audit rows since the leak prove nothing against who holds the key and the file",
            ],
            items,
        })
    }
}
