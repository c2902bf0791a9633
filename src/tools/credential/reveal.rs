//! Showing a secret, and removing one: both only with a person's word.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Named, get};
use crate::app::{Context, Level};
use crate::error::{Error, Result};
use crate::registry::{Effect, Plan, Reversible, Tool, fence};
use crate::store::credentials;
use crate::text::Line;
use crate::vault::Use;

/// Show a secret, once, after the owner has approved it at the command line
///
/// Seldom needed: health checks and other tools use credentials without showing them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetCredential {
    /// Credential
    name: Named,
    /// What for; the owner reads it, and so does the audit log
    purpose: Line<200>,
}

#[derive(Serialize, JsonSchema)]
pub struct Revealed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    secret: String,
    /// `utf8`, or `base64` where cleaning would change the text
    encoding: &'static str,
}

impl GetCredential {
    fn check(&self, cx: &Context) -> Result<()> {
        match cx.request_id {
            // The answer of a key is kept for a day; a secret must not be.
            Some(_) => Err(Error::invalid("request_id", "a secret is shown once and not kept for a second answer")),
            None => Ok(()),
        }
    }
}

impl Tool for GetCredential {
    const NAME: &'static str = "credential_get";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "POST /api/credentials/{name}/reveal";
    const REVEALS: bool = true;
    type Output = Revealed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        self.check(cx)?;
        let credential = cx.read_now(|conn| get(conn, &self.name)).await?;
        let policy = &credential.version.policy;
        if !policy.allows(Use::Reveal) {
            return Err(Error::forbidden(format_args!("credential `{}` is never shown", credential.name))
                .with_hint("its uses do not name `reveal`; it can be used for its target"));
        }
        Ok(Plan {
            summary: format!("show the secret of `{}` to {}", credential.name, cx.caller.principal),
            effects: vec![format!("purpose: {}", self.purpose), "the caller knows the secret from then on".to_owned()],
            before: json!({ "id": credential.credential_id, "version": credential.version.number }),
            reversible: Reversible::Yes { how: "change it at its service and with credential_rotate".to_owned() },
        })
    }

    async fn run(self, cx: &Context) -> Result<Revealed> {
        self.check(cx)?;
        let credential = cx.read_now(|conn| get(conn, &self.name)).await?;
        let policy = &credential.version.policy;
        if !policy.allows(Use::Reveal) {
            return Err(Error::forbidden(format_args!("credential `{}` is never shown", credential.name)));
        }
        let secret = cx.app.vault.open(&credential.binding(), &credential.version.sealed)?;
        let (id, now) = (credential.credential_id.clone(), cx.now());
        let reason = format!("`{}` v{} shown for: {}", credential.name, credential.version.number, self.purpose);
        let (key, record) = (cx.app.keys.audit.clone(), cx.record("use", "ok", Some(reason)));
        // On disk before the secret leaves.
        cx.app
            .store
            .write(move |tx| {
                credentials::note_use(tx, &id, now)?;
                crate::store::audit::append(tx, &key, &record)
            })
            .await?;
        let text = std::str::from_utf8(secret.expose()).ok().filter(|text| fence::clean(text) == *text);
        let (secret, encoding) = match text {
            Some(text) => (text.to_owned(), "utf8"),
            None => (STANDARD.encode(secret.expose()), "base64"),
        };
        Ok(Revealed { name: credential.name, username: policy.username.clone(), secret, encoding })
    }
}

/// Remove a credential for good, with the versions before
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveCredential {
    /// Credential
    name: Named,
}

#[derive(Serialize, JsonSchema)]
pub struct Removed {
    removed: String,
}

impl Tool for RemoveCredential {
    const NAME: &'static str = "credential_remove";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Destructive;
    const ROUTE: &'static str = "DELETE /api/credentials/{name}";
    type Output = Removed;

    async fn plan(&self, cx: &Context) -> Result<Plan> {
        let credential = cx.read_now(|conn| get(conn, &self.name)).await?;
        Ok(Plan {
            summary: format!("remove credential `{}`", credential.name),
            effects: vec!["what uses it for its target goes on without".to_owned()],
            before: json!({ "id": credential.credential_id, "version": credential.version.number }),
            reversible: Reversible::No,
        })
    }

    async fn run(self, cx: &Context) -> Result<Removed> {
        let credential = cx.read_now(|conn| get(conn, &self.name)).await?;
        let id = credential.credential_id.clone();
        let removed = cx
            .write(move |tx| {
                credentials::remove(tx, &credential.credential_id)?;
                Ok(Removed { removed: credential.name })
            })
            .await?;
        cx.app.secrets.remove(&id);
        Ok(removed)
    }
}
