//! `hearth serve`: the process from its start to its end, read from top to bottom.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::args::{Place, Serve};
use super::{Ended, client, log, mcp, output, place, replicate};
use crate::app::{App, Caller, Door, rotation};
use crate::config::server::Server;
use crate::error::{Code, Error, Result};
use crate::registry::Registry;
use crate::store;
use crate::surface::http;
use crate::surface::http::listen::{Doors, Socket};
use crate::surface::mcp::{Mcp, Offer};
use crate::tools;

/// How long running calls have to end once hearth is told to stop.
const GRACE: Duration = Duration::from_secs(10);

pub async fn run(place: &Place, args: &Serve) -> Result<Ended> {
    let mut config = place::config(place)?;
    log::init(&config.log);
    if let Some(address) = args.listen {
        config.server = config.server.with_listen(address).map_err(|why| Error::new(Code::Unconfigured, why))?;
    }
    let address = address(&config.server)?;
    let mut signals = Signals::listen()?;

    // The folder's lock comes first: whoever holds it may take the port and the sockets.
    let is_first = !place.data.join(store::FILE).exists();
    let app = App::open(&place.data, &place::root_key(place)?, config)?;
    log::keep_out(&app.secrets);
    if rotation::resume(&app).await? {
        tracing::info!(key = %app.vault.current(), "the exchange of the root key is finished");
    }
    let replicator = replicate::start(&app, place, args).await?;
    let registry = Registry::new(Arc::clone(&app), tools::TOOLSETS);
    let doors = Doors { stop: CancellationToken::new(), tasks: TaskTracker::new() };

    let listener = bind(address).await?;
    let local = listener.local_addr().map_err(Error::internal)?;
    app.listening.write().unwrap_or_else(PoisonError::into_inner).push(local);
    // Streams end after the calls, so MCP has a stop of its own.
    let mcp = Mcp::new(Arc::clone(&registry), offer(), CancellationToken::new())?;
    doors.serve_tcp(listener, http::router(&registry, mcp.router()));
    doors.serve_owner(socket(place, client::SOCKET)?, http::owner_router(&registry));
    let agents = mcp.clone();
    doors.serve_streams(socket(place, mcp::SOCKET)?, move |stream| speak(agents.clone(), stream));
    doors.tasks.spawn(Arc::clone(&app).keep_house(doors.stop.clone()));

    announce(local)?;
    if is_first {
        output::line("Print the recovery kit, and keep it away from this machine:")?;
        output::line(&format!("hearth key kit --data {}", place.data.display()))?;
    }
    tracing::info!(address = %local, data = %place.data.display(), version = env!("CARGO_PKG_VERSION"), "ready");
    let signal = signals.next().await;
    tracing::info!(signal, "stopping");

    doors.stop.cancel();
    doors.tasks.close();
    let finish = async {
        mcp.finish_calls(GRACE).await;
        mcp.end_streams();
        tokio::time::timeout(GRACE, doors.tasks.wait()).await.is_ok()
    };
    let (is_done, is_hurried) = tokio::select! {
        is_done = finish => (is_done, false),
        _ = signals.next() => (false, true),
    };
    mcp.close().await?;
    app.write_reads().await?;
    // Who asks twice does not wait for an object store that may be away for hours.
    let hurry = async {
        if !is_hurried {
            signals.next().await;
        }
    };
    let is_replicated = match replicator {
        Some(replicator) => replicate::stop(replicator, hurry).await,
        None => true,
    };
    app.close().await?;
    if !is_replicated {
        return Ok(Ended::Undone);
    }
    if !is_done {
        tracing::warn!(left = doors.tasks.len(), "stopped before every connection had its answer");
        return Ok(Ended::Undone);
    }
    tracing::info!("stopped");
    Ok(Ended::Done)
}

/// The tools that the conformance suite calls by name are for its runs alone.
fn offer() -> Offer {
    match std::env::var_os("HEARTH_CONFORMANCE") {
        Some(value) if value == "1" => Offer::WithFixtures,
        _ => Offer::Shipped,
    }
}

/// Speaks MCP with a program that the owner started, such as `hearth mcp`.
async fn speak(mcp: Mcp, stream: UnixStream) {
    let (read, write) = stream.into_split();
    if let Err(error) = mcp.serve(read, write, Arc::new(Caller::owner(Door::Mcp))).await {
        tracing::warn!(cause = error.chain(), "a client on the socket was not served: {error}");
    }
}

fn address(server: &Server) -> Result<SocketAddr> {
    server.listen_address().ok_or_else(|| {
        Error::new(
            Code::Unconfigured,
            "`server.bind = \"tailnet\"` cannot be followed: the tailnet's addresses are not known",
        )
        .with_hint("write this machine's address in the tailnet as `server.bind`, or name it with --listen ADDR:PORT")
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::unavailable(format_args!("cannot listen on {address}: {error}"))
            .with_hint("stop what listens there, or choose another port with --listen")
    })
}

fn socket(place: &Place, name: &str) -> Result<Socket> {
    Socket::bind(&place.data, name).map_err(|error| {
        Error::unavailable(format_args!("cannot listen on {}: {error}", place.data.join(name).display()))
    })
}

/// The first line is for programs, the rest for whoever sets up a client.
fn announce(local: SocketAddr) -> Result<()> {
    let url = format!("http://{local}");
    let clients = serde_json::json!({ "mcpServers": { "hearth": { "type": "http", "url": format!("{url}/mcp") } } });
    output::line(&format!("listening on {url}"))?;
    output::line("")?;
    output::line("For an MCP client's configuration:")?;
    output::line(&serde_json::to_string_pretty(&clients).map_err(Error::internal)?)?;
    output::line("For Claude Code:")?;
    output::line(&format!("claude mcp add --transport http hearth {url}/mcp"))
}

/// What tells a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(Error::internal);
        Ok(Signals { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
