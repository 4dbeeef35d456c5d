//! HTTP connections: accepting them, and their limits.
//!
//! ```text
//!            ┌── nothing within the idle timeout: closed ◀──┐
//!  accept ─▶ head ──────▶ request ─▶ response ────────▶ idle ──┐
//!             │ ▲ too slow: closed                             │ a byte arrives
//!             │ └──────────────────────────────────────────────┘
//!             └─ too large: 431   see `target`: 4xx, 501   body too slow: 408
//! ```
//!
//! HTTP/1.1 only: the proxy in front handles HTTP/2.
//!
//! Invariant: the number of open connections is limited; other callers wait in the system's queue.
//! Invariant: a caller that sends nothing, or reads nothing, does not keep its connection.
//! Invariant: a response is not lost because the caller was still sending.
//! Invariant: all request bodies together take no more memory than `budget` allows.

mod body;
mod budget;
mod progress;
mod target;
mod whole;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use futures::future::BoxFuture;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use body::TimedBody;
pub use body::{BodyTooSlow, is_too_slow};
pub use budget::{BodiesFull, BodyBudget, HeldBody};
use progress::{Progress, Watched};
pub use whole::{read_body, refuse_announced};

/// The pause in accepting when the system's limit of open files is reached.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The limits of connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The maximum number of open connections.
    pub connections_max: usize,
    /// The timeout for the head of a request, in milliseconds, from its first byte or, for the
    /// first request, from the opening of the connection. It is checked at the same interval, so
    /// the actual time can be twice as long.
    pub header_timeout_ms: u64,
    /// The timeout for a connection without a request, or whose caller reads nothing, in
    /// milliseconds.
    pub idle_timeout_ms: u64,
    /// The timeout for the whole body of a request, in milliseconds.
    pub body_timeout_ms: u64,
    /// The maximum size of the head of a request, in bytes.
    pub header_bytes_max: u64,
    /// The maximum number of headers of a request.
    pub headers_max: usize,
    /// The maximum length of the path and query of a request, in bytes.
    pub uri_bytes_max: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            header_timeout_ms: 30_000,
            // Longer than the timeouts of proxies, so that they close first: two minutes for Caddy,
            // one for nginx and the load balancers of cloud providers.
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

/// Answers the requests of all connections.
pub trait Answers: Clone + Send + Sync + 'static {
    /// Returns the response to a request. Boxed, because a connection moves it.
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response>;
}

/// Accepts connections until `told` completes. Then waits until every pending request has its
/// response.
pub async fn serve(
    listener: TcpListener,
    answers: impl Answers,
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
            // Acquired first: a connection that is not accepted yet uses no resources here.
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
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let one = connection(stream, peer, answers.clone(), Arc::clone(&limits), stopped.clone());
        tokio::spawn(async move {
            let _permit = permit;
            one.await;
        });
    }
    drop(listener);
    stop.send_replace(());
    // All permits are available when all connections are closed.
    let _ = connections.acquire_many(most).await;
}

/// Pauses after a system limit was reached, but not if the peer disconnected before it was
/// accepted.
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
    answers: impl Answers,
    limits: Arc<ConnectionLimits>,
    mut stopped: watch::Receiver<()>,
) {
    let progress = Progress::new(&limits);
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&progress)));
    let mut http = http1::Builder::new();
    http.max_header_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX));
    // A caller that has sent everything can close its side at once, and still gets its response.
    http.half_close(true);
    if limits.headers_max != HEADERS_MAX {
        http.max_headers(limits.headers_max);
    }
    let watched = Arc::clone(&progress);
    let service = service_fn(move |request: Request<Incoming>| {
        watched.begin();
        let answer = answers.answer(received(request, peer, &limits, &watched));
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
                tracing::debug!(%peer, "a connection was closed: timeout");
                return;
            }
            _ = stopped.changed(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns the response to a request that no route must see. Requests that do not come from a
/// socket are not checked.
pub fn check_target(request: &Request<Body>) -> Option<Response> {
    let UriBytesMax(most) = request.extensions().get()?;
    let mut refused = target::check(request, *most).err()?;
    if !refused.status().is_success() {
        // The beginning of the next request is unknown.
        refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(*refused)
}

/// The maximum length of path and query, as an extension of requests from a socket.
#[derive(Clone, Copy)]
struct UriBytesMax(usize);

/// Returns a request with a timeout for its body, and with the facts about its connection.
fn received(
    request: Request<Incoming>,
    peer: SocketAddr,
    limits: &ConnectionLimits,
    progress: &Arc<Progress>,
) -> Request<Body> {
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
    request
}

#[cfg(test)]
mod tests;
