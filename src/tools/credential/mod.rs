//! Credentials: sealed secrets that are used without being seen.

mod list;
mod put;
mod reveal;

use rusqlite::Connection;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::Level;
use crate::clock::Timestamp;
use crate::error::{Code, Error, Result};
use crate::registry::Entry;
use crate::secret::Secret;
use crate::store::credentials::{self, Credential};
use crate::text::Line;
use crate::vault::Use;
use crate::vault::padding::SECRET_BYTES_MAX;

pub const TOOLS: &[Entry] = &[
    Entry::of::<list::ListCredentials>(),
    Entry::of::<list::ExpiringCredentials>(),
    Entry::of::<reveal::GetCredential>(),
    Entry::of::<put::PutCredential>(),
    Entry::of::<put::RotateCredential>(),
    Entry::of::<reveal::RemoveCredential>(),
];

type Named = Line<63>;

/// What is told of a credential: everything but the secret.
#[derive(Serialize, JsonSchema)]
pub struct Shown {
    name: String,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    uses: Vec<Use>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pins: Vec<String>,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    version: i64,
    changed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<String>,
    updated_by: String,
}

impl Shown {
    fn of(credential: Credential) -> Shown {
        let (version, policy) = (credential.version.number, credential.version.policy);
        Shown {
            name: credential.name,
            kind: policy.kind.word().to_owned(),
            target: policy.target,
            uses: policy.uses,
            pins: policy.pins,
            level: policy.level,
            username: policy.username,
            header: policy.header,
            public_key: credential.version.public_key,
            version,
            changed_at: credential.version.secret_at,
            expires_at: credential.expires_at,
            used_at: credential.used_at,
            notes: credential.notes,
            updated_by: credential.updated_by,
        }
    }
}

fn get(conn: &Connection, name: &str) -> Result<Credential> {
    credentials::get(conn, name)?.ok_or_else(|| {
        Error::not_found(format_args!("there is no credential `{name}`")).with_hint("credential_list names them")
    })
}

/// A secret that came in: neither empty nor too long, and a text unless the kind says otherwise.
fn check(secret: &Secret) -> Result<()> {
    if secret.is_empty() {
        return Err(Error::invalid("secret", "is empty"));
    }
    if SECRET_BYTES_MAX < secret.len() {
        return Err(Error::new(Code::TooLarge, format_args!("`secret`: has more than {SECRET_BYTES_MAX} bytes")));
    }
    if secret.expose().contains(&0) {
        return Err(Error::invalid("secret", "contains NUL"));
    }
    Ok(())
}
