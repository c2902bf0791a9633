//! The ceiling: axum alone, answering the same JSON, with SQLite behind it or with nothing.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::ListenerExt;
use hearth::clock::Timestamp;
use hearth::page::encode_cursor;
use http::{StatusCode, header};
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value, json};

use super::TOOLS;

/// What stands behind the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The same queries as hearth makes, by held statements
    Sqlite,
    /// The answers, made once at the start
    Nothing,
}

struct Server {
    database: PathBuf,
    /// Answers to TOOLS, in their order, where they are held
    held: Vec<Value>,
}

thread_local! {
    static READER: RefCell<Option<Connection>> = const { RefCell::new(None) };
}

pub async fn serve(address: SocketAddr, database: &Path, behind: Behind) -> anyhow::Result<()> {
    let mut server = Server { database: database.to_owned(), held: Vec::new() };
    if behind == Behind::Nothing {
        for tool in TOOLS {
            let arguments = serde_json::from_str(tool.arguments)?;
            server.held.push(result(server.read(tool.name, &arguments)?));
        }
    }
    let listener = tokio::net::TcpListener::bind(address).await?.tap_io(|stream| {
        // Without it the figures are those of the kernel's patience.
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new().route("/mcp", post(answer)).with_state(Arc::new(server));
    Ok(axum::serve(listener, router).await?)
}

async fn answer(State(server): State<Arc<Server>>, body: Bytes) -> Result<impl IntoResponse, StatusCode> {
    let request: Value = serde_json::from_slice(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let (name, arguments) = (&request["params"]["name"], &request["params"]["arguments"]);
    let name = name.as_str().ok_or(StatusCode::BAD_REQUEST)?;
    let held = TOOLS.iter().position(|tool| tool.name == name).and_then(|index| server.held.get(index));
    let result = match held {
        Some(held) => held.clone(),
        None => result(server.read(name, arguments).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?),
    };
    let message = json!({ "jsonrpc": "2.0", "id": request["id"], "result": result });
    Ok(([(header::CONTENT_TYPE, "application/json")], message.to_string()))
}

fn result(output: Value) -> Value {
    let text = output.to_string();
    json!({ "content": [{ "type": "text", "text": text }], "structuredContent": output, "isError": false })
}

impl Server {
    fn read(&self, tool: &str, arguments: &Value) -> anyhow::Result<Value> {
        READER.with_borrow_mut(|reader| {
            let conn = match reader {
                Some(conn) => conn,
                None => {
                    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                    reader.insert(Connection::open_with_flags(&self.database, flags)?)
                }
            };
            let tx = conn.transaction()?;
            match tool {
                "inventory_get_host" => host(&tx, arguments["name"].as_str().context("no name")?),
                _ => {
                    let limit = arguments["limit"].as_i64().unwrap_or(20);
                    thread(&tx, arguments["thread_id"].as_i64().context("no thread_id")?, limit)
                }
            }
        })
    }
}

fn host(conn: &Connection, name: &str) -> anyhow::Result<Value> {
    const HOST: &str = "select name, kind, addresses, os, location, notes, tags, version, created_at, updated_at,
                               updated_by from hosts where name = ?1";
    const VMS: &str = "select name from vms where host = ?1 order by name";
    const SERVICES: &str = "select name from services where runs_on = 'host:' || ?1 order by name";
    let names = |sql: &str| -> rusqlite::Result<Vec<String>> {
        conn.prepare_cached(sql)?.query_map([name], |row| row.get(0))?.collect()
    };
    let mut host = Map::new();
    conn.prepare_cached(HOST)?.query_row([name], |row| {
        for (index, field) in ["name", "kind"].into_iter().enumerate() {
            host.insert(field.to_owned(), text(row, index)?);
        }
        host.insert("addresses".to_owned(), list(row, 2)?);
        for (index, field) in [(3, "os"), (4, "location"), (5, "notes")] {
            if let Some(value) = row.get::<_, Option<String>>(index)? {
                host.insert(field.to_owned(), value.into());
            }
        }
        host.insert("tags".to_owned(), list(row, 6)?);
        host.insert("version".to_owned(), row.get::<_, i64>(7)?.into());
        host.insert("created_at".to_owned(), time(row, 8)?);
        host.insert("updated_at".to_owned(), time(row, 9)?);
        host.insert("updated_by".to_owned(), text(row, 10)?);
        Ok(())
    })?;
    host.insert("vms".to_owned(), names(VMS)?.into());
    host.insert("services".to_owned(), names(SERVICES)?.into());
    Ok(host.into())
}

fn thread(conn: &Connection, thread_id: i64, limit: i64) -> anyhow::Result<Value> {
    const THREAD: &str = "select title, author, verified, pinned, posts, created_at, last_activity_at, last_author,
                                 (select json_group_array(tag) from
                                     (select tag from thread_tags where thread_id = ?1 order by tag))
                          from threads where thread_id = ?1";
    const POSTS: &str = "select post_id, author, verified, body, created_at, deleted_at is not null
                         from posts where thread_id = ?1 order by post_id limit ?2";
    let thread = conn.prepare_cached(THREAD)?.query_row([thread_id], |row| {
        Ok(json!({
            "thread_id": thread_id, "title": text(row, 0)?, "author": text(row, 1)?, "verified": text(row, 2)?,
            "pinned": row.get::<_, bool>(3)?, "posts": row.get::<_, i64>(4)?, "created_at": time(row, 5)?,
            "last_activity_at": time(row, 6)?, "last_author": text(row, 7)?, "tags": list(row, 8)?,
        }))
    })?;
    let mut posts = conn.prepare_cached(POSTS)?;
    let posts = posts.query_map([thread_id, limit + 1], |row| {
        Ok(json!({
            "post_id": row.get::<_, i64>(0)?, "thread_id": thread_id, "author": text(row, 1)?,
            "verified": text(row, 2)?, "body": text(row, 3)?, "created_at": time(row, 4)?,
            "deleted": row.get::<_, bool>(5)?,
        }))
    })?;
    let mut posts = posts.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = limit < posts.len() as i64;
    posts.truncate(usize::try_from(limit)?);
    let mut answer = json!({ "thread": thread });
    if more {
        let last = posts.last().map(|post| post["post_id"].clone());
        answer["next_cursor"] = encode_cursor(&last).into();
    }
    answer["items"] = posts.into();
    Ok(answer)
}

fn text(row: &Row<'_>, index: usize) -> rusqlite::Result<Value> {
    row.get::<_, String>(index).map(Value::from)
}

fn time(row: &Row<'_>, index: usize) -> rusqlite::Result<Value> {
    row.get::<_, Timestamp>(index).map(|at| Value::from(at.to_string()))
}

fn list(row: &Row<'_>, index: usize) -> rusqlite::Result<Value> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, error.into()))
}
