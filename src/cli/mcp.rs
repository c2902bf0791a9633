//! `hearth mcp`: MCP on standard input and output, for clients that start a program.

use super::args::Place;
use super::client;
use crate::error::{Error, Result};

/// The server's socket for MCP, in the data folder.
pub const SOCKET: &str = "mcp.sock";

pub async fn run(place: &Place) -> Result<()> {
    match client::running(&place.data, SOCKET).await? {
        Some(stream) => bridge(stream).await,
        None => Err(Error::unavailable("no server runs")),
    }
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
