//! The listeners: TCP and the unix socket, one task a connection.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::Peer;
use super::connections::{Connections, Most, Place};
use crate::surface::ConnectionId;

const TCP: Most = Most { in_all: 256, per_peer: 64 };
const UNIX: Most = Most { in_all: 64, per_peer: 64 };
/// From the first byte that a connection could send to the end of the headers.
const HEADER_WAIT: Duration = Duration::from_secs(10);
/// Above what the guard allows, which answers with words where hyper would only close.
const HEADER_BYTES: usize = 32 * 1024;
const HEADERS: usize = 128;
/// After so long without an acknowledgement a laptop that went to sleep is given up.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

/// What every connection shares.
#[derive(Clone)]
pub struct Doors {
    /// Cancelled when hearth stops: nothing more is accepted, and what runs is finished.
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

impl Doors {
    /// Answers on a TCP listener until stopped.
    pub fn serve_tcp(&self, listener: TcpListener, router: Router) {
        let (doors, connections) = (self.clone(), Connections::new(TCP));
        self.tasks.spawn(async move {
            while let Some((stream, remote)) = doors.accept(|| listener.accept()).await {
                let Ok(local) = stream.local_addr() else {
                    continue;
                };
                let Some(place) = connections.enter(remote.ip().to_canonical()) else {
                    tracing::warn!(%remote, "refused: too many connections are busy");
                    continue;
                };
                if let Err(error) = tune(&stream) {
                    tracing::debug!(%error, "the connection keeps the kernel's settings");
                }
                doors.serve(stream, Peer::Tcp { remote, local }, router.clone(), place);
            }
        });
    }

    /// Answers the owner on a unix socket until stopped.
    pub fn serve_owner(&self, socket: Socket, router: Router) {
        let (doors, connections) = (self.clone(), Connections::new(UNIX));
        self.tasks.spawn(async move {
            while let Some((stream, _)) = doors.accept(|| socket.listener.accept()).await {
                if !is_owner(&stream) {
                    continue;
                }
                // Whoever may connect is one user, so the address does not tell callers apart.
                let Some(place) = connections.enter(IpAddr::V4(Ipv4Addr::LOCALHOST)) else {
                    continue;
                };
                doors.serve(stream, Peer::Owner, router.clone(), place);
            }
        });
    }

    /// Hands each connection of the owner to `serve`, which speaks something other than HTTP.
    pub fn serve_streams<F, R>(&self, socket: Socket, serve: F)
    where
        F: Fn(UnixStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let (doors, connections) = (self.clone(), Connections::new(UNIX));
        self.tasks.spawn(async move {
            while let Some((stream, _)) = doors.accept(|| socket.listener.accept()).await {
                let Some(place) = connections.enter(IpAddr::V4(Ipv4Addr::LOCALHOST)) else {
                    continue;
                };
                if !is_owner(&stream) {
                    continue;
                }
                let (busy, served) = (place.busy(), serve(stream));
                doors.tasks.spawn(async move {
                    served.await;
                    drop((busy, place));
                });
            }
        });
    }

    async fn accept<T, F, R>(&self, accept: F) -> Option<T>
    where
        F: Fn() -> R,
        R: Future<Output = io::Result<T>>,
    {
        loop {
            match self.stop.run_until_cancelled(accept()).await? {
                Ok(accepted) => return Some(accepted),
                // Descriptors may have run out; they come back when connections end.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    self.stop.run_until_cancelled(tokio::time::sleep(ACCEPT_AGAIN)).await?;
                }
            }
        }
    }

    fn serve<S>(&self, stream: S, peer: Peer, router: Router, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stop = self.stop.clone();
        let id = ConnectionId(NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed));
        self.tasks.spawn(async move {
            let evicted = place.evicted.clone();
            let place = Arc::new(place);
            let asked = Arc::clone(&place);
            let service = service_fn(move |request| answer(request, (peer, id), router.clone(), Arc::clone(&asked)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_WAIT)
                .max_headers(HEADERS)
                .max_buf_size(HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = evicted.cancelled() => Ok(()),
                // Half a request is none; hyper would wait for the other half.
                () = stop.cancelled() => match place.is_idle() {
                    true => Ok(()),
                    false => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                },
            };
            if let Err(error) = ended {
                tracing::debug!(?peer, %error, "a connection broke");
            }
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    (peer, connection): (Peer, ConnectionId),
    router: Router,
    place: Arc<Place>,
) -> Result<http::Response<Body>, Infallible> {
    let busy = place.busy();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(connection);
    let response = router.oneshot(request).await?;
    // A stream of events is busy as long as it is open.
    Ok(response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &busy;
            frame
        }))
    }))
}

/// Small answers leave at once, and the dead are noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(UNACKNOWLEDGED).with_interval(Duration::from_secs(10)).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// A unix socket in the data folder; its file goes when it is dropped.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds `name` in `folder`, whose lock is held: a file of that name is left from another run.
    pub fn bind(folder: &Path, name: &str) -> io::Result<Socket> {
        let path = folder.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = with_short_path(folder, name, |path| UnixListener::bind(path))?;
        // Until then the check of the user keeps others out.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Socket { listener, path })
    }

    /// Connects to the server that listens at `name` in `folder`, if there is one.
    pub async fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
        let stream = with_short_path(folder, name, |path| std::os::unix::net::UnixStream::connect(path))?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the socket's file stays");
        }
    }
}

/// The kernel takes 107 bytes of a socket's path; a longer one is reached through its folder's descriptor.
fn with_short_path<T>(folder: &Path, name: &str, use_path: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
    const LONGEST: usize = 107;
    let path = folder.join(name);
    if path.as_os_str().len() <= LONGEST {
        return use_path(&path);
    }
    let folder = fs::File::open(folder)?;
    use_path(Path::new(&format!("/proc/self/fd/{}/{name}", folder.as_raw_fd())))
}

/// Whether the process at the other end runs as the user that hearth runs as.
fn is_owner(stream: &UnixStream) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "refused: another user on the unix socket");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused: a peer without a user on the unix socket");
            false
        }
    }
}
