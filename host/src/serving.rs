//! Connections: accepting them, and what no caller may take more of.
//!
//! ```text
//!            ┌── nothing for the idle timeout: closed ◀──┐
//!  accept ─▶ head ──────▶ request ─▶ answer ─────────▶ idle ──┐
//!             │ ▲ too slow: closed                            │ a byte comes
//!             │ └─────────────────────────────────────────────┘
//!             └─ too large: 431   see `target`: 4xx, 501   body too slow: 408
//! ```
//!
//! HTTP/1.1 only: what speaks HTTP/2 to the world is the proxy in front.
//!
//! Invariant: at most so many connections are open as are allowed; others wait in the
//! system's queue.
//! Invariant: whoever sends nothing, or reads nothing, does not keep a connection.
//! Invariant: an answer is not lost because the caller was still sending when it was made.
//! Invariant: all bodies together take no more memory than `budget` allows.

mod body;
mod budget;
mod progress;
mod target;
mod whole;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_service::Service as _;

use body::TimedBody;
pub use body::{BodyTooSlow, is_too_slow};
pub use budget::{BodiesFull, BodyBudget, HeldBody, hold_body};
use progress::{Progress, Watched};
pub use whole::{read_body, refuse_announced};

/// How long accepting rests when the system has no more files to open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What no caller may take more of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// How many connections are open at once.
    pub connections_max: usize,
    /// How long the head of a request may take from its first byte, the first one's from
    /// the opening of its connection, in milliseconds. Looked at as often, so that it may be
    /// twice as much.
    pub header_timeout_ms: u64,
    /// How long a connection stays open without a request, or while its caller reads
    /// nothing, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long the whole body of a request may take, in milliseconds.
    pub body_timeout_ms: u64,
    /// The largest head of a request, in bytes.
    pub header_bytes_max: u64,
    /// The most headers of a request.
    pub headers_max: usize,
    /// The longest path and query of a request, in bytes.
    pub uri_bytes_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout_ms: 30_000,
            // Longer than proxies keep theirs, so that they close first: Caddy after two
            // minutes, nginx and the load balancers of clouds after one.
            idle_timeout_ms: 150_000,
            body_timeout_ms: 60_000,
            header_bytes_max: 64 << 10,
            headers_max: HEADERS_MAX,
            uri_bytes_max: 16 << 10,
        }
    }
}

/// Hyper's own default, for which it needs no allocation.
const HEADERS_MAX: usize = 100;

/// Accepts connections until `told` ends, then waits until every request under way is
/// answered.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    told: impl Future<Output = ()>,
) {
    let most = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let connections = Arc::new(Semaphore::new(most as usize));
    let (stop, stopped) = watch::channel(());
    let limits = Arc::new(limits);
    let mut told = std::pin::pin!(told);
    loop {
        let accepted = async {
            // Before accepting: who is not accepted waits, and takes nothing here.
            let permit = Arc::clone(&connections).acquire_owned().await;
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut told => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                rest_after(&error).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
        let one = connection(stream, peer, router.clone(), Arc::clone(&limits), stopped.clone());
        tokio::spawn(async move {
            let _permit = permit;
            one.await;
        });
    }
    drop(listener);
    stop.send_replace(());
    // Whoever has all permits is alone.
    let _ = connections.acquire_many(most).await;
}

/// A caller who has gone again is none; else the system has no more of something.
async fn rest_after(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::error!(%error, "a connection could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Arc<ConnectionLimits>,
    mut stopped: watch::Receiver<()>,
) {
    let progress = Progress::new(&limits);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&progress)));
    let mut http = http1::Builder::new();
    http.max_header_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX));
    // A caller that has sent all it wants to may close its side at once, and is answered.
    http.half_close(true);
    if limits.headers_max != HEADERS_MAX {
        http.max_headers(limits.headers_max);
    }
    let watched = Arc::clone(&progress);
    let service = service_fn(move |request: Request<Incoming>| {
        watched.begin();
        let answer = answer(request, peer, &router, &limits, &watched);
        let watched = Arc::clone(&watched);
        async move {
            let answer = answer.await;
            watched.end();
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http.serve_connection(io, service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let mut is_stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended");
                }
                return;
            }
            () = progress.overdue() => {
                tracing::debug!(%peer, "a connection was closed: nothing came, or too slowly");
                return;
            }
            _ = stopped.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Middleware that answers what no route may see. It stands inside of the log of answers, so
/// that refused requests have their lines there.
pub async fn check_target(request: Request<Body>, next: Next) -> Response {
    let most = request.extensions().get::<UriBytesMax>().copied();
    let refused = most.and_then(|UriBytesMax(most)| target::check(&request, most).err());
    let Some(mut refused) = refused else { return next.run(request).await };
    if !refused.status().is_success() {
        // Nobody knows where the next request begins.
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    *refused
}

/// The longest path and query: an extension of requests that came through a socket.
#[derive(Clone, Copy)]
struct UriBytesMax(usize);

/// What the router answers.
fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: &Router,
    limits: &ConnectionLimits,
    progress: &Arc<Progress>,
) -> impl Future<Output = Response> + use<> {
    let body_timeout = Duration::from_millis(limits.body_timeout_ms);
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            progress.has_whole_request();
            Body::empty()
        } else {
            Body::new(TimedBody::new(body, body_timeout, Arc::clone(progress)))
        }
    });
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(UriBytesMax(limits.uri_bytes_max));
    let mut router = router.clone();
    async move { router.call(request).await.into_response() }
}

#[cfg(test)]
mod tests;
