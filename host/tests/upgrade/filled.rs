//! Stores one resource of each kind, and checks them in any release.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::Server;

const APP: &str = "/apps/shop";
const HOST: &str = "shop.example";
const PASSWORD: &str = "a password of theirs";
const SCRIPTS: [(&str, &str); 5] = [
    ("hello", r#"#{ version: 1, host: ctx.request.headers["host"] }"#),
    (
        "write",
        r#"kv::collection("seen").set("first", 1); files::bucket("docs").put("a.txt", "text");
           queue::send("work", 2); pubsub::publish("news", 3); queue::send("unassigned", 4);"#,
    ),
    (
        "work",
        r#"kv::collection("seen").increment("work", ctx.event.queue.payload);
           kv::collection("seen").set("secret", secrets::get("api_key").len())"#,
    ),
    ("fail", r#"throw "always""#),
    ("guarded", r#"#{ guarded: true }"#),
];

/// A filled server.
pub(crate) struct Filled {
    /// An API key of the owner with the scope `script:read`.
    key: String,
    http: reqwest::Client,
}

/// Calls the admin API, and asserts the status of the response.
async fn admin(server: &Server, method: &str, path: &str, body: Value, status: u16) -> Value {
    let (given, answer) = server.admin(method, path, &body).await.unwrap();
    assert_eq!(given, status, "{method} {path}: {answer}");
    answer
}

async fn get(server: &Server, path: &str) -> Value {
    admin(server, "GET", path, Value::Null, 200).await
}

/// Polls, at most a minute, until the condition is true.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never happens: {what}");
        picloud_testing::pause().await;
    }
}

/// Returns the value of a key that scripts have set.
async fn value(server: &Server, key: &str) -> Value {
    let part = get(server, &format!("{APP}/kv/seen?prefix={key}")).await;
    part["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["name"] == key)
        .map_or(Value::Null, |e| e["value"].clone())
}

/// Fills an empty server.
pub(crate) async fn fill(server: &Server) -> Filled {
    admin(server, "POST", "/apps", json!({"name": "shop", "description": "kept"}), 201).await;
    let mut ids = Vec::new();
    for (name, source) in SCRIPTS {
        let script = json!({"name": name, "source": source});
        let made = admin(server, "POST", &format!("{APP}/scripts"), script, 201).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let source = json!({"source": SCRIPTS[0].1.replace("version: 1", "version: 2")});
    admin(server, "PUT", &format!("/scripts/{}", ids[0]), source, 200).await;
    admin(
        server,
        "PUT",
        &format!("{APP}/secrets/api_key"),
        json!({"value": "a secret value"}),
        201,
    )
    .await;
    admin(server, "POST", &format!("{APP}/domains"), json!({"host": HOST}), 201).await;
    for route in [
        json!({"script_id": ids[0], "method": "GET", "path": "/hi/{name}"}),
        json!({"script_id": ids[0], "method": "GET", "path": "/", "host": HOST}),
        json!({"script_id": ids[4], "method": "GET", "path": "/closed",
            "auth": {"mode": "key", "secrets": ["api_key"]},
            "rate_limit": {"requests": 1000, "per_s": 1}}),
    ] {
        admin(server, "POST", &format!("{APP}/routes"), route, 201).await;
    }
    for trigger in [
        json!({"script_id": ids[2], "on": {"kind": "queue", "queue": "work"}}),
        json!({"script_id": ids[3], "on": {"kind": "pubsub", "topic": "news"},
            "retry": {"attempts_max": 1}}),
        json!({"script_id": ids[0], "on": {"kind": "cron", "schedule": "0 0 1 1 *"}}),
        json!({"script_id": ids[0], "on": {"kind": "kv", "collection": "other"}, "enabled": false}),
    ] {
        admin(server, "POST", &format!("{APP}/triggers"), trigger, 201).await;
    }
    let user = admin(server, "POST", "/users", json!({"name": "ada"}), 201).await;
    let token = user["invitation_path"].as_str().unwrap().strip_prefix("/invitation#").unwrap();
    let accepted = json!({"token": token, "password": PASSWORD});
    let accepted = server.post("/api/v1/auth/invitation/accept", &accepted).await.unwrap();
    assert_eq!(accepted.0, 200, "{}", accepted.1);
    admin(server, "PUT", &format!("{APP}/members/ada"), json!({"role": "editor"}), 200).await;
    let key = json!({"name": "reads", "scopes": ["script:read"]});
    let key = admin(server, "POST", "/keys", key, 201).await["key"].as_str().unwrap().to_owned();
    assert_eq!(server.post("/x/shop/write", &json!({})).await.unwrap().0, 200);
    eventually("the queue's message is worked off", async || {
        value(server, "work").await == json!(2)
    })
    .await;
    eventually("the failure is a dead letter", async || dead_letters(server).await == 1).await;
    Filled { key, http: reqwest::Client::builder().tls_certs_only([]).build().unwrap() }
}

async fn dead_letters(server: &Server) -> usize {
    get(server, &format!("{APP}/dead-letters")).await["items"].as_array().unwrap().len()
}

/// Returns the values of one field of a list, sorted.
async fn list(server: &Server, path: &str, field: &str) -> Vec<String> {
    let page = get(server, path).await;
    let items = page["items"].as_array().unwrap().iter();
    let mut values: Vec<_> = items
        .map(|item| item[field].as_str().map_or_else(|| item[field].to_string(), str::to_owned))
        .collect();
    values.sort();
    values
}

impl Filled {
    /// Asserts that all data is there.
    pub(crate) async fn check(&self, server: &Server) {
        assert_eq!(get(server, APP).await["description"], "kept");
        let names = ["fail", "guarded", "hello", "work", "write"];
        assert_eq!(list(server, &format!("{APP}/scripts"), "name").await, names);
        let paths = ["/", "/closed", "/hi/{name}"];
        assert_eq!(list(server, &format!("{APP}/routes"), "path").await, paths);
        let enabled = ["false", "true", "true", "true"];
        assert_eq!(list(server, &format!("{APP}/triggers"), "enabled").await, enabled);
        assert_eq!(list(server, &format!("{APP}/triggers"), "stopped").await, ["null"; 4]);
        assert_eq!(list(server, &format!("{APP}/domains"), "host").await, [HOST]);
        assert_eq!(list(server, &format!("{APP}/secrets"), "name").await, ["api_key"]);
        assert_eq!(list(server, &format!("{APP}/members"), "role").await, ["editor"]);
        assert_eq!(list(server, "/users", "name").await, ["ada", "admin"]);
        assert_eq!(list(server, &format!("{APP}/files/docs"), "name").await, ["a.txt"]);
        assert_eq!(value(server, "first").await, json!(1));
        assert!(get(server, &format!("{APP}/executions")).await["items"][0]["id"].is_string());
        let backlog = get(server, &format!("{APP}/backlog")).await;
        assert!(backlog.to_string().contains("unassigned"), "{backlog}");
        assert!(!list(server, "/audit", "action").await.is_empty());
    }

    /// Uses the data: calls routes, signs in, and sends a message.
    pub(crate) async fn use_everything(&self, server: &Server) {
        let on_host = self.http.get(&server.url).header("host", HOST).send().await.unwrap();
        assert_eq!(on_host.json::<Value>().await.unwrap(), json!({"version": 2, "host": HOST}));
        assert_eq!(server.call("/x/shop/hello").await.unwrap().0, 200);
        assert_eq!(server.call("/x/shop/hi/ada").await.unwrap().0, 200);
        assert_eq!(server.call("/x/shop/closed").await.unwrap().0, 401);
        assert_eq!(server.call("/x/shop/guarded").await.unwrap().0, 404);
        let url = format!("{}/x/shop/closed", server.url);
        let let_in = self.http.get(url).bearer_auth("a secret value").send().await.unwrap();
        assert_eq!(let_in.status(), 200);
        let url = format!("{}/api/v1/apps/shop", server.url);
        let read = self.http.get(url).bearer_auth(&self.key).send().await.unwrap();
        assert_eq!(read.status(), 200);
        let sign_in = json!({"name": "ada", "password": PASSWORD});
        let signed_in = server.post("/api/v1/auth/login", &sign_in).await.unwrap();
        assert_eq!(signed_in.0, 200, "{}", signed_in.1);
        let message = json!({"queue": "work", "payload": 5});
        admin(server, "POST", &format!("{APP}/events"), message, 202).await;
        // The script also reads the secret that was sealed before.
        eventually("a new message is worked off", async || value(server, "work").await == json!(7))
            .await;
    }
}
