//! The way to the tools: through the socket of the server that runs, or else with the data folder in our own hands.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

use super::args::Place;
use super::{log, place};
use crate::app::{App, Caller, Door};
use crate::error::{Body, Code, Error, Result};
use crate::registry::Registry;
use crate::surface::http::listen::Socket;
use crate::surface::http::local::{self, Asked, ForumFile, Imported, Shown};
use crate::tools;

/// The server's socket for HTTP, in the data folder.
pub const SOCKET: &str = "hearth.sock";
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

pub enum Client {
    Server(SendRequest<Full<Bytes>>),
    Own { registry: Arc<Registry>, caller: Arc<Caller> },
}

impl Client {
    pub async fn connect(place: &Place) -> Result<Client> {
        if let Some(stream) = running(&place.data, SOCKET).await? {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            tokio::spawn(connection);
            return Ok(Client::Server(sender));
        }
        let app = App::open(&place.data, &place::root_key(place)?, place::config(place)?)?;
        log::keep_out(&app.secrets);
        let registry = Registry::new(app, tools::TOOLSETS);
        Ok(Client::Own { registry, caller: Arc::new(Caller::owner(Door::Cli)) })
    }

    pub async fn call(&mut self, asked: &Asked) -> Result<Value> {
        match self {
            Client::Own { registry, caller } => local::call(registry, caller, asked.clone()).await,
            Client::Server(sender) => {
                let body = serde_json::to_vec(asked).map_err(Error::internal)?;
                send(sender, Method::POST, local::CALL, body).await
            }
        }
    }

    pub async fn import_forum(&mut self, asked: &ForumFile) -> Result<Imported> {
        match self {
            Client::Own { registry, caller } => local::import_forum(registry, caller, asked).await,
            Client::Server(sender) => {
                let body = serde_json::to_vec(asked).map_err(Error::internal)?;
                send(sender, Method::POST, local::IMPORT_FORUM, body).await
            }
        }
    }

    pub async fn tools(&mut self) -> Result<Vec<Shown>> {
        match self {
            Client::Own { registry, caller } => Ok(local::tools(registry, caller)),
            Client::Server(sender) => send(sender, Method::GET, local::TOOLS, Vec::new()).await,
        }
    }

    pub async fn close(self) -> Result<()> {
        match self {
            Client::Own { registry, .. } => registry.app.close().await,
            Client::Server(_) => Ok(()),
        }
    }
}

/// A connection to the server of a data folder, if one runs.
pub async fn running(data: &Path, socket: &str) -> Result<Option<UnixStream>> {
    match Socket::connect(data, socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(Error::unavailable(format_args!("cannot use {}: {error}", data.join(socket).display()))
            .with_hint("run hearth as the user whom the data folder belongs to")),
    }
}

async fn send<T: DeserializeOwned>(
    sender: &mut SendRequest<Full<Bytes>>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<T> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))
        .map_err(Error::internal)?;
    sender.ready().await.map_err(broken)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let is_success = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.map_err(broken)?.to_bytes();
    if is_success {
        return serde_json::from_slice(&body).map_err(unreadable);
    }
    Err(serde_json::from_slice::<Body>(&body).map_err(unreadable)?.into())
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::unavailable(format_args!("the server broke off: {error}"))
        .with_hint("see its log; a call that writes may have taken effect")
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::new(Code::Refused, format_args!("the server's answer is not readable: {error}"))
        .with_hint("restart it, if it is of another version")
}
