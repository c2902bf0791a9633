//! Making, changing and rotating credentials.

use std::sync::Arc;

use rusqlite::Connection;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::{Named, Shown, check, get};
use crate::app::{Context, Level};
use crate::clock::Timestamp;
use crate::config::duration::Duration;
use crate::error::{Error, Result};
use crate::id;
use crate::redact::Secrets;
use crate::registry::{Effect, Tool};
use crate::secret::Secret;
use crate::store::credentials::{self, Credential, NewCredential, Previous, Version};
use crate::store::inventory::services::Service;
use crate::store::inventory::{Kind as Entry, links, record};
use crate::text::{Line, Name, Text};
use crate::vault::private::private_parts;
use crate::vault::{Binding, Kind, Policy, Use};

/// The most pins of one credential.
const PINS: usize = 16;

/// Seal a secret for a target, or change what it is for
///
/// What is left out stays. Wider uses, pins, level or another target need the secret again. An
/// ssh_key without secret is made here; its public half is answered.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutCredential {
    /// Credential
    name: Name,
    /// Kind; needed for a new one
    kind: Option<Kind>,
    /// The secret
    secret: Option<Secret>,
    /// User name, in the clear
    username: Option<Line<120>>,
    /// `host:NAME`, `vm:NAME` or `service:NAME`; without, it can only be shown
    target: Option<Line<80>>,
    /// What for; as usual for its kind if left out
    uses: Option<Vec<Use>>,
    /// Origins or host keys (`SHA256:…`) it goes to; a service's own if left out
    pins: Option<Vec<Line<200>>>,
    /// Least level of who uses it; 2 if left out
    level: Option<Level>,
    /// Header that carries it, for http_header
    header: Option<Line<64>>,
    /// How long it holds, like `90d`
    expires: Option<Line<32>>,
    /// Notes, in the clear
    notes: Option<Text<0, 2000>>,
}

impl Tool for PutCredential {
    const NAME: &'static str = "credential_put";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "PUT /api/credentials/{name}";
    type Output = Shown;

    async fn run(self, cx: &Context) -> Result<Shown> {
        self.secret.as_ref().map_or(Ok(()), check)?;
        let (existing, policy) = cx
            .read_now(|conn| {
                let existing = credentials::get(conn, &self.name)?;
                let policy = self.policy(conn, existing.as_ref())?;
                Ok((existing, policy))
            })
            .await?;
        let expires_at = match &self.expires {
            None => existing.as_ref().and_then(|existing| existing.expires_at),
            Some(text) => {
                let lasts: Duration = text.parse().map_err(|error| Error::invalid("expires", error))?;
                Some(cx.now() + std::time::Duration::from(lasts))
            }
        };
        let notes = match self.notes {
            None => existing.as_ref().and_then(|existing| existing.notes.clone()),
            Some(text) => Some(text.into_string()).filter(|text| !text.is_empty()),
        };
        let Some(existing) = existing else {
            return insert(cx, self.name.into_string(), policy, self.secret, notes, expires_at).await;
        };
        let version = match self.secret {
            Some(secret) => {
                let (version, secret) = renewed(cx, &existing, policy, secret)?;
                Some((version, Previous::Keep, Some(secret)))
            }
            None if policy == existing.version.policy => None,
            None if policy.is_within(&existing.version.policy) => {
                // The same secret under the narrower policy; the wider seal must not be kept.
                let secret = cx.app.vault.open(&existing.binding(), &existing.version.sealed)?;
                let (mut version, _) = renewed(cx, &existing, policy, secret)?;
                version.secret_at = existing.version.secret_at;
                Some((version, Previous::Drop, None))
            }
            None => {
                return Err(Error::forbidden(format_args!(
                    "credential `{}` would be for more than before; only who knows the secret may widen it",
                    existing.name
                ))
                .with_hint("give `secret` again"));
            }
        };
        let (id, secrets) = (existing.credential_id, Arc::clone(&cx.app.secrets));
        cx.write(move |tx| {
            if let Some((version, previous, secret)) = &version {
                if let Some(secret) = secret {
                    hide(&secrets, &id, version.policy.kind, secret);
                }
                credentials::replace(tx, &id, version, *previous)?;
            }
            credentials::describe(tx, &id, notes.as_deref(), expires_at)?;
            Ok(Shown::of(get(tx, &existing.name)?))
        })
        .await
    }
}

impl PutCredential {
    fn policy(&self, conn: &Connection, existing: Option<&Credential>) -> Result<Policy> {
        let old = existing.map(|existing| &existing.version.policy);
        let kind = self.kind.or(old.map(|old| old.kind));
        let kind = kind.ok_or_else(|| Error::invalid("kind", "must be named for a new credential"))?;
        if let Some(old) = old.filter(|old| old.kind != kind) {
            return Err(Error::invalid("kind", format_args!("is {} and stays so", old.kind))
                .with_hint("remove the credential first, or choose another name"));
        }
        let target = match &self.target {
            None => old.and_then(|old| old.target.clone()),
            Some(link) => Some(links::resolve_link(conn, "target", link, &[Entry::Host, Entry::Vm, Entry::Service])?),
        };
        let mut uses = match (&self.uses, old) {
            (Some(uses), _) => uses.clone(),
            (None, Some(old)) => old.uses.clone(),
            (None, None) => kind.usual_uses().to_vec(),
        };
        let header = self.header.as_ref().map(|header| header.to_string()).or(old.and_then(|old| old.header.clone()));
        if self.uses.is_none() && old.is_none() && header.is_some() {
            uses = vec![Use::HttpHeader, Use::Reveal];
        }
        uses.sort_unstable();
        uses.dedup();
        let username = self.username.as_ref().map(|name| name.to_string()).or(old.and_then(|old| old.username.clone()));
        if username.is_none() && (kind == Kind::UsernamePassword || uses.contains(&Use::HttpBasic)) {
            return Err(Error::invalid("username", "must be given for this kind and use"));
        }
        if uses.contains(&Use::HttpHeader) {
            let name = header.as_deref().ok_or_else(|| Error::invalid("header", "must be given for http_header"))?;
            http::HeaderName::try_from(name).map_err(|_| Error::invalid("header", "is not the name of a header"))?;
        }
        let mut pins = match (&self.pins, old) {
            (Some(pins), _) => pins.iter().map(|pin| pin_of(pin)).collect::<Result<Vec<_>>>()?,
            (None, Some(old)) if self.target.is_none() => old.pins.clone(),
            _ => own_origin(conn, target.as_deref(), &uses)?,
        };
        pins.sort_unstable();
        pins.dedup();
        if PINS < pins.len() {
            return Err(Error::invalid("pins", format_args!("may be {PINS}, not {}", pins.len())));
        }
        let level = self.level.or(old.map(|old| old.level)).unwrap_or(Level::Operate);
        Ok(Policy { kind, target, uses, pins, level, username, header })
    }
}

/// The origin of a service as the inventory has it now: a later edit of it leads the secret nowhere.
fn own_origin(conn: &Connection, target: Option<&str>, uses: &[Use]) -> Result<Vec<String>> {
    let Some((Entry::Service, name)) = target.and_then(links::parts) else { return Ok(Vec::new()) };
    if !uses.iter().any(|usage| usage.is_http()) {
        return Ok(Vec::new());
    }
    let service = record::get::<Service>(conn, &name)?;
    Ok(vec![service.endpoint.health_url()?.origin().ascii_serialization()])
}

fn pin_of(pin: &str) -> Result<String> {
    if pin.starts_with("SHA256:") {
        return Ok(pin.to_owned());
    }
    match Url::parse(pin) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url.origin().ascii_serialization()),
        _ => Err(Error::invalid("pins", "must be origins such as https://nas.lan:8443, or host keys such as SHA256:…")),
    }
}

async fn insert(
    cx: &Context,
    name: String,
    policy: Policy,
    secret: Option<Secret>,
    notes: Option<String>,
    expires_at: Option<Timestamp>,
) -> Result<Shown> {
    let (secret, public_key) = material(&policy, &name, secret)?;
    let credential_id = id::handle();
    let binding = Binding { credential_id: &credential_id, version: 1, policy: &policy };
    let sealed = cx.app.vault.seal(&binding, &secret)?;
    let (now, by, secrets) = (cx.now(), cx.caller.principal.clone(), Arc::clone(&cx.app.secrets));
    let new = NewCredential { credential_id, name, notes, expires_at, policy, public_key, sealed, now, by };
    cx.write(move |tx| {
        hide(&secrets, &new.credential_id, new.policy.kind, &secret);
        credentials::insert(tx, &new)?;
        Ok(Shown::of(get(tx, &new.name)?))
    })
    .await
}

/// Before it is committed: whoever reads it afterwards already gets `***`. It stays hidden if the commit fails.
fn hide(secrets: &Secrets, credential_id: &str, kind: Kind, secret: &Secret) {
    let parts = private_parts(kind, secret);
    secrets.add_all(parts.iter().map(|part| (part.expose(), credential_id)));
}

/// The next version of a credential, with another secret or policy.
fn renewed(cx: &Context, existing: &Credential, policy: Policy, secret: Secret) -> Result<(Version, Secret)> {
    let (secret, public_key) = material(&policy, &existing.name, Some(secret))?;
    Ok((sealed_version(cx, existing, policy, &secret, public_key)?, secret))
}

fn sealed_version(
    cx: &Context,
    existing: &Credential,
    policy: Policy,
    secret: &Secret,
    public_key: Option<String>,
) -> Result<Version> {
    let (number, now) = (existing.version.number + 1, cx.now());
    let binding = Binding { credential_id: &existing.credential_id, version: number.unsigned_abs(), policy: &policy };
    let sealed = cx.app.vault.seal(&binding, secret)?;
    let created_by = cx.caller.principal.clone();
    Ok(Version { number, policy, public_key, sealed, secret_at: now, created_at: now, created_by, replaced_at: None })
}

/// The secret, and the public half of an SSH key, which is made if none was given.
fn material(policy: &Policy, name: &str, secret: Option<Secret>) -> Result<(Secret, Option<String>)> {
    match (policy.kind, secret) {
        (Kind::SshKey, None) => {
            let mut seed = Zeroizing::new([0; 32]);
            getrandom::fill(seed.as_mut()).map_err(|error| Error::internal(error.to_string()))?;
            let pair = KeypairData::from(Ed25519Keypair::from_seed(&seed));
            let key = PrivateKey::new(pair, format!("hearth:{name}")).map_err(Error::internal)?;
            let text = key.to_openssh(LineEnding::LF).map_err(Error::internal)?;
            Ok((Secret::copied(text.as_bytes()), Some(public_half(&key)?)))
        }
        (Kind::SshKey, Some(secret)) => {
            let key = PrivateKey::from_openssh(secret.expose())
                .map_err(|_| Error::invalid("secret", "is not a private key in OpenSSH's form"))?;
            if key.is_encrypted() {
                return Err(Error::invalid("secret", "is under a passphrase, which nobody would type here")
                    .with_hint("take the passphrase off with `ssh-keygen -p`; the vault seals the key"));
            }
            let public_key = public_half(&key)?;
            Ok((secret, Some(public_key)))
        }
        (_, Some(secret)) => Ok((secret, None)),
        (_, None) => Err(Error::invalid("secret", "is missing")),
    }
}

fn public_half(key: &PrivateKey) -> Result<String> {
    key.public_key().to_openssh().map_err(Error::internal)
}

/// Give a credential a new secret, or its previous one again
///
/// The previous secret is kept for a week; `restore` brings it back.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateCredential {
    /// Credential
    name: Named,
    /// The new secret; an ssh_key without one is made here
    secret: Option<Secret>,
    /// Bring the previous one back instead
    #[serde(default)]
    restore: bool,
}

impl Tool for RotateCredential {
    const NAME: &'static str = "credential_rotate";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/credentials/{name}/rotate";
    type Output = Shown;

    async fn run(self, cx: &Context) -> Result<Shown> {
        self.secret.as_ref().map_or(Ok(()), check)?;
        let now = cx.now();
        let existing = cx.read_now(|conn| get(conn, &self.name)).await?;
        let (version, secret) = match (self.restore, self.secret) {
            (true, Some(_)) => return Err(Error::invalid("restore", "goes without `secret`")),
            (true, None) => {
                let before = cx.read_now(|conn| credentials::previous(conn, &existing.name, now)).await?;
                let before = before.ok_or_else(|| {
                    Error::not_found(format_args!("credential `{}` has no previous version any more", existing.name))
                })?;
                let secret = cx.app.vault.open(&before.binding(), &before.version.sealed)?;
                let Version { policy, public_key, .. } = before.version;
                (sealed_version(cx, &existing, policy, &secret, public_key)?, secret)
            }
            (false, secret) => {
                let policy = existing.version.policy.clone();
                let (secret, public_key) = material(&policy, &existing.name, secret)?;
                (sealed_version(cx, &existing, policy, &secret, public_key)?, secret)
            }
        };
        let secrets = Arc::clone(&cx.app.secrets);
        cx.write(move |tx| {
            hide(&secrets, &existing.credential_id, version.policy.kind, &secret);
            credentials::replace(tx, &existing.credential_id, &version, Previous::Keep)?;
            Ok(Shown::of(get(tx, &existing.name)?))
        })
        .await
    }
}
