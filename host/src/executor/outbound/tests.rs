//! Tests outbound connections with real sockets. A listener on this machine, which must not be
//! contacted, counts the connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use reqwest::dns::Resolve;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

const CORPUS: &str = include_str!("tests/ssrf.txt");
const THIS_MACHINE: [&str; 2] = ["127.0.0.1", "::1"];

/// A name server that returns these answers one after the other, and then the last one forever.
struct Answers {
    answers: Mutex<Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |list: &&[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        let answers = Mutex::new(answers.iter().rev().map(addresses).collect());
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl Lookup for Answers {
    fn lookup(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        let answer = answer.unwrap_or_default().into_iter().map(|ip| SocketAddr::new(ip, 0));
        Box::pin(std::future::ready(Ok(answer.collect())))
    }
}

/// A server that sends the same bytes on every connection and then closes it.
struct Raw {
    port: u16,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Raw {
    async fn start(answer: impl Fn(&str) -> Vec<u8> + std::marker::Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Not every machine has IPv6. Without it no connection arrives there.
        let other = TcpListener::bind(("::1", port)).await.ok();
        let accepted = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let by_other = async {
                    match &other {
                        Some(other) => other.accept().await,
                        None => std::future::pending().await,
                    }
                };
                let (mut stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    accepted = by_other => accepted.unwrap(),
                };
                count.fetch_add(1, Ordering::SeqCst);
                let mut request = Vec::new();
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut part = [0; 4096];
                    match stream.read(&mut part).await {
                        Ok(0) | Err(_) => break,
                        Ok(read) => request.extend_from_slice(&part[..read]),
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let _ = stream.write_all(&answer(&request)).await;
            }
        });
        Self { port, accepted, task }
    }

    async fn saying(answer: &'static [u8]) -> Self {
        Self::start(move |_| answer.to_vec()).await
    }

    /// Returns the number of connections. A connection made now is counted after all others.
    async fn count(&self) -> usize {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
        self.accepted.load(Ordering::SeqCst) - 1
    }
}

fn request(url: &str) -> Send {
    Send {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        timeout_ms: None,
        redirects: None,
        idempotency_key: false,
    }
}

async fn send(outbound: &Outbound, open: &str, send: Send) -> Result<Answer, String> {
    let app_id = uuid::Uuid::nil().into();
    let open = PrivateHosts::of_text(open);
    let sender = Sender { app_id: &app_id, open: &open, secrets: &Revealed::default() };
    outbound
        .send(send, &sender)
        .await
        .map_err(|(Unanswered::Refused(said) | Unanswered::Failed(said))| said)
}

#[tokio::test]
async fn what_is_refused_is_told_from_what_fails_and_says_how_it_is_opened() {
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let app_id = uuid::Uuid::nil().into();
    let send = async |send: Send, open: &str| {
        let open = PrivateHosts::of_text(open);
        let sender = Sender { app_id: &app_id, open: &open, secrets: &Revealed::default() };
        outbound.send(send, &sender).await.unwrap_err()
    };
    for url in ["http://127.0.0.1:1/", "http://localhost/", "ftp://a.example/", "no address"] {
        let refused = send(request(url), "").await;
        let Unanswered::Refused(said) = refused else { panic!("{url}: {refused:?}") };
        let is_private = url.starts_with("http:");
        assert_eq!(said.contains("PICLOUD_PRIVATE_HOSTS"), is_private, "{url}: {said}");
    }
    let refused = send(Send { redirects: Some(11), ..request("http://a.example/") }, "").await;
    assert!(matches!(refused, Unanswered::Refused(_)), "{refused:?}");
    // A name can have another address later, and the server may not listen yet.
    for (url, open) in [("http://a.example/", ""), ("http://127.0.0.1:1/", "127.0.0.1:1")] {
        let failed = send(request(url), open).await;
        assert!(matches!(failed, Unanswered::Failed(_)), "{url}: {failed:?}");
    }
}

fn outbound(names: &Arc<Answers>) -> Outbound {
    let names = Arc::clone(names) as Arc<dyn Lookup>;
    Outbound::with_lookup(PrivateHosts::default(), &names).unwrap()
}

fn corpus(port: u16) -> Vec<String> {
    let lines = CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.replace("PORT", &port.to_string())).collect()
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";

/// Asserts that the request was refused, and not attempted.
#[track_caller]
fn is_refusal(url: &str, said: Result<Answer, String>) {
    let said = said.expect_err(url);
    let known = ["public address", "the address", "the redirect"];
    assert!(known.iter().any(|known| said.contains(known)), "{url}: {said}");
}

#[tokio::test]
async fn nothing_of_the_corpus_is_connected_to() {
    let listener = Raw::saying(FINE).await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let corpus = corpus(listener.port);
    assert!(corpus.len() >= 100, "{}", corpus.len());
    for url in corpus {
        is_refusal(&url, send(&outbound, "", request(&url)).await);
    }
    assert_eq!(listener.count().await, 0);
}

#[tokio::test]
async fn nothing_of_the_corpus_is_connected_to_after_a_redirect() {
    let listener = Raw::saying(FINE).await;
    let redirecting = Raw::start(|request| {
        let (_, to) = request.split_once("x-to: ").unwrap_or_default();
        let to = to.lines().next().unwrap_or_default();
        format!(
            "HTTP/1.1 302 VisibleEntry\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    })
    .await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let open = format!("127.0.0.1:{}", redirecting.port);
    for url in corpus(listener.port) {
        // A text that is not an absolute URL is resolved relative to the redirecting URL.
        let relative = !url.contains("://") && !url.starts_with("//");
        if !url.is_ascii() || relative {
            continue;
        }
        let mut first = request(&format!("http://{open}/"));
        first.headers.push(("x-to".to_owned(), url.clone()));
        is_refusal(&url, send(&outbound, &open, first).await);
    }
    assert_eq!(listener.count().await, 0);
    assert!(redirecting.count().await > 90);
}

#[tokio::test]
async fn a_name_whose_addresses_change_is_not_followed_to_a_private_one() {
    let listener = Raw::saying(FINE).await;
    let url = format!("http://rebind.example:{}/", listener.port);
    // If the check and the connection each resolved the name, this machine would be contacted.
    let names =
        Answers::new(&[&THIS_MACHINE, &["2001:db8::1", "127.0.0.1"], &["::ffff:127.0.0.1"]]);
    let public = outbound(&names);
    for _ in 0..4 {
        is_refusal(&url, send(&public, "", request(&url)).await);
    }
    assert_eq!(names.asked.load(Ordering::SeqCst), 4, "each connection is its own question");

    assert_eq!(listener.count().await, 0);
}

/// The client connects only to the addresses that it is given.
#[tokio::test]
async fn of_the_addresses_of_a_name_only_the_public_ones_are_given_to_the_client() {
    let names = Answers::new(&[
        &["1.1.1.1"],
        &["127.0.0.1", "1.1.1.1", "::1", "::ffff:10.0.0.1"],
        &["10.0.0.1"],
    ]);
    let resolver =
        |public_only| Resolver { lookup: Arc::clone(&names) as Arc<dyn Lookup>, public_only };
    let given = async |resolver: &Resolver| {
        let given = resolver.resolve("rebind.example".parse().unwrap()).await.ok()?;
        Some(given.map(|address| address.ip().to_string()).collect::<Vec<_>>())
    };
    let public = resolver(true);
    assert_eq!(given(&public).await.unwrap(), ["1.1.1.1"]);
    assert_eq!(given(&public).await.unwrap(), ["1.1.1.1"]);
    assert_eq!(given(&public).await, None);
    assert_eq!(given(&resolver(false)).await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn what_is_open_is_exactly_what_was_named() {
    let (one, two) = (Raw::saying(FINE).await, Raw::saying(FINE).await);
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let open = format!("intranet.example:{} 127.0.0.1:{}", one.port, one.port);
    let get = async |url: String| send(&outbound, &open, request(&url)).await;
    for host in ["intranet.example", "INTRANET.example.", "127.0.0.1", "0x7f.1"] {
        let answer = get(format!("http://{host}:{}/", one.port)).await.expect(host);
        assert_eq!((answer.status, &*answer.body), (200, &b"fine"[..]), "{host}");
    }
    assert_eq!(one.count().await, 4);
    for url in [
        format!("http://intranet.example:{}/", two.port),
        format!("http://127.0.0.1:{}/", two.port),
        format!("http://other.example:{}/", one.port),
        format!("http://a.intranet.example:{}/", one.port),
        format!("http://[::1]:{}/", one.port),
        format!("http://[::ffff:127.0.0.1]:{}/", one.port),
        "http://intranet.example/".to_owned(),
    ] {
        is_refusal(&url, get(url.clone()).await);
    }
    // Without a port, all ports are open, but only to this app.
    let whole = format!("http://127.0.0.1:{}/", two.port);
    assert!(send(&outbound, "127.0.0.1", request(&whole)).await.is_ok());
    is_refusal(&whole, send(&outbound, "", request(&whole)).await);
    assert_eq!((one.count().await, two.count().await), (5, 1));
}

/// An idle connection is reused, but not by an app to which the host is not open.
#[tokio::test]
async fn an_open_connection_is_not_used_by_an_app_that_may_not_open_it() {
    let keeping = keeping_server().await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let url = format!("http://intranet.example:{}/", keeping.port);
    for _ in 0..2 {
        assert!(send(&outbound, "intranet.example", request(&url)).await.is_ok());
    }
    is_refusal(&url, send(&outbound, "", request(&url)).await);
    is_refusal(&url, send(&outbound, "intranet.example:1", request(&url)).await);
    assert_eq!(keeping.accepted.load(Ordering::SeqCst), 1, "it stayed open");
}

/// A server that closes a kept connection when the next request arrives on it.
async fn closing_server() -> (Raw, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (accepted, heard) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<String>>>::default());
    let (count, hears) = (Arc::clone(&accepted), Arc::clone(&heard));
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            for _ in 0..2 {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                let text = String::from_utf8_lossy(&part[..read]).into_owned();
                hears.lock().unwrap().push(text);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                // The second request is read, but not answered.
                if hears.lock().unwrap().len() % 2 == 1 {
                    stream.write_all(answer).await.unwrap();
                }
            }
        }
    });
    (Raw { port, accepted, task }, heard)
}

#[tokio::test]
async fn a_request_by_a_connection_that_has_ended_is_sent_once_more_if_it_may_be() {
    let (server, heard) = closing_server().await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let url = format!("http://127.0.0.1:{}/", server.port);
    let by = |method: &str| Send { method: method.to_owned(), ..request(&url) };
    send(&outbound, "127.0.0.1", by("GET")).await.unwrap();
    // The kept connection receives it and ends. Another connection receives it again.
    send(&outbound, "127.0.0.1", by("GET")).await.unwrap();
    assert_eq!(server.accepted.load(Ordering::SeqCst), 2);
    assert_eq!(heard.lock().unwrap().len(), 3);
    let said = send(&outbound, "127.0.0.1", by("POST")).await.unwrap_err();
    assert!(said.starts_with("the request failed"), "{said}");
    assert_eq!(heard.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_request_without_a_body_says_so_where_one_is_expected() {
    let server = Raw::start(|request| {
        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
        format!("{head}{}\r\n\r\n{request}", request.len()).into_bytes()
    })
    .await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let url = format!("http://127.0.0.1:{}/", server.port);
    for (method, lengths) in [("POST", 1), ("PUT", 1), ("PATCH", 1), ("GET", 0), ("DELETE", 0)] {
        let sent = Send { method: method.to_owned(), ..request(&url) };
        let answer = send(&outbound, "127.0.0.1", sent).await.unwrap();
        let heard = String::from_utf8(answer.body).unwrap();
        assert_eq!(heard.matches("content-length: 0\r\n").count(), lengths, "{heard}");
        assert!(heard.contains("accept-encoding: gzip,deflate,br\r\n"), "{heard}");
    }
}

#[tokio::test]
async fn an_answer_is_decoded_up_to_its_limit() {
    let server = Raw::start(|request| {
        let large = vec![b'x'; ANSWER_BYTES_MAX + 1];
        let (coding, body) = match request.split(' ').nth(1) {
            Some("/gzip") => ("gzip", gzip("héllo".as_bytes())),
            Some("/bomb") => ("gzip", gzip(&large)),
            Some("/broken") => ("gzip", b"plain".to_vec()),
            _ => ("identity", b"caf\xe9".to_vec()),
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=latin1\r\n\
             content-encoding: {coding}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        [head.into_bytes(), body].concat()
    })
    .await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let get = async |path: &str| {
        let url = format!("http://127.0.0.1:{}/{path}", server.port);
        send(&outbound, "127.0.0.1", request(&url)).await
    };
    let answer = get("gzip").await.unwrap();
    assert_eq!(answer.body, "héllo".as_bytes());
    assert!(!answer.headers.iter().any(|(name, _)| name == "content-encoding"));
    assert_eq!(get("plain").await.unwrap().text.as_deref(), Some("café"));
    assert!(get("bomb").await.unwrap_err().contains("larger than"));
    assert!(get("broken").await.unwrap_err().starts_with("the request failed"));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    use async_compression::tokio::bufread::GzipEncoder;
    let mut encoded = Vec::new();
    let encode = async { GzipEncoder::new(text).read_to_end(&mut encoded).await };
    futures::executor::block_on(encode).unwrap();
    encoded
}

/// A server that keeps its connections open.
async fn keeping_server() -> Raw {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&accepted);
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut part = [0; 4096];
                while stream.read(&mut part).await.is_ok_and(|read| read > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    Raw { port, accepted, task }
}

#[tokio::test]
async fn redirects_are_followed_as_often_as_was_asked() {
    let round = Raw::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let left: u32 = path.trim_start_matches('/').parse().unwrap_or(0);
        if left == 0 {
            return FINE.to_vec();
        }
        let to = left - 1;
        format!(
            "HTTP/1.1 307 x\r\nlocation: /{to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        .into_bytes()
    })
    .await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let get = async |hops: u32, redirects: Option<i64>| {
        let url = format!("http://127.0.0.1:{}/{hops}", round.port);
        let answer = send(&outbound, "127.0.0.1", Send { redirects, ..request(&url) }).await;
        answer.map(|answer| answer.status)
    };
    assert_eq!(get(5, None).await, Ok(200));
    assert!(get(6, None).await.unwrap_err().contains("more than 5 times"));
    assert_eq!(get(10, Some(10)).await, Ok(200));
    assert!(get(11, Some(10)).await.unwrap_err().contains("more than 10 times"));
    assert_eq!(get(1, Some(0)).await, Ok(307));
    assert!(get(0, Some(11)).await.unwrap_err().contains("0 to 10, not 11"));
    assert!(get(0, Some(-1)).await.is_err());
}

#[tokio::test]
async fn what_an_answer_may_have_is_limited() {
    let big = Raw::start(|request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (kind, size) = path.trim_start_matches('/').split_once('-').unwrap_or_default();
        let size: usize = size.parse().unwrap_or(0);
        let (headers, body) = match kind {
            "body" => (String::new(), size),
            "headers" => ((0..size - 2).map(|n| format!("x-{n}: y\r\n")).collect(), 0),
            _ => (format!("x: {}\r\n", "v".repeat(size - 31)), 0),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\n{headers}content-length: {body}\r\nconnection: close\r\n\r\n"
        );
        [head.into_bytes(), vec![b'x'; body]].concat()
    })
    .await;
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let get = async |path: String| {
        let url = format!("http://127.0.0.1:{}/{path}", big.port);
        send(&outbound, "127.0.0.1", request(&url)).await.map(|answer| answer.body.len())
    };
    assert_eq!(get(format!("body-{ANSWER_BYTES_MAX}")).await, Ok(ANSWER_BYTES_MAX));
    assert!(
        get(format!("body-{}", ANSWER_BYTES_MAX + 1)).await.unwrap_err().contains("larger than")
    );
    assert_eq!(get(format!("headers-{ANSWER_HEADERS_MAX}")).await, Ok(0));
    get(format!("headers-{}", ANSWER_HEADERS_MAX + 1)).await.unwrap_err();
    assert_eq!(get(format!("bytes-{ANSWER_HEADER_BYTES_MAX}")).await, Ok(0));
    assert!(
        get(format!("bytes-{}", ANSWER_HEADER_BYTES_MAX + 8)).await.unwrap_err().contains("bytes")
    );
}

/// The server never responds, and the request times out.
#[tokio::test]
async fn a_request_that_takes_too_long_ends() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let outbound = outbound(&Answers::new(&[&THIS_MACHINE]));
    let mut slow = request(&url);
    slow.timeout_ms = Some(20);
    assert_eq!(send(&outbound, "127.0.0.1", slow).await.unwrap_err(), "the request took too long");
}
