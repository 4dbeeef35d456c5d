//! One server behind `caddy/Caddyfile`.

use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A body that is large enough to be compressed.
const LARGE: &str = r#"
    let all = [];
    for n in 0..2000 { all.push(#{ n: n, text: "the same again" }); }
    all
"#;
/// Returns the caller's address.
const WHO: &str = "ctx.request.remote_address";
/// Returns the request body.
const ECHO: &str = "#{ body: ctx.request.raw }";
/// The size of a body that is larger than every buffer on the way, and below the server's limit.
const BODY_BYTES: usize = 3 << 20;

fn start(variables: &[(&str, &str)]) -> (TempDir, Server) {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let key = [("PICLOUD_OWNER_KEY", OWNER_KEY)];
    let server = Server::start(data.path(), &[&key, variables].concat());
    (data, server)
}

async fn in_front_of(server: &Server) -> Caddy {
    Caddy::start("Caddyfile", &[("PICLOUD_UPSTREAM", address(server))]).await
}

/// `gzip -dc`.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(packed).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let done = Command::new("gzip").arg("-dc").stdin(file).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

#[tokio::test]
async fn a_large_answer_is_compressed() {
    let (_data, server) = start(&[]);
    deploy(&server, &[("large", LARGE)]).await;
    let caddy = in_front_of(&server).await;
    let plain = caddy.get("/x/app/large").send().await.unwrap();
    assert_eq!(plain.status(), 200);
    assert_eq!(plain.headers().get("content-encoding"), None);
    let plain = plain.bytes().await.unwrap();
    for (encoding, begin) in [("gzip", &b"\x1f\x8b"[..]), ("zstd", b"\x28\xb5\x2f\xfd")] {
        let packed = caddy.get("/x/app/large").header("accept-encoding", encoding);
        let packed = packed.send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], encoding);
        let packed = packed.bytes().await.unwrap();
        assert!(packed.starts_with(begin) && packed.len() < plain.len() / 5, "{}", packed.len());
        if encoding == "gzip" {
            assert_eq!(unpacked(&packed), plain);
        }
    }
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions() {
    let (_data, server) = start(&[]);
    deploy(&server, &[("echo", ECHO)]).await;
    let caddy = in_front_of(&server).await;
    let body: Vec<u8> = (0..BODY_BYTES).map(|at| (at % 251) as u8).collect();
    let chunks = body.chunks(64 << 10).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()));
    // Of unknown length, like a stream.
    let chunks = reqwest::Body::wrap_stream(futures::stream::iter(chunks.collect::<Vec<_>>()));
    let answer = caddy.post("/x/app/echo").body(chunks).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap() == body);
}

#[tokio::test]
async fn scripts_see_who_calls_and_not_who_he_says_he_is() {
    let (_data, server) = start(&[]);
    deploy(&server, &[("who", WHO)]).await;
    let caddy = in_front_of(&server).await;
    let said_by = async |request: reqwest::RequestBuilder| {
        let request = request.header("x-forwarded-for", "203.0.113.9");
        request.send().await.unwrap().text().await.unwrap()
    };
    // PiCloud trusts a trusted proxy's header. Caddy removes headers that callers send.
    let direct = caddy.http.get(server.url.clone() + "/x/app/who");
    assert_eq!(said_by(direct).await, r#""203.0.113.9""#);
    assert_eq!(said_by(caddy.get("/x/app/who")).await, r#""127.0.0.1""#);
}

#[tokio::test]
async fn a_session_is_for_tls_only_when_the_proxy_is_trusted() {
    for (trusted, is_secure) in [("127.0.0.0/8", true), ("none", false)] {
        let password = "password of the tests";
        let variables =
            [("PICLOUD_TRUSTED_PROXIES", trusted), ("PICLOUD_ADMIN_PASSWORD", password)];
        let (_data, server) = start(&variables);
        let caddy = in_front_of(&server).await;
        let sign_in =
            caddy.post("/api/v1/auth/login").json(&json!({"name": "admin", "password": password}));
        let answer = sign_in.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        assert_eq!(cookie.contains("; Secure"), is_secure, "{trusted}: {cookie}");
    }
}

/// PiCloud's own responses are never streamed, so another server is behind Caddy here.
#[tokio::test]
async fn an_answer_is_passed_on_as_it_comes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let (go_on, told) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(async move {
        // The requests of Caddy until it works, then the stream.
        let mut told = Some(told);
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/plain\r\n";
            if !request.starts_with(b"GET /stream ") {
                let answer = format!("{head}content-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
                continue;
            }
            let first = format!("{head}content-length: 10\r\n\r\nfirst");
            stream.write_all(first.as_bytes()).await.unwrap();
            told.take().unwrap().await.unwrap();
            stream.write_all(b" last").await.unwrap();
            return;
        }
    });
    let caddy = Caddy::start("Caddyfile", &[("PICLOUD_UPSTREAM", &upstream)]).await;
    let mut answer = caddy.get("/stream").send().await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().as_deref(), Some(&b"first"[..]));
    go_on.send(()).unwrap();
    assert_eq!(answer.chunk().await.unwrap().as_deref(), Some(&b" last"[..]));
    serving.await.unwrap();
}
