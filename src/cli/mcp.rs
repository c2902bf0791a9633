//! `hearth mcp`: MCP on standard input and output, for clients that start a program.

use std::sync::Arc;

use super::args::Place;
use super::{client, log, place};
use crate::app::{App, Caller, Door};
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::surface::mcp::serve_stdio;
use crate::tools;

/// The server's socket for MCP, in the data folder.
pub const SOCKET: &str = "mcp.sock";

pub async fn run(place: &Place) -> Result<()> {
    match client::running(&place.data, SOCKET).await? {
        Some(stream) => bridge(stream).await,
        None => serve(place).await,
    }
}

/// No server runs, so this process is one for as long as its client wants.
async fn serve(place: &Place) -> Result<()> {
    let app = App::open(&place.data, &place::root_key(place)?, place::config(place)?)?;
    log::keep_out(&app.secrets);
    let registry = Registry::new(Arc::clone(&app), tools::TOOLSETS);
    let served = serve_stdio(registry, Arc::new(Caller::owner(Door::Mcp))).await;
    app.close().await?;
    served
}

/// Both directions at once; the end of either ends the program.
async fn bridge(stream: tokio::net::UnixStream) -> Result<()> {
    let (mut from_server, mut to_server) = stream.into_split();
    let (mut stdin, mut stdout) = (tokio::io::stdin(), tokio::io::stdout());
    let up = async {
        tokio::io::copy(&mut stdin, &mut to_server).await?;
        // The client is done; the server still has answers to give.
        tokio::io::AsyncWriteExt::shutdown(&mut to_server).await?;
        std::future::pending::<std::io::Result<u64>>().await
    };
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let n = tokio::io::AsyncReadExt::read(&mut from_server, &mut buffer).await?;
            if n == 0 {
                return Ok(0);
            }
            tokio::io::AsyncWriteExt::write_all(&mut stdout, &buffer[..n]).await?;
            tokio::io::AsyncWriteExt::flush(&mut stdout).await?;
        }
    };
    tokio::select! { ended = up => ended, ended = down => ended }.map(drop).map_err(|error: std::io::Error| {
        Error::unavailable(format_args!("the connection to the server broke: {error}"))
    })
}
