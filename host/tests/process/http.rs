//! HTTP/1.1 byte by byte, as any client can send it: RFC 9110 and RFC 9112.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::server::{OWNER_KEY, Server};

/// The timeout of a response, so that a hanging server fails the test.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The largest body that the server of these tests accepts, in bytes.
const BODY_BYTES_MAX: usize = 100_000;
/// The largest file, in bytes.
const FILE_BYTES_MAX: usize = 4 << 20;
/// The largest JSON body that the API accepts, in bytes.
const API_BODY_BYTES_MAX: usize = 2 << 20;

struct Web {
    server: Server,
    _data: TempDir,
}

impl Web {
    /// A server with the script `echo`, and the route `GET /page` to it.
    async fn start() -> Self {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let body_max = BODY_BYTES_MAX.to_string();
        let variables =
            [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_MAX_REQUEST_BYTES", &body_max)];
        let server = Server::start(data.path(), &variables);
        server.create("/apps", json!({"name": "demo"})).await.unwrap();
        let source =
            r#"let sent = ctx.request; `${sent.method} ${sent.path} [${sent.body ?? ""}]`"#;
        let script = json!({"name": "echo", "source": source});
        let script = server.create("/apps/demo/scripts", script).await.unwrap();
        let route = json!({"script_id": script["id"], "method": "GET", "path": "/page"});
        server.create("/apps/demo/routes", route).await.unwrap();
        Self { server, _data: data }
    }

    fn connect(&self) -> TcpStream {
        let address = self.server.url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_WITHIN)).unwrap();
        stream.set_write_timeout(Some(ANSWER_WITHIN)).unwrap();
        stream
    }

    /// Sends a request and returns the response, until the server closes the connection.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        hear(&mut stream)
    }

    /// Returns the status line of the response to this head and body.
    fn status(&self, head: &str, body: &str) -> String {
        let answer = self.ask(&request(head, body));
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
        status.unwrap_or_else(|| panic!("{head}: {answer:?}")).to_owned()
    }
}

/// Builds a request after which the connection is closed.
fn request(head: &str, body: &str) -> String {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in headers.lines() {
        request += &format!("{header}\r\n");
    }
    request + "\r\n" + body
}

fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn requests_are_answered_as_http_says() {
    let web = Web::start().await;
    let echo = "POST /x/demo/echo";
    let chunked = "POST /x/demo/echo\ncontent-type: text/plain\ntransfer-encoding: chunked";
    for (head, body, expected) in [
        // RFC 9110, section 9: methods are case-sensitive, and unknown ones are a 501.
        ("GET /x/demo/page", "", "200"),
        ("HEAD /x/demo/page", "", "200"),
        ("get /x/demo/page", "", "405"),
        ("Get /health/live", "", "405"),
        ("TRACE /x/demo/echo", "", "501"),
        ("TRACE /", "", "501"),
        ("CONNECT localhost:443", "", "501"),
        ("CONNECT /x/demo/echo", "", "501"),
        ("PROPFIND /x/demo/echo", "", "200"),
        ("BREW /x/demo/page", "", "405"),
        // RFC 9112, section 3.2: forms of the target.
        ("OPTIONS *", "", "204"),
        ("GET *", "", "400"),
        ("POST *", "", "400"),
        ("GET http://localhost/x/demo/page", "", "200"),
        ("GET localhost:80", "", "400"),
        ("GET x/demo/page", "", "400"),
        // Segments are compared decoded.
        ("GET /x/%64emo/%70age", "", "200"),
        ("GET /x/d%65mo/echo", "", "200"),
        ("GET /x/demo%2Fecho", "", "404"),
        ("GET /x/%ff/echo", "", "404"),
        // RFC 9112, section 6.1: `chunked` is the only coding.
        (&format!("{echo}\ntransfer-encoding: gzip, chunked"), "0\r\n\r\n", "501"),
        (
            &format!("{echo}\ntransfer-encoding: gzip\ntransfer-encoding: chunked"),
            "0\r\n\r\n",
            "501",
        ),
        (&format!("{echo}\ntransfer-encoding: chunked;q=1"), "0\r\n\r\n", "400"),
        (&format!("{echo}\ntransfer-encoding: chunked, chunked"), "0\r\n\r\n", "501"),
        (&format!("{echo}\ntransfer-encoding: identity"), "", "400"),
        (&format!("{echo}\ntransfer-encoding: Chunked"), "0\r\n\r\n", "200"),
        // RFC 9112, section 7.1: chunks.
        (chunked, "3\r\nabc\r\n0\r\n\r\n", "200"),
        (chunked, "3;name=value\r\nabc\r\n0\r\n\r\n", "200"),
        (chunked, "3\r\nabc\r\n0\r\ntrailer: 1\r\n\r\n", "200"),
        (chunked, "x\r\nabc\r\n0\r\n\r\n", "400"),
        (chunked, "-3\r\nabc\r\n0\r\n\r\n", "400"),
        (chunked, "0x3\r\nabc\r\n0\r\n\r\n", "400"),
        (chunked, "\r\nabc\r\n0\r\n\r\n", "400"),
        (chunked, "3\nabc\n0\n\n", "400"),
        (chunked, "3;a\nb\r\nabc\r\n0\r\n\r\n", "400"),
        (chunked, "3\r\nabcd\r\n0\r\n\r\n", "400"),
        (chunked, "ffffffffffffffff1\r\nabc\r\n0\r\n\r\n", "400"),
        // RFC 9112, section 6.3: lengths.
        (&format!("{echo}\ncontent-length: x"), "", "400"),
        (&format!("{echo}\ncontent-length: -1"), "", "400"),
        (&format!("{echo}\ncontent-length: 3, 3"), "abc", "400"),
        // Hyper parses 64-bit lengths, and refuses longer ones itself.
        (&format!("{echo}\ncontent-length: 18446744073709551616"), "", "400"),
        (&format!("{echo}\ncontent-length: 100001"), "", "413"),
        (&format!("{echo}\ncontent-length: 9223372036854775808"), "", "413"),
        (
            "POST /api/v1/apps\ncontent-type: application/json\ncontent-length: 100000000000",
            "",
            "413",
        ),
    ] {
        let head = &head.replacen(
            "/api/v1/apps\n",
            &format!("/api/v1/apps\nauthorization: Bearer {OWNER_KEY}\n"),
            1,
        );
        assert_eq!(web.status(head, body), expected, "{head} {body:?}");
    }
    let other = web.ask(&request("DELETE /x/demo/page", ""));
    assert!(other.contains("\r\nallow: GET, HEAD\r\n"), "{other}");
    assert_eq!(web.server.stop(), Some(0));
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_not_asked_for() {
    let web = Web::start().await;
    let head =
        format!("POST /x/demo/echo\nexpect: 100-continue\ncontent-length: {}", BODY_BYTES_MAX + 1);
    let refused = web.ask(&request(&head, ""));
    assert!(refused.starts_with("HTTP/1.1 413") && !refused.contains("100 Continue"), "{refused}");
    assert!(refused.contains("body_too_large"), "{refused}");
    // The API's own operations have a lower limit.
    let head = format!(
        "POST /api/v1/apps\nauthorization: Bearer {OWNER_KEY}\ncontent-type: application/json\n\
         expect: 100-continue\ncontent-length: {}",
        API_BODY_BYTES_MAX + 1
    );
    let refused = web.ask(&request(&head, ""));
    assert!(refused.starts_with("HTTP/1.1 413") && !refused.contains("100 Continue"), "{refused}");
    // Files have their own limit.
    let head = format!(
        "PUT /api/v1/apps/demo/files/b/f\nauthorization: Bearer {OWNER_KEY}\n\
         expect: 100-continue\ncontent-length: {}",
        FILE_BYTES_MAX + 1
    );
    let refused = web.ask(&request(&head, ""));
    assert!(refused.starts_with("HTTP/1.1 413") && !refused.contains("100 Continue"), "{refused}");
    let small =
        "POST /x/demo/echo\ncontent-type: text/plain\nexpect: 100-continue\ncontent-length: 3";
    let taken = web.ask(&request(small, "abc"));
    assert!(taken.starts_with("HTTP/1.1 100 Continue") && taken.contains("[abc]"), "{taken}");
    assert_eq!(web.server.stop(), Some(0));
}

#[tokio::test]
async fn an_answer_comes_whatever_the_caller_is_still_sending() {
    let web = Web::start().await;
    let large = "a".repeat(64 << 20);
    for (head, expected) in [
        (format!("POST /x/demo/echo\ncontent-length: {}", large.len()), "413"),
        (format!("POST /x/demo/nobody\ncontent-length: {}", large.len()), "404"),
        (format!("POST /x/demo/echo\ntransfer-encoding: gzip, chunked\nx: {}", large.len()), "501"),
        ("POST /x/demo/echo\ntransfer-encoding: chunked".to_owned(), "400"),
    ] {
        let answer = web.ask(&request(&head, &large));
        assert_eq!(answer.get(9..12), Some(expected), "{head}: {answer}");
        assert!(answer.ends_with('}'), "{head}: {answer}");
    }
    let answer = web.ask(&request(&format!("GET /\nlarge: {large}"), ""));
    assert_eq!(answer.get(9..12), Some("431"), "{answer}");
    assert_eq!(web.server.stop(), Some(0));
}

#[tokio::test]
async fn a_request_is_answered_after_its_caller_has_closed_its_own_side() {
    let web = Web::start().await;
    for (head, body, expected) in [
        ("GET /x/demo/page", "", "[]"),
        ("POST /x/demo/echo\ncontent-type: text/plain\ncontent-length: 3", "abc", "[abc]"),
    ] {
        let mut stream = web.connect();
        stream.write_all(request(head, body).as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let answer = hear(&mut stream);
        assert!(answer.contains(expected), "{head}: {answer}");
    }
    // A body that ends before its length is incomplete, and is not run.
    let mut stream = web.connect();
    let short = "POST /x/demo/echo\ncontent-type: text/plain\ncontent-length: 4";
    stream.write_all(request(short, "abc").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let answer = hear(&mut stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(web.server.stop(), Some(0));
}
