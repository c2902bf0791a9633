//! MCP over a pair of pipes: standard input and output, and the socket of a running hearth.

use std::sync::Arc;

use rmcp::ServiceExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::{Mcp, Offer};
use crate::app::Caller;
use crate::error::{Error, Result};
use crate::registry::Registry;

/// Serves the process's own standard input and output; logs must go elsewhere.
pub async fn serve_stdio(registry: Arc<Registry>, caller: Arc<Caller>) -> Result<()> {
    let mcp = Mcp::new(registry, Offer::Shipped, CancellationToken::new())?;
    let served = mcp.serve(tokio::io::stdin(), tokio::io::stdout(), caller).await;
    mcp.close().await?;
    served
}

/// Serves one connection of the socket.
pub async fn serve_socket(registry: Arc<Registry>, stream: UnixStream, caller: Arc<Caller>) -> Result<()> {
    let mcp = Mcp::new(registry, Offer::Shipped, CancellationToken::new())?;
    let (read, write) = stream.into_split();
    let served = mcp.serve(read, write, caller).await;
    mcp.close().await?;
    served
}

impl Mcp {
    /// Serves one client, a message a line, until it hangs up or hearth stops.
    pub async fn serve<R, W>(&self, read: R, write: W, caller: Arc<Caller>) -> Result<()>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let _stream = self.shared.roster.open_stream(&caller.principal)?;
        let handler = self.shared.handler(Some(caller));
        let running = match handler.serve_with_ct((read, write), self.ct.child_token()).await {
            Ok(running) => running,
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(Error::internal(error)),
        };
        running.waiting().await.map_err(Error::internal)?;
        Ok(())
    }
}
