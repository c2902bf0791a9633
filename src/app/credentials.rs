//! The one seam through which a secret is used: asked for by target and use, never by value.

use std::borrow::Cow;

use super::Context;
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use crate::store::audit;
use crate::store::credentials::{self, Credential};
use crate::vault::Use;

/// What a caller inside of the process wants a secret for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// `host:NAME`, `vm:NAME` or `service:NAME`, as the inventory spells it
    pub target: &'a str,
    /// One of them is taken, the first that a credential allows
    pub uses: &'a [Use],
    /// Who the other side has proved to be: an origin `https://nas.lan:443` or a host key `SHA256:…`
    pub peer: &'a str,
}

/// A secret that may be used now, and how.
pub struct Granted {
    pub name: String,
    pub usage: Use,
    pub username: Option<String>,
    pub header: Option<String>,
    pub secret: Secret,
}

impl Context {
    /// The secret for a target and use; `None` if there is no credential for them. A credential
    /// that is for another use, peer or level is refused. Either is in the audit chain before
    /// the secret leaves here.
    ///
    /// # Errors
    /// `forbidden` outside of what the credential is bound to, `conflict` if several would do,
    /// `sealed` while the vault is, `integrity` if the sealed secret was tampered with.
    pub async fn use_credential(&self, wanted: Wanted<'_>) -> Result<Option<Granted>> {
        let target = wanted.target.to_owned();
        let found = self.read_now(move |conn| credentials::for_target(conn, &target)).await?;
        let mut fitting = found.into_iter().filter(|found| fit(found, wanted.uses).is_some());
        let Some(credential) = fitting.next() else { return Ok(None) };
        if let Some(other) = fitting.next() {
            return Err(Error::conflict(format_args!(
                "`{}` and `{}` are both for {} as {}",
                credential.name,
                other.name,
                wanted.target,
                words(wanted.uses)
            ))
            .with_hint("narrow the uses of one of them with credential_put"));
        }
        let granted = self.grant(&credential, wanted);
        let (decision, reason) = match &granted {
            Ok(granted) => ("ok", format!("`{}` for {} as {}", granted.name, wanted.target, granted.usage)),
            Err(error) => (error.code.word(), error.message.clone()),
        };
        let record = self.record("use", decision, Some(reason));
        let (key, id, now, is_granted) =
            (self.app.keys.audit.clone(), credential.credential_id.clone(), self.now(), granted.is_ok());
        self.app
            .store
            .write(move |tx| {
                if is_granted {
                    credentials::note_use(tx, &id, now)?;
                }
                audit::append(tx, &key, &record)
            })
            .await?;
        granted.map(Some)
    }

    fn grant(&self, credential: &Credential, wanted: Wanted<'_>) -> Result<Granted> {
        let policy = &credential.version.policy;
        let refuse = |what: Cow<'static, str>| {
            Err(Error::forbidden(format_args!("credential `{}` is not used: {what}", credential.name)))
        };
        // The column that it was found by is not sealed; the policy is.
        if policy.target.as_deref() != Some(wanted.target) {
            return refuse("it is bound to another target".into());
        }
        if self.caller.level < policy.level {
            return refuse(format!("it is for callers of level {}", policy.level.number()).into());
        }
        if !policy.pins.iter().any(|pin| pin == wanted.peer) {
            return refuse("what answers there is not what it is pinned to".into());
        }
        if credential.expires_at.is_some_and(|end| end <= self.now()) {
            return refuse("it has expired".into());
        }
        let Some(usage) = fit(credential, wanted.uses) else {
            return refuse(format!("it is not for {}", words(wanted.uses)).into());
        };
        let secret = self.app.vault.open(&credential.binding(), &credential.version.sealed).map_err(|error| {
            let code = error.code;
            let named = Error::new(code, format_args!("credential `{}`: {}", credential.name, error.message));
            match (code, error.hint()) {
                (Code::Sealed | Code::Integrity, Some(hint)) => named.with_hint(hint),
                _ => named,
            }
        })?;
        Ok(Granted {
            name: credential.name.clone(),
            usage,
            username: policy.username.clone(),
            header: policy.header.clone(),
            secret,
        })
    }
}

fn fit(credential: &Credential, uses: &[Use]) -> Option<Use> {
    uses.iter().copied().find(|usage| credential.version.policy.allows(*usage))
}

fn words(uses: &[Use]) -> String {
    uses.iter().map(|usage| usage.word()).collect::<Vec<_>>().join(" or ")
}
