//! What the command line asks over the unix socket: the list of tools, a call by name, an import.
//!
//! The same functions serve the command line when no server runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::problem;
use crate::app::Caller;
use crate::error::{Code, Error, Result};
use crate::import::forum::{self, Mode};
use crate::registry::{Call, Described, Registry, coerce};
use crate::surface::openapi::effect_word;

pub const CALL: &str = "/local/call";
pub const TOOLS: &str = "/local/tools";
pub const IMPORT_FORUM: &str = "/local/import/forum";

/// A call as it was typed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub tool: String,
    /// Fields as JSON
    #[serde(default)]
    pub input: Map<String, Value>,
    /// Fields as text, for the schema to say what they are
    #[serde(default)]
    pub texts: BTreeMap<String, Vec<String>>,
    /// Whether `input` stood among the arguments of a command, as `texts` do
    #[serde(default)]
    pub is_typed: bool,
}

/// A tool as `hearth tools` shows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub name: String,
    pub level: u8,
    pub effect: String,
    pub summary: String,
    pub route: String,
    pub input: Map<String, Value>,
}

/// A forum.db to import; the server runs as the same user, and so reads the same files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForumFile {
    pub file: PathBuf,
    pub dry_run: bool,
}

/// What an import did, for programs and for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Imported {
    pub report: Value,
    pub text: String,
}

pub fn router(registry: &Arc<Registry>) -> Router {
    let (calling, listing, importing) = (Arc::clone(registry), Arc::clone(registry), Arc::clone(registry));
    Router::new()
        .route(
            CALL,
            post(move |Extension(caller): Extension<Arc<Caller>>, body: Bytes| async move {
                respond(match read(&body) {
                    Ok(asked) => call(&calling, &caller, asked).await,
                    Err(error) => Err(error),
                })
            }),
        )
        .route(
            IMPORT_FORUM,
            post(move |Extension(caller): Extension<Arc<Caller>>, body: Bytes| async move {
                respond(match read(&body) {
                    Ok(asked) => import_forum(&importing, &caller, &asked).await,
                    Err(error) => Err(error),
                })
            }),
        )
        .route(
            TOOLS,
            get(move |Extension(caller): Extension<Arc<Caller>>| async move { Json(tools(&listing, &caller)) }),
        )
}

pub async fn import_forum(registry: &Registry, caller: &Caller, asked: &ForumFile) -> Result<Imported> {
    let mode = if asked.dry_run { Mode::DryRun } else { Mode::Write };
    let secrets = &registry.app.secrets;
    let report = forum::import_forum(&registry.app, caller, &asked.file, mode).await;
    let report = report.map_err(|error| error.cleaned(secrets))?;
    let text = secrets.clean(&report.to_string()).into_owned();
    let mut report = serde_json::to_value(&report).map_err(Error::internal)?;
    secrets.clean_value(&mut report);
    Ok(Imported { text, report })
}

pub async fn call(registry: &Arc<Registry>, caller: &Arc<Caller>, asked: Asked) -> Result<Value> {
    let mut input = asked.input;
    if let Some(tool) = registry.find(&asked.tool) {
        let typed = input.keys().filter(|_| asked.is_typed).chain(asked.texts.keys());
        if let Some(name) = typed.into_iter().find(|name| is_secret(tool, name)) {
            return Err(Error::invalid(
                name,
                "is a secret, and arguments are seen by other users and the shell's history",
            )
            .with_hint("change it if it was real; give it on standard input, with `--json -`"));
        }
        if let Value::Object(fields) = coerce::coerce(&tool.input, &asked.texts) {
            input.extend(fields);
        }
    }
    let mut call = Call::new(Arc::clone(caller), asked.tool, Value::Object(input));
    let cancel = CancellationToken::new();
    call.cancel = cancel.clone();
    let _cancels_when_dropped = cancel.drop_guard();
    registry.invoke(call).await
}

/// Whether a field is one that no answer shows, as [`crate::secret::Secret`] says of itself.
fn is_secret(tool: &Described, field: &str) -> bool {
    let property = tool.input.get("properties").and_then(|properties| properties.get(field));
    property.and_then(|property| property.get("writeOnly")).and_then(Value::as_bool).unwrap_or_default()
}

pub fn tools(registry: &Registry, caller: &Caller) -> Vec<Shown> {
    let shown = |tool: &Described| Shown {
        name: tool.entry.name.to_owned(),
        level: tool.entry.level.number(),
        effect: effect_word(tool.entry.effect).to_owned(),
        summary: tool.summary.clone(),
        route: tool.entry.route.to_owned(),
        input: (*tool.input).clone(),
    };
    registry.offered(caller).map(shown).collect()
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Code::InvalidInput, format_args!("what is asked is not readable: {error}")))
}

fn respond<T: Serialize>(result: Result<T>) -> Response {
    match result {
        Ok(output) => Json(output).into_response(),
        Err(error) => problem::respond(&error),
    }
}
