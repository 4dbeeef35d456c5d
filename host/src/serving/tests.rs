//! Tests over real sockets. No test waits for a fixed time; each waits for an event.

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse as _;
use axum::routing::{any, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tower_service::Service as _;

use super::*;
use crate::error::Error;

/// A timeout that no test reaches.
const NEVER_MS: u64 = 3_600_000;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    /// Lets one request to `/wait` continue.
    go_on: Arc<Notify>,
    /// Notified when such a request has arrived.
    has_come: Arc<Notify>,
}

fn never() -> ConnectionLimits {
    ConnectionLimits {
        header_timeout_ms: NEVER_MS,
        idle_timeout_ms: NEVER_MS,
        body_timeout_ms: NEVER_MS,
        ..ConnectionLimits::default()
    }
}

async fn start(limits: ConnectionLimits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (go_on, has_come) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (waits, comes) = (Arc::clone(&go_on), Arc::clone(&has_come));
    let wait = move || {
        let (waits, comes) = (Arc::clone(&waits), Arc::clone(&comes));
        async move {
            comes.notify_one();
            waits.notified().await;
            "waited"
        }
    };
    let router = Router::new()
        .route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }),
        )
        .route("/wait", get(wait))
        .route("/large", get(|| async { vec![b'a'; 64 << 20] }))
        .route(
            "/body",
            any(|body: Body| async {
                match axum::body::to_bytes(body, 1 << 20).await {
                    Ok(body) => body,
                    Err(error) if is_too_slow(&error) => Bytes::from_static(b"too slow"),
                    Err(_) => Bytes::from_static(b"gone"),
                }
            }),
        )
        .fallback(|| async { Error::MethodNotAllowed })
        .layer(axum::middleware::from_fn(refuse));
    let (stop, told) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, Routed(router), limits, async {
        let _ = told.await;
    }));
    Server { address, stop, ended, go_on, has_come }
}

#[derive(Clone)]
struct Routed(Router);

impl Answers for Routed {
    fn answer(&self, request: Request<Body>) -> BoxFuture<'static, Response> {
        let mut router = self.0.clone();
        Box::pin(async move { router.call(request).await.into_response() })
    }
}

async fn refuse(request: Request<Body>, next: axum::middleware::Next) -> Response {
    match check_target(&request) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

async fn open(server: &Server) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

/// Reads until the other side closes.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    // A reset counts as closed.
    let _ = stream.read_to_end(&mut heard).await;
    String::from_utf8_lossy(&heard).into_owned()
}

/// Reads one response on a connection that stays open.
async fn hear_one(stream: &mut TcpStream, ending: &str) -> String {
    let mut heard = String::new();
    while !heard.ends_with(ending) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "it ended: {heard}");
        heard.push(byte[0].into());
    }
    heard
}

async fn ask(server: &Server, request: &str) -> String {
    let mut stream = open(server).await;
    say(&mut stream, request).await;
    hear(&mut stream).await
}

const ROOT: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn requests_are_answered_one_after_the_other_on_one_connection() {
    let server = start(never()).await;
    let mut stream = open(&server).await;
    for _ in 0..3 {
        say(&mut stream, ROOT).await;
        let answer = hear_one(&mut stream, "127.0.0.1").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    say(&mut stream, LAST).await;
    assert!(hear(&mut stream).await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = start(ConnectionLimits { header_timeout_ms: 20, ..never() }).await;
    for begun in ["", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = open(&server).await;
        say(&mut stream, begun).await;
        assert_eq!(hear(&mut stream).await, "", "{begun:?}");
    }
    // The same after a response.
    let mut stream = open(&server).await;
    say(&mut stream, ROOT).await;
    hear_one(&mut stream, "127.0.0.1").await;
    say(&mut stream, "GET / HT").await;
    assert_eq!(hear(&mut stream).await, "");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let limits = ConnectionLimits { idle_timeout_ms: 20, header_timeout_ms: 20, ..never() };
    let server = start(limits).await;
    let mut stream = open(&server).await;
    say(&mut stream, ROOT).await;
    assert!(hear(&mut stream).await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn a_request_that_is_being_answered_is_not_overdue() {
    let limits = ConnectionLimits { idle_timeout_ms: 1, header_timeout_ms: 1, ..never() };
    // The head's timeout is longer, for a slow machine.
    let server = start(ConnectionLimits { header_timeout_ms: 100, ..limits }).await;
    let mut stream = open(&server).await;
    say(&mut stream, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.has_come.notified().await;
    // Waits as long as it takes to close another connection.
    assert_eq!(ask(&server, "GET /").await, "");
    server.go_on.notify_one();
    assert!(hear(&mut stream).await.ends_with("waited"));
}

#[tokio::test]
async fn whoever_reads_nothing_does_not_keep_a_connection() {
    let limits = ConnectionLimits { idle_timeout_ms: 50, header_timeout_ms: 50, ..never() };
    let server = start(ConnectionLimits { connections_max: 1, ..limits }).await;
    let mut deaf = open(&server).await;
    say(&mut deaf, "GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // One connection is allowed, so this request gets a response once the first is closed.
    assert!(ask(&server, LAST).await.ends_with("127.0.0.1"));
    drop(deaf);
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_is_not_waited_for() {
    let server = start(ConnectionLimits { body_timeout_ms: 20, ..never() }).await;
    let head = "POST /body HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4\r\n\r\n";
    let whole = ask(&server, &format!("{head}abcd")).await;
    assert!(whole.ends_with("abcd"), "{whole}");
    let slow = ask(&server, &format!("{head}abc")).await;
    assert!(slow.ends_with("too slow"), "{slow}");
}

#[tokio::test]
async fn a_head_has_a_size_and_a_number_of_headers() {
    let limits =
        ConnectionLimits { header_bytes_max: 1024, headers_max: 10, uri_bytes_max: 100, ..never() };
    let server = start(limits).await;
    let with = async |headers: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
        let answer = ask(&server, &request).await;
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    let header = |bytes: usize| format!("a: {}\r\n", "b".repeat(bytes));
    assert_eq!(with(&header(900)).await, "200");
    assert_eq!(with(&header(1024)).await, "431");
    assert_eq!(with(&"a: b\r\n".repeat(8)).await, "200");
    assert_eq!(with(&"a: b\r\n".repeat(9)).await, "431");
    let path = format!("GET /{} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "a".repeat(100));
    assert!(ask(&server, &path).await.starts_with("HTTP/1.1 414"));
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait() {
    let server = start(ConnectionLimits { connections_max: 2, ..never() }).await;
    let (mut first, second) = (open(&server).await, open(&server).await);
    let mut third = open(&server).await;
    say(&mut third, LAST).await;
    // The first is served although the third is already waiting.
    say(&mut first, ROOT).await;
    hear_one(&mut first, "127.0.0.1").await;
    drop(second);
    assert!(hear(&mut third).await.ends_with("127.0.0.1"));
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_answers_what_is_under_way() {
    let server = start(never()).await;
    let mut idle = open(&server).await;
    say(&mut idle, ROOT).await;
    hear_one(&mut idle, "127.0.0.1").await;
    let mut busy = open(&server).await;
    say(&mut busy, "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.has_come.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(hear(&mut idle).await, "");
    assert!(!server.ended.is_finished());
    server.go_on.notify_one();
    let answer = hear(&mut busy).await;
    assert!(answer.contains("connection: close") && answer.ends_with("waited"), "{answer}");
    server.ended.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// RFC 9112, section 11.2: requests that a proxy in front can interpret differently.
#[tokio::test]
async fn a_request_that_can_be_understood_in_two_ways_is_refused() {
    let server = start(never()).await;
    let mut requests = Vec::new();
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b",
        "GET / HTTP/1.1\r\nhost: a, b",
        "GET / HTTP/1.1",
        "GET http://b/ HTTP/1.1\r\nhost: a",
        "GET / HTTP/1.1\r\nhost : a",
        "GET / HTTP/1.1\r\n host: a",
        "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2",
        "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: +1",
        "POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity",
        "POST /body HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked",
    ] {
        requests.push((head, ask(&server, &format!("{head}\r\n\r\n")).await));
    }
    for (head, answer) in requests {
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}\n{answer}");
    }
    // With both a length and chunks, the chunks count (section 6.3), and the connection ends.
    let both = "POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\
        transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    let smuggled = "GET /wait HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    server.go_on.notify_one();
    let answer = ask(&server, &format!("{both}{smuggled}")).await;
    assert!(!answer.contains("waited"), "{answer}");
}
