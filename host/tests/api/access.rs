//! Checks who can use every operation of the API. The operations are read from the API's own
//! description, so that a new one cannot be forgotten.

use serde_json::{Value, json};

use crate::app::{Answer, Call, TestApp};
use crate::browser::Browser;
use crate::with_an_app;

const SCOPES: [&str; 7] = [
    "script:read",
    "script:write",
    "route:write",
    "domain:manage",
    "app:admin",
    "log:read",
    "instance:admin",
];

/// An operation, and the scope that a key needs according to the description.
pub(crate) struct Operation {
    pub(crate) method: String,
    /// The path in the description: `/api/v1/apps/{app}`.
    pub(crate) template: String,
    /// `None` if any key is sufficient.
    scope: Option<String>,
}

impl Operation {
    /// Whether the operation concerns an app, or a resource in one.
    fn is_in_app(&self) -> bool {
        let beyond = ["{user_id}", "{key_id}"];
        self.template.contains('{') && !beyond.iter().any(|other| self.template.contains(other))
    }

    /// Whether the operation concerns the caller: every user can call it, but not with every key.
    fn is_own(&self) -> bool {
        let own = ["/api/v1/keys", "/api/v1/auth/"];
        own.iter().any(|beginning| self.template.starts_with(beginning))
    }

    /// Orders the operations: first reads, then deletions of one resource, then deletions of many,
    /// and the app itself last.
    fn rank(&self) -> u8 {
        match (&*self.method, &*self.template) {
            ("DELETE", "/api/v1/apps/{app}") => 3,
            ("DELETE", "/api/v1/apps/{app}/outbox") => 2,
            ("DELETE", _) => 1,
            _ => 0,
        }
    }
}

/// Returns every operation that needs a key. Fails for an operation that names no scope.
pub(crate) async fn operations(app: &TestApp) -> Vec<Operation> {
    let document = app.get("/api/v1/openapi.json").send().await.is(200).json();
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["operationId"] == Value::Null || operation["security"] == json!([{}]) {
                continue;
            }
            let scopes = operation["security"][0]["key"].as_array();
            let scopes = scopes.unwrap_or_else(|| panic!("{method} {template} names no scope"));
            assert!(scopes.len() <= 1, "{method} {template}");
            let scope = scopes.first().map(|scope| scope.as_str().unwrap().to_owned());
            let (method, template) = (method.to_uppercase(), template.clone());
            operations.push(Operation { method, template, scope });
        }
    }
    operations
}

/// An app with one resource of each kind.
pub(crate) struct Fixture {
    names: Vec<(&'static str, String)>,
}

impl Fixture {
    pub(crate) async fn make(app: &TestApp) -> Self {
        let admin = app.admin();
        let script = app.deploy("shop", "hello", "1").await;
        let failing = app.deploy("shop", "failing", "throw 1").await;
        let put = async |path: &str, body: Value| {
            admin.put(path, body).send().await.is(200);
        };
        let route = json!({"script_id": script, "method": "GET", "path": "/items"});
        let route = admin.post("/apps/shop/routes", route).send().await.is(201).json();
        admin.post("/apps/shop/domains", json!({"host": "shop.example"})).send().await.is(201);
        let retry = json!({"attempts_max": 1});
        let on = json!({"kind": "queue", "queue": "work"});
        let trigger = json!({"script_id": failing, "on": on, "retry": retry});
        let trigger = app.trigger_with("shop", trigger).await;
        let message = json!({"queue": "work", "payload": 1});
        admin.post("/apps/shop/events", message).send().await.is(202);
        app.settled("shop").await;
        let letter = app.dead_letters("shop").await[0]["id"].as_str().unwrap().to_owned();
        let waiting = json!({"queue": "waiting", "payload": 1});
        let event = admin.post("/apps/shop/events", waiting).send().await.is(202).json();
        put("/apps/shop/kv/colours/red", json!({"value": 1})).await;
        let file = admin.request("PUT", "/apps/shop/files/pages/index").text("text");
        file.send().await.is(200);
        let secret = admin.put("/apps/shop/secrets/TOKEN", json!({"value": "hidden"}));
        secret.send().await.is(201);
        let ran = admin.post(&format!("/execute/{script}"), json!({})).send().await.is(200).json();
        let member = Browser::of_member(app, "member", "shop", "viewer").await.user_id(app).await;
        let user = Browser::of_user(app, "user", "member").await.user_id(app).await;
        assert_ne!(member, user);
        let key = json!({"name": "a key", "scopes": ["script:read"]});
        let key = app.key(key).await["id"].as_str().unwrap().to_owned();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let names = vec![
            ("/scripts/{id}", format!("/scripts/{script}")),
            ("/execute/{id}", format!("/execute/{script}")),
            ("/routes/{id}", format!("/routes/{}", text(&route["id"]))),
            ("/triggers/{id}", format!("/triggers/{trigger}")),
            ("/dead-letters/{id}", format!("/dead-letters/{letter}")),
            ("/events/{id}", format!("/events/{}", text(&event["event_ids"][0]))),
            ("/executions/{id}", format!("/executions/{}", text(&ran["execution_id"]))),
            ("{app}", "shop".to_owned()),
            ("{version}", "1".to_owned()),
            ("{host}", "shop.example".to_owned()),
            ("{collection}", "colours".to_owned()),
            ("{key}", "red".to_owned()),
            ("{bucket}", "pages".to_owned()),
            ("{path}", "index".to_owned()),
            ("{user_id}", user),
            ("{user}", "member".to_owned()),
            ("{name}", "TOKEN".to_owned()),
            ("{key_id}", key),
        ];
        Self { names }
    }

    pub(crate) fn call(&self, app: &TestApp, operation: &Operation) -> Call {
        let mut path = operation.template.clone();
        for (parameter, value) in &self.names {
            path = path.replace(parameter, value);
        }
        assert!(!path.contains('{'), "the fixture has nothing for {path}");
        app.request(&operation.method, &path).body("application/json", "{}")
    }
}

/// Names the operation if the status of its response is not one of those allowed.
#[track_caller]
fn is_one_of(answer: &Answer, statuses: &[u16], who: &str, operation: &Operation) {
    let (method, template) = (&operation.method, &operation.template);
    assert!(statuses.contains(&answer.status), "{who}: {method} {template}: {answer:?}");
}

#[track_caller]
fn is_let_in(answer: &Answer, who: &str, operation: &Operation) {
    let (method, template) = (&operation.method, &operation.template);
    assert!(![401, 403, 404].contains(&answer.status), "{who}: {method} {template}: {answer:?}");
}

async fn key_with(app: &TestApp, body: Value) -> String {
    app.key(body).await["key"].as_str().unwrap().to_owned()
}

with_an_app! {
    async fn every_operation_refuses_every_key_but_the_right_one(app) {
        let fixture = Fixture::make(app).await;
        app.deploy("other", "hello", "1").await;
        let mut of_scope = Vec::new();
        for scope in SCOPES {
            let key = key_with(app, json!({"name": scope, "scopes": [scope]})).await;
            of_scope.push((scope, key));
        }
        let all = json!({"name": "other", "scopes": SCOPES, "app": "other"});
        let of_other_app = key_with(app, all).await;
        let short = json!({"name": "short", "scopes": SCOPES, "expires_in_days": 1});
        let expired = key_with(app, short).await;
        app.pass_days(1);
        let operations = operations(app).await;
        assert!(operations.len() >= 60, "{}", operations.len());

        for operation in &operations {
            let call = || fixture.call(app, operation);
            call().send().await.refuses(401, "unauthorized");
            call().by_key("pck_").send().await.refuses(401, "unauthorized");
            call().by_key(&expired).send().await.refuses(401, "unauthorized");
            let Some(right) = &operation.scope else { continue };
            for (scope, key) in of_scope.iter().filter(|(scope, _)| scope != right) {
                let answer = call().by_key(key).send().await;
                is_one_of(&answer, &[403], scope, operation);
                assert_eq!(answer.json()["error"]["scope"], **right);
            }
            if operation.is_in_app() {
                let answer = call().by_key(&of_other_app).send().await;
                is_one_of(&answer, &[404], "a key of another app", operation);
            } else if right == "instance:admin" {
                let answer = call().by_key(&of_other_app).send().await;
                is_one_of(&answer, &[403], "a key of an app", operation);
            }
        }
        let mut in_order: Vec<_> = operations.iter().collect();
        in_order.sort_by_key(|operation| operation.rank());
        let full = key_with(app, json!({"name": "full", "scopes": SCOPES})).await;
        for operation in in_order {
            let any = of_scope.first().map(|(_, key)| key);
            let right = of_scope.iter().find(|(scope, _)| operation.scope.as_deref() == Some(scope));
            let key = right.map(|(_, key)| key).or(any).unwrap();
            // An invitation is a way to sign in: see `escalation.rs`.
            let is_invitation = operation.template.ends_with("/invitation");
            let key = if is_invitation { &full } else { key };
            let answer = fixture.call(app, operation).by_key(key).send().await;
            // A key can delete itself, so that comes last.
            is_let_in(&answer, "the right key", operation);
        }
    }

    async fn a_user_who_is_no_member_finds_nothing_of_an_app(app) {
        let fixture = Fixture::make(app).await;
        let stranger = Browser::of_user(app, "stranger", "member").await;
        for operation in operations(app).await {
            let call = fixture.call(app, &operation).header("cookie", &stranger.cookie);
            let answer = call.header("x-csrf-token", &stranger.csrf_token).send().await;
            if operation.is_in_app() {
                is_one_of(&answer, &[404], "a stranger", &operation);
            } else if operation.scope.as_deref() == Some("instance:admin") && !operation.is_own() {
                is_one_of(&answer, &[403], "a stranger", &operation);
            }
            if answer.header("set-cookie").is_some() {
                break;
            }
        }
    }

    async fn a_member_may_exactly_what_the_role_allows(app) {
        let fixture = Fixture::make(app).await;
        // The scopes that each role can use, as documented.
        let table: [(&str, &[&str]); 3] = [
            ("viewer", &["script:read", "log:read"]),
            ("editor", &["script:read", "log:read", "script:write", "route:write"]),
            ("app_admin", &[
                "script:read", "log:read", "script:write", "route:write", "domain:manage", "app:admin",
            ]),
        ];
        let mut members = Vec::new();
        for (role, _) in table {
            members.push(Browser::of_member(app, role, "shop", role).await);
        }
        let mut operations = operations(app).await;
        operations.retain(Operation::is_in_app);
        operations.sort_by_key(Operation::rank);
        for operation in &operations {
            let scope = operation.scope.as_deref().unwrap();
            for ((role, scopes), member) in table.iter().zip(&members) {
                let call = fixture.call(app, operation).header("cookie", &member.cookie);
                let answer = call.header("x-csrf-token", &member.csrf_token).send().await;
                if !scopes.contains(&scope) {
                    is_one_of(&answer, &[403], role, operation);
                    assert_eq!(answer.json()["error"]["code"], "not_allowed");
                } else if operation.method != "DELETE" {
                    is_let_in(&answer, role, operation);
                }
            }
        }
    }
}
