//! Uses a secret wherever it could leak, and then searches for it everywhere: in the database, the
//! data folder, the log, every response of the API and the metrics. A control value that is not
//! secret is used in the same places, and must be found.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::compiled_guest;
use crate::database::{Database, Kind};
use crate::server::{OWNER_KEY, Server, picloud};

const SECRET: &str = "tok\"9f8e\\7d+6c/5b?4a=";
const CONTROL: &str = "ctl\"1a2b\\3c+4d/5e?6f=";

/// Outputs a value in every way that is stored. `ctx.request.query.of` selects what to omit.
const LEAK: &str = r#"
    let value = secrets::get("TOKEN") + " CONTROL";
    let token = secrets::get("TOKEN");
    log::info("it is " + value, #{ value: value, nested: [#{ "is": token }], json: json::stringify(value) });
    log::warn(encoding::base64_encode(token) + " " + encoding::base64url_encode(token));
    log::error(encoding::hex_encode(token) + " " + encoding::url_encode(token));
    log::debug(encoding::base64_encode("user:" + token));
    print(#{ value: value });
    for url in ["http://127.0.0.1:1/", "http://nowhere.invalid/", token] {
        try { http::get(url + "?key=" + encoding::url_encode(token), #{ headers: #{ authorization: token } }); }
        catch (error) { log::info("no: " + error); }
    }
    try { scripts::call("inner", value); } catch (error) { log::info(error); }
    try { throw #{ value: value }; } catch (error) { log::info("caught", error); }
    #{ status: 200, headers: #{ "x-value": value }, body: #{ value: value, encoded: encoding::base64_encode(token) } }
"#;
const INNER: &str = r#"log::info(ctx.event.script.payload); throw ctx.event.script.payload"#;
const THROW: &str =
    r#"throw #{ message: "CONTROL " + secrets::get("TOKEN"), list: [secrets::get("TOKEN")] }"#;
const WORKER: &str = r#"throw "CONTROL " + secrets::get("TOKEN")"#;
const DURABLE: &str = r#"#{ headers: #{ "x-value": secrets::get("TOKEN") }, body: "CONTROL " + secrets::get("TOKEN") }"#;

/// Returns the encodings in which an unmasked value can occur.
fn forms(value: &str) -> Vec<String> {
    let json = Value::from(value).to_string();
    let twice = Value::from(&*json).to_string();
    vec![
        value.to_owned(),
        json[1..json.len() - 1].to_owned(),
        twice[3..twice.len() - 3].to_owned(),
        STANDARD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
        // The base64 of `user:` and the value, without the characters that depend on both.
        STANDARD.encode(format!("user:{value}"))[8..28].to_owned(),
        hex::encode(value),
        form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    ]
}

fn found(value: &str, text: &[u8]) -> Option<String> {
    let is_in = |form: &String| text.windows(form.len()).any(|part| part == form.as_bytes());
    forms(value).into_iter().find(is_in)
}

async fn create(server: &Server, path: &str, body: Value) -> Value {
    server.create(path, body).await.expect("it is created")
}

async fn deploy(server: &Server, name: &str, source: &str) -> String {
    let control = Value::from(CONTROL).to_string();
    let source = source.replace("CONTROL", &control[1..control.len() - 1]);
    let script = json!({"name": name, "source": source});
    let made = create(server, "/apps/shop/scripts", script).await;
    made["id"].as_str().unwrap().to_owned()
}

/// Uses the secret.
async fn use_it(server: &Server) {
    create(server, "/apps", json!({"name": "shop"})).await;
    let (status, set) =
        server.admin("PUT", "/apps/shop/secrets/TOKEN", &json!({"value": SECRET})).await.unwrap();
    assert_eq!(status, 201, "{set}");
    deploy(server, "inner", INNER).await;
    deploy(server, "leak", LEAK).await;
    deploy(server, "throw", THROW).await;
    let worker = deploy(server, "worker", WORKER).await;
    let durable = deploy(server, "durable", DURABLE).await;
    create(
        server,
        "/apps/shop/triggers",
        json!({"script_id": worker, "on": {"kind": "queue", "queue": "q"}}),
    )
    .await;
    let route =
        json!({"script_id": durable, "method": "POST", "path": "/kept", "delivery": "durable"});
    create(server, "/apps/shop/routes", route).await;

    // Input is masked too, if the run knows that it contains a secret.
    let http = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let asked = |path: &str| http.post(format!("{}{path}", server.url)).header("x-token", SECRET);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("token", SECRET)
        .append_pair("control", CONTROL)
        .finish();
    let answer =
        asked(&format!("/x/shop/leak?{query}")).json(&json!({"token": SECRET, "control": CONTROL}));
    let answer = answer.send().await.unwrap();
    // The caller gets the response as the script returns it.
    assert_eq!(answer.headers()["x-value"].to_str().unwrap(), format!("{SECRET} {CONTROL}"));
    let told: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(told["value"], format!("{SECRET} {CONTROL}"));
    assert_eq!(asked("/x/shop/throw").send().await.unwrap().status(), 500);
    for expected in [format!("{CONTROL} {SECRET}"), format!("{CONTROL} ***")] {
        let answer =
            http.post(format!("{}/x/shop/kept", server.url)).header("idempotency-key", "1");
        assert_eq!(answer.send().await.unwrap().text().await.unwrap(), expected);
    }
    let message = json!({"queue": "q", "payload": 1});
    let (status, sent) = server.admin("POST", "/apps/shop/events", &message).await.unwrap();
    assert_eq!(status, 202, "{sent}");
    let begun = Instant::now();
    loop {
        let letters = server.find("/apps/shop/dead-letters").await;
        let runs = server.find("/apps/shop/executions?limit=200").await;
        let runs = runs["items"].as_array().map_or(0, Vec::len);
        if letters["items"].as_array().is_some_and(|items| items.len() == 1) && runs == 5 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{letters} {runs}");
    }
}

/// Returns the response to every GET of the API, for all existing resources.
async fn answers(server: &Server) -> String {
    let api: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let mut all = server.ask("GET", "/metrics", &json!(null)).await.unwrap().body;
    let mut asked = 0;
    for (path, item) in api["paths"].as_object().unwrap() {
        if !item["get"].is_object() {
            continue;
        }
        let path = path.replace("{app}", "shop");
        let list = match path.as_str() {
            path if path.contains("/executions/{id}") => "/apps/shop/executions?limit=200",
            path if path.contains("/dead-letters/{id}") => "/apps/shop/dead-letters",
            path if path.contains("/triggers/{id}") => "/apps/shop/triggers",
            path if path.contains("/scripts/{id}") => "/apps/shop/scripts",
            path if path.contains("/routes/{id}") => "/apps/shop/routes",
            path if path.contains('{') => continue,
            _ => "",
        };
        let ids = if list.is_empty() {
            json!([{"id": ""}])
        } else {
            server.find(list).await["items"].clone()
        };
        for id in ids.as_array().unwrap() {
            let path = path.replace("{id}", id["id"].as_str().unwrap()).replace("{version}", "1");
            let answer = server.ask("GET", &path, &json!(null)).await.unwrap();
            asked += usize::from(answer.status == 200);
            all += &answer.body;
        }
    }
    assert!(asked > 30, "{asked}");
    all
}

/// Returns the whole content of the database, as text.
async fn dump(database: &Database) -> Vec<u8> {
    let mut all = Vec::new();
    match database.kind {
        Kind::Sqlite => {
            let file = database.plain_url.strip_prefix("sqlite://").unwrap();
            for suffix in ["", "-wal"] {
                all.extend(std::fs::read(format!("{file}{suffix}")).unwrap_or_default());
            }
        }
        Kind::Postgres => {
            let mut connection = PgConnection::connect(&database.plain_url).await.unwrap();
            let tables: Vec<String> = sqlx::query_scalar(
                "SELECT CAST(table_name AS TEXT) FROM information_schema.tables WHERE table_schema = 'public'",
            )
            .fetch_all(&mut connection).await.unwrap();
            assert!(tables.contains(&"executions".to_owned()), "{tables:?}");
            for table in tables {
                // As JSON, because the text of a row doubles escaped characters.
                let rows = format!("SELECT CAST(row_to_json(t) AS TEXT) FROM \"{table}\" t");
                let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(rows))
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
                for row in rows {
                    let Value::Object(columns) = serde_json::from_str(&row).unwrap() else {
                        continue;
                    };
                    for value in columns.values() {
                        all.extend(
                            value
                                .as_str()
                                .map_or_else(|| value.to_string(), str::to_owned)
                                .into_bytes(),
                        );
                        all.push(b'\n');
                    }
                }
            }
            connection.close().await.unwrap();
        }
    }
    all
}

fn files(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Compiled code is older than the secret.
            if !path.ends_with("cache") {
                all.extend(files(&path));
            }
        } else {
            all.extend(std::fs::read(path).unwrap());
        }
    }
    all
}

/// Decodes stored responses of idempotency keys, which are in base64.
fn unpacked(text: &[u8]) -> Vec<u8> {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let words = text.split(|byte| !is_base64(byte)).filter(|word| word.len() >= 16);
    words.filter_map(|word| STANDARD.decode(word).ok()).flatten().collect()
}

crate::on_both_databases! {
    async fn a_secrets_value_is_found_nowhere(database) {
        let data = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        compiled_guest::place(data.path());
        let log = data.path().join("server.log");
        let url = match database.kind {
            Kind::Sqlite => database.url.to_string(),
            Kind::Postgres => database.plain_url.clone(),
        };
        let mut command = picloud(data.path());
        command
            .env("PICLOUD_LOG", "trace")
            .env("PICLOUD_OWNER_KEY", OWNER_KEY)
            .env("PICLOUD_DATABASE_URL", &url)
            .env("PICLOUD_PRIVATE_HOSTS", "127.0.0.1")
            .env("PICLOUD_TRIGGER_RETRY_ATTEMPTS", "1")
            .stderr(File::create(&log).unwrap());
        let server = Server::spawn(command);
        use_it(&server).await;
        let answers = answers(&server).await;
        let running = dump(database).await;
        assert_eq!(server.stop(), Some(0));
        let stopped = dump(database).await;
        let log = std::fs::read(&log).unwrap();

        // The control shows that the search works.
        let known = [("answers", answers.as_bytes()), ("database", &running), ("kept answers", &unpacked(&running))];
        for (place, text) in known {
            assert!(found(CONTROL, text).is_some(), "the control is not in the {place}");
        }
        assert!(log.windows(9).any(|part| part == b"127.0.0.1"), "the log is empty");
        let folder = files(data.path());
        let packed = [unpacked(&running), unpacked(&stopped)].concat();
        let places = [("answers", answers.as_bytes()), ("database", &running), ("database at its end", &stopped),
            ("data folder", &folder), ("log", &log), ("kept answers", &packed)];
        for (place, text) in places {
            assert_eq!(found(SECRET, text), None, "the secret is in the {place}");
        }
    }
}
