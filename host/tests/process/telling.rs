//! The server's log for operators: the reason of a failed start, internal errors, and
//! the access log.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::server::{OWNER_KEY, Server, picloud};
use crate::start::data;

/// The time limit for a line.
const LINE_WITHIN: Duration = Duration::from_secs(60);

/// A server that logs JSON to a file.
struct Told {
    server: Server,
    data: TempDir,
    log: std::path::PathBuf,
}

impl Told {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let data = data();
        let log = data.path().join("server.log");
        let mut command = picloud(data.path());
        command.env("PICLOUD_LOG_FORMAT", "json").env("PICLOUD_OWNER_KEY", OWNER_KEY);
        command.envs(variables.iter().copied()).stderr(fs::File::create(&log).unwrap());
        let server = Server::spawn(command);
        server.create("/apps", json!({"name": "demo"})).await.unwrap();
        Self { server, data, log }
    }

    /// Returns the first line that matches.
    fn line(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(&self.log).unwrap();
            let mut lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            if let Some(line) = lines.find(&is_it) {
                return line;
            }
            assert!(begun.elapsed() < LINE_WITHIN, "the line is not logged:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn start(data: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = picloud(data);
    let Output { status, stderr, .. } =
        command.arg("serve").envs(variables.iter().copied()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// Each case: the spoiled path, how it is spoiled, and words of the error.
#[test]
fn a_start_that_fails_names_what_it_needs_and_why_it_cannot_have_it() {
    type Spoil = fn(&Path);
    let table: &[(&str, Spoil, &[&str])] = &[
        ("", |_| (), &["/none/picloud.db", "No such file"]),
        (
            "picloud.db",
            |db| fs::write(db, "no database").unwrap(),
            &["picloud.db", "not a database"],
        ),
        ("files", |files| fs::write(files, "").unwrap(), &["files", "Not a directory"]),
        ("instance", |id| fs::create_dir(id).unwrap(), &["instance", "Is a directory"]),
        (
            "picloud.db.lock",
            |lock| fs::create_dir(lock).unwrap(),
            &["picloud.db.lock", "Is a directory"],
        ),
    ];
    for (name, spoil, words) in table {
        let data = data();
        spoil(&data.path().join(name));
        let elsewhere = format!("sqlite://{}/none/picloud.db", data.path().display());
        let variables = [("PICLOUD_DATABASE_URL", &*elsewhere)];
        let (code, said) = start(data.path(), if name.is_empty() { &variables } else { &[] });
        assert_eq!(code, Some(1), "{name}: {said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("error: "), "{name}: {said}");
        for word in *words {
            assert!(last.contains(word), "{name}: {word} is not in {said}");
        }
    }
    // The data folder of an instance that has run before.
    let used = data();
    drop(Server::start(used.path(), &[]));
    let key = used.path().join("master.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    let (code, said) = start(used.path(), &[]);
    let last = said.lines().last().unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(last.contains("master.key is damaged"), "{said}");
    // The folder itself, before it contains an interpreter.
    let parent = data();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for folder in [file.clone(), file.join("below")] {
        let (code, said) = start(&folder, &[]);
        assert_eq!(code, Some(1), "{said}");
        let shown = format!("error: the data folder {}: ", folder.display());
        assert!(said.starts_with(&shown) && said.lines().count() == 1, "{said}");
    }
    assert!(start(&file, &[]).1.contains("it is not a folder"));
}

#[test]
fn a_database_file_that_cannot_be_used_says_why() {
    let data = data();
    fs::create_dir(data.path().join("picloud.db")).unwrap();
    let (code, said) = start(data.path(), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("picloud.db: Is a directory"), "{said}");
}

#[test]
fn a_level_that_does_not_exist_stops_the_start() {
    let data = data();
    for (name, value) in
        [("PICLOUD_LOG", "inf"), ("PICLOUD_LOG", "info\r"), ("PICLOUD_ACCESS_LOG", "yes")]
    {
        let (code, said) = start(data.path(), &[(name, value)]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(name) && said.contains(value.trim()), "{said}");
    }
}

#[tokio::test]
async fn an_internal_error_is_found_in_the_log_by_the_id_that_its_caller_got() {
    let told = Told::start(&[("PICLOUD_LOG", "warn")]).await;
    let file = told.data.path().join("picloud.db");
    let url = format!("sqlite://{}", file.display());
    let mut database = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("ALTER TABLE outbox RENAME TO lost").execute(&mut database).await.unwrap();
    let path = "/apps/demo/outbox?kind=kv";
    let (status, body) = told.server.admin("GET", path, &Value::Null).await.unwrap();
    assert_eq!(status, 500, "{body}");
    let id = body["error"]["id"].as_str().unwrap();
    assert_eq!(body["error"]["code"], "internal");
    assert!(body["error"]["message"].as_str().unwrap().contains(id), "{body}");
    assert!(!body.to_string().contains("no such table"), "{body}");
    let line = told.line(|line| line["id"] == id);
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["app"], "demo");
    assert_eq!(line["path"], "/api/v1/apps/demo/outbox?kind=kv");
    assert!(line["error"].as_str().unwrap().contains("no such table: outbox"), "{line}");
}

#[tokio::test]
async fn the_access_log_has_a_line_for_each_answer_and_no_credentials() {
    // The access log does not depend on the log level.
    let told = Told::start(&[("PICLOUD_LOG", "error"), ("PICLOUD_ACCESS_LOG", "on")]).await;
    let script = json!({"name": "hello", "source": "\"hello\""});
    let script = told.server.create("/apps/demo/scripts", script).await.unwrap();
    let route = json!({"script_id": script["id"], "method": "GET", "path": "/reset/{token}"});
    told.server.create("/apps/demo/routes", route).await.unwrap();
    let (status, execution) = told.server.call("/x/demo/hello?a=1&token=s3cret-1").await.unwrap();
    let line = told.line(|line| line["execution"] == execution.as_deref().unwrap());
    assert_eq!(line["target"], "picloud::access");
    assert_eq!(line["message"], "GET /x/demo/hello?a=1&token=***");
    assert_eq!((&line["status"], &line["app"]), (&json!(status), &json!("demo")));
    assert_eq!((&line["caller"], &line["bytes"]), (&json!("127.0.0.1"), &json!(7)));
    assert!(line["duration_us"].as_u64().unwrap() > 0, "{line}");
    told.server.call("/x/demo/reset/s3cret-2").await.unwrap();
    told.line(|line| line["message"] == "GET /x/demo/reset/***");
    told.server.call("/x/demo/nobody").await.unwrap();
    let line = told.line(|line| line["message"] == "GET /x/demo/nobody");
    assert_eq!((&line["status"], &line["execution"]), (&json!(404), &Value::Null));
    told.line(|line| line["message"] == "POST /api/v1/apps/demo/routes" && line["app"] == "demo");
    // A request that matches no route has a line too.
    let address = told.server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"TRACE /x/demo/traced HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let line = told.line(|line| line["message"] == "TRACE /x/demo/traced");
    assert_eq!((&line["status"], &line["caller"]), (&json!(501), &json!("127.0.0.1")));
    assert!(!fs::read_to_string(&told.log).unwrap().contains("s3cret"));
}
