//! Forms and compressed bodies as sent by real clients: curl, and Python's `requests`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{OWNER_KEY, Server};
use crate::start::data;

/// Returns the form.
const SEE: &str = r#"
    let seen = ctx.request;
    let files = seen.files.map(|file| {
        file.content = file.content.as_string();
        file
    });
    #{ form: seen.form_all, files: files, query: seen.query_all, body: seen.body }"#;

struct Form {
    server: Server,
    data: TempDir,
}

impl Form {
    async fn start() -> Self {
        let data = data();
        let server = Server::start(data.path(), &[("PICLOUD_OWNER_KEY", OWNER_KEY)]);
        server.create("/apps", json!({"name": "demo"})).await.unwrap();
        let script = json!({"name": "see", "source": SEE});
        server.create("/apps/demo/scripts", script).await.unwrap();
        Self { server, data }
    }

    /// Returns what the script received from this command. `URL` in it stands for the script's URL.
    fn seen(&self, command: &mut Command) -> Value {
        let ended = command.current_dir(self.data.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{command:?}: {said}");
        let answer = String::from_utf8(ended.stdout).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn url(&self) -> String {
        format!("{}/x/demo/see", self.server.url)
    }

    fn curl(&self, arguments: &[&str]) -> Value {
        self.seen(Command::new("curl").arg("-sS").args(arguments).arg(self.url()))
    }

    fn python(&self, send: &str) -> Value {
        let program = format!("import requests, gzip\nurl = {:?}\nprint({send}.text)", self.url());
        self.seen(Command::new("python3").args(["-c", &program]))
    }

    fn file(&self, name: &str) -> &Path {
        std::fs::write(self.data.path().join(name), "one\r\ntwo\n").unwrap();
        self.data.path()
    }
}

fn file(name: &str, content_type: &str) -> Value {
    json!([{"name": "file", "file_name": name, "content_type": content_type, "content": "one\r\ntwo\n"}])
}

#[tokio::test]
async fn forms_of_curl_are_read() {
    let form = Form::start().await;
    form.file("nöte.txt");
    let seen = form.curl(&["-F", "tag=a", "-F", "tag=b", "-F", "file=@nöte.txt;type=text/x-note"]);
    assert_eq!(seen["form"], json!({"tag": ["a", "b"]}));
    assert_eq!(seen["files"], file("nöte.txt", "text/x-note"));
    let seen = form.curl(&["-d", "tag=a", "--data-urlencode", "tag=b & ü"]);
    assert_eq!(seen["form"], json!({"tag": ["a", "b & ü"]}));
    let seen = form.curl(&["-G", "-d", "tag=a", "--data-urlencode", "tag=b & ü"]);
    assert_eq!(seen["query"], json!({"tag": ["a", "b & ü"]}));
    // Chunked, and with `Expect: 100-continue`.
    let long = ["-H", "transfer-encoding: chunked", "-H", "expect: 100-continue"];
    let seen = form.curl(&[&long[..], &["-F", "file=@nöte.txt"]].concat());
    assert_eq!(seen["files"], file("nöte.txt", "text/plain"));
    std::fs::write(form.data.path().join("plain"), "{\"a\": 1}").unwrap();
    let packed = Command::new("gzip").arg("plain").current_dir(form.data.path()).status();
    assert!(packed.unwrap().success());
    let seen = form.curl(&[
        "-H",
        "content-type: application/json",
        "-H",
        "content-encoding: gzip",
        "--data-binary",
        "@plain.gz",
    ]);
    assert_eq!(seen["body"], json!({"a": 1}));
}

#[tokio::test]
async fn forms_of_python_are_read() {
    let form = Form::start().await;
    let content = r#"b"one\r\ntwo\n""#;
    let seen = form.python(&format!(
        r#"requests.post(url, data={{"tag": ["a", "b"]}}, files={{"file": ("nöte.txt", {content}, "text/x-note")}})"#
    ));
    assert_eq!(seen["form"], json!({"tag": ["a", "b"]}));
    assert_eq!(seen["files"], file("nöte.txt", "text/x-note"));
    let seen = form.python(r#"requests.post(url, data=[("tag", "a"), ("tag", "b & ü")])"#);
    assert_eq!(seen["form"], json!({"tag": ["a", "b & ü"]}));
    let seen = form.python(r#"requests.get(url, params={"tag": ["a", "b & ü"]})"#);
    assert_eq!(seen["query"], json!({"tag": ["a", "b & ü"]}));
    let seen = form.python(
        r#"requests.post(url, data=gzip.compress(b'{"a": 1}'), headers={"content-type": "application/json", "content-encoding": "gzip"})"#,
    );
    assert_eq!(seen["body"], json!({"a": 1}));
    let seen = form.python(
        r#"requests.post(url, data="café".encode("latin-1"), headers={"content-type": "text/plain; charset=iso-8859-1"})"#,
    );
    assert_eq!(seen["body"], "café");
}
