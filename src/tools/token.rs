//! Bearer tokens for callers without another identity; only a person makes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::app::{Context, Event, Level, access};
use crate::clock::Timestamp;
use crate::config::duration::Duration;
use crate::error::{Error, Result};
use crate::id;
use crate::registry::{Effect, Entry, Tool};
use crate::store::{approvals, sessions, tokens};
use crate::text::{Line, Name};

pub const TOOLS: &[Entry] = &[Entry::of::<CreateToken>(), Entry::of::<ListTokens>(), Entry::of::<RevokeToken>()];

/// Make a bearer token; it is shown this once
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What its holder is called
    name: Name,
    /// What it may
    level: Level,
    /// Only these toolsets
    toolsets: Option<Vec<Name>>,
    /// For how long, like `90d`
    expires: Option<Line<32>>,
}

#[derive(Serialize, JsonSchema)]
pub struct Created {
    name: String,
    token: String,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

impl Tool for CreateToken {
    const NAME: &'static str = "token_create";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "POST /api/tokens";
    const PERSON_ONLY: bool = true;
    type Output = Created;

    async fn run(self, cx: &Context) -> Result<Created> {
        if cx.request_id.is_some() {
            // The answer of a key is kept for a day; a token must not be.
            return Err(Error::invalid("request_id", "a token is shown once and not kept for a second answer"));
        }
        let now = cx.now();
        let expires_at = match &self.expires {
            None => None,
            Some(text) => {
                let lasts: Duration = text.parse().map_err(|error| Error::invalid("expires", error))?;
                Some(now + std::time::Duration::from(lasts))
            }
        };
        let toolsets = self.toolsets.map(|names| names.into_iter().map(Name::into_string).collect::<Vec<_>>());
        for name in toolsets.iter().flatten() {
            if !crate::tools::TOOLSETS.iter().any(|(known, _)| known == name) {
                let known: Vec<_> = crate::tools::TOOLSETS.iter().map(|(known, _)| *known).collect();
                return Err(Error::invalid(
                    "toolsets",
                    format_args!("no toolset `{name}`; there are {}", known.join(", ")),
                ));
            }
        }
        let secret = id::bearer_token();
        let hash = tokens::hash(&cx.app.keys.token, &secret);
        let token = tokens::Token {
            name: self.name.into_string(),
            level: self.level,
            toolsets,
            created_at: now,
            created_by: cx.caller.principal.clone(),
            expires_at,
            last_used_at: None,
        };
        let created = Created { name: token.name.clone(), token: secret, level: self.level, expires_at };
        cx.write(move |tx| tokens::insert(tx, &token, &hash)).await?;
        Ok(created)
    }
}

/// List bearer tokens, never what they are
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTokens {}

#[derive(Serialize, JsonSchema)]
pub struct Listed {
    items: Vec<Shown>,
}

#[derive(Serialize, JsonSchema)]
pub struct Shown {
    name: String,
    level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    toolsets: Option<Vec<String>>,
    created_at: Timestamp,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<Timestamp>,
}

impl Tool for ListTokens {
    const NAME: &'static str = "token_list";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Read;
    const ROUTE: &'static str = "GET /api/tokens";
    const PERSON_ONLY: bool = true;
    type Output = Listed;

    async fn run(self, cx: &Context) -> Result<Listed> {
        let rows = cx.read_now(tokens::list).await?;
        let show = |token: tokens::Token| Shown {
            name: token.name,
            level: token.level,
            toolsets: token.toolsets,
            created_at: token.created_at,
            created_by: token.created_by,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        };
        Ok(Listed { items: rows.into_iter().map(show).collect() })
    }
}

/// Revoke a bearer token at once, with all that it has open; its name is not given again
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeToken {
    /// Whose
    name: Name,
}

#[derive(Serialize, JsonSchema)]
pub struct Revoked {
    revoked: String,
}

impl Tool for RevokeToken {
    const NAME: &'static str = "token_revoke";
    const LEVEL: Level = Level::Manage;
    const EFFECT: Effect = Effect::Write;
    const ROUTE: &'static str = "DELETE /api/tokens/{name}";
    const PERSON_ONLY: bool = true;
    type Output = Revoked;

    async fn run(self, cx: &Context) -> Result<Revoked> {
        let (name, by, now) = (self.name.into_string(), cx.caller.principal.clone(), cx.now());
        let write = cx.write(move |tx| {
            let revoked = tokens::revoke(tx, &name, now)?;
            let principal = access::token_principal(&revoked);
            sessions::remove_by(tx, &principal)?;
            approvals::withdraw(tx, &principal, &by, now)?;
            Ok(Revoked { revoked })
        });
        let revoked = write.await?;
        cx.publish(Event::AccessEnded);
        Ok(revoked)
    }
}
