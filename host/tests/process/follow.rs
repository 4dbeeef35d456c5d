//! `picloud logs --follow`, as in a terminal.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::compiled_guest;
use crate::server::{OWNER_KEY, Server, picloud};

/// The time limit for a line.
const LINE_WITHIN: Duration = Duration::from_secs(60);

/// Returns the lines of a stream as they arrive, and the thread that reads them. The thread closes
/// the stream at the first line that the receiver does not take.
fn lines(stream: impl std::io::Read + Send + 'static) -> (Receiver<String>, JoinHandle<()>) {
    let (sender, receiver) = channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    (receiver, reader)
}

/// Returns the next line with this text, and the lines before it.
#[track_caller]
fn until(lines: &Receiver<String>, text: &str) -> Vec<String> {
    let mut read = Vec::new();
    while !read.last().is_some_and(|line: &String| line.contains(text)) {
        match lines.recv_timeout(LINE_WITHIN) {
            Ok(line) => read.push(line),
            Err(error) => panic!("{error}: {text} after {read:?}"),
        }
    }
    read
}

#[tokio::test]
async fn a_log_is_followed_through_a_restart_until_nobody_reads() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    server.create("/apps", json!({"name": "demo"})).await.unwrap();
    let source = r#"log::info(`hello ${ctx.request.query.n}`)"#;
    let script = json!({"name": "hello", "source": source});
    server.create("/apps/demo/scripts", script).await.unwrap();
    server.call("/x/demo/hello?n=before").await.unwrap();

    let mut follower = picloud(data.path())
        .args(["logs", "demo/hello", "--follow"])
        .envs([("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", &server.url)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, reader) = lines(follower.stdout.take().unwrap());
    let (err, _) = lines(follower.stderr.take().unwrap());
    until(&out, "hello before");
    server.call("/x/demo/hello?n=live").await.unwrap();
    let live = until(&out, "hello live");
    assert_eq!(
        live.iter().filter(|line| line.contains("GET /x/demo/hello")).count(),
        1,
        "{live:?}"
    );

    let listen = server.url.strip_prefix("http://").unwrap().to_owned();
    assert_eq!(server.stop(), Some(0));
    until(&err, "waiting for the server");
    let variables = [("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_LISTEN", &listen)];
    let server = Server::start(data.path(), &variables);
    server.call("/x/demo/hello?n=again").await.unwrap();
    let again = until(&out, "hello again");
    assert!(!again.iter().any(|line| line.contains("hello live")), "{again:?}");

    drop(out);
    server.call("/x/demo/hello?n=unread").await.unwrap();
    reader.join().unwrap();
    server.call("/x/demo/hello?n=into-a-closed-pipe").await.unwrap();
    assert_eq!(follower.wait().unwrap().code(), Some(0));
    assert_eq!(server.stop(), Some(0));
}

#[tokio::test]
async fn only_what_fits_is_followed_as_json() {
    let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    compiled_guest::place(data.path());
    let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
    server.create("/apps", json!({"name": "demo"})).await.unwrap();
    let source = r#"let n = ctx.request.query.n; log::info(n); if n == "bad" { throw n }"#;
    for name in ["hello", "other"] {
        let script = json!({"name": name, "source": source});
        server.create("/apps/demo/scripts", script).await.unwrap();
    }
    let filter = ["--script", "hello", "--status", "error", "--since", "1h", "--json"];
    let mut follower = picloud(data.path())
        .args(["logs", "--app", "demo", "--follow"])
        .args(filter)
        .envs([("PICLOUD_OWNER_KEY", OWNER_KEY), ("PICLOUD_URL", &server.url)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, _) = lines(follower.stdout.take().unwrap());
    for path in ["hello?n=good", "other?n=bad", "hello?n=bad"] {
        server.call(&format!("/x/demo/{path}")).await.unwrap();
    }
    let read = until(&out, "bad");
    assert_eq!(read.len(), 1, "{read:?}");
    let run: serde_json::Value = serde_json::from_str(&read[0]).unwrap();
    assert_eq!((&run["script"], &run["error"]["message"]), (&json!("hello"), &json!("bad")));
    assert_eq!(run["log"][0]["message"], "bad");
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(server.stop(), Some(0));
}
