//! From what a connection shows to who calls.

use rusqlite::Connection;

use super::{App, Caller, Door, Level};
use crate::error::{Code, Error, Result};
use crate::store::tokens;

const TOKEN: &str = "token:";

/// The caller behind a bearer token.
pub async fn by_token(app: &App, token: &str, door: Door) -> Result<Caller> {
    let hash = tokens::hash(&app.keys.token, token);
    let now = app.clock.now();
    let found = app.store.read_now(|conn| tokens::find(conn, &hash, now)).await?;
    let Some(token) = found else {
        return Err(Error::new(Code::Unauthenticated, "the bearer token is unknown, revoked or expired")
            .with_hint("make a new one on the server with `hearth token create`"));
    };
    if token.is_use_due(now) {
        let (store, name) = (app.store.clone(), token.name.clone());
        // The call does not wait for it, and a full disk must not lock readers out.
        tokio::spawn(async move { store.write(move |tx| tokens::note_use(tx, &name, now)).await });
    }
    Ok(Caller {
        principal: token_principal(&token.name),
        level: token.level,
        toolsets: token.toolsets,
        rule: format!("token `{}`", token.name),
        door,
        client: None,
    })
}

/// What the holder of a token is called wherever a caller is named.
pub fn token_principal(name: &str) -> String {
    format!("{TOKEN}{name}")
}

/// Those of the principals whose token was revoked or has expired.
pub async fn ended(app: &App, principals: Vec<String>) -> Result<Vec<String>> {
    let now = app.clock.now();
    let find = |conn: &Connection| {
        let mut ended = Vec::new();
        for principal in principals {
            if let Some(name) = principal.strip_prefix(TOKEN)
                && tokens::has_ended(conn, name, now)?
            {
                ended.push(principal);
            }
        }
        Ok(ended)
    };
    app.store.read_now(find).await
}

/// A caller on this machine that shows no token.
pub fn by_loopback(app: &App, door: Door) -> Result<Caller> {
    let Some(level) = Level::from_number(app.config.access.loopback_level.number()) else {
        return Err(Error::new(Code::Unauthenticated, "callers without a token are not let in")
            .with_hint("send `Authorization: Bearer TOKEN`, or set [access] loopback_level"));
    };
    Ok(Caller {
        principal: "loopback".to_owned(),
        level,
        toolsets: None,
        rule: "[access] loopback_level".to_owned(),
        door,
        client: None,
    })
}
