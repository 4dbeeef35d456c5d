//! No credential can obtain more rights than it has: every credential tries every way.

use futures::future::join_all;
use picloud::auth::Auth;
use picloud::clock::Clock;
use picloud::store::{AuditFilter, Page};
use serde_json::{Value, json};

use crate::app::{Answer, Call, OWNER_KEY, TestApp};
use crate::browser::{Browser, accept, token_of, try_password};
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

/// A credential.
enum Credential {
    Key(String),
    Session(Browser),
}

impl Credential {
    fn call(&self, app: &TestApp, method: &str, path: &str, body: &Value) -> Call {
        match self {
            Self::Key(key) => app.request(method, &format!("/api/v1{path}")).by_key(key).json(body),
            Self::Session(browser) => browser.change(app, method, path).json(body),
        }
    }
}

async fn key(app: &TestApp, body: Value) -> Credential {
    Credential::Key(app.key(body).await["key"].as_str().unwrap().to_owned())
}

/// Creates a user that can be invited, changed and made a member, and returns the id.
async fn target(app: &TestApp, name: &str, role: &str) -> String {
    let user = json!({"name": name, "role": role});
    let made = app.admin().post("/users", user).send().await.is(201).json();
    made["id"].as_str().unwrap().to_owned()
}

/// Returns the ways to get another credential, or more rights: name and request.
async fn ways(app: &TestApp, who: &str) -> Vec<(&'static str, &'static str, String, Value)> {
    let member = target(app, &format!("m-{who}"), "member").await;
    let admin = target(app, &format!("a-{who}"), "admin").await;
    let owner = target(app, &format!("o-{who}"), "owner").await;
    let disabled = target(app, &format!("d-{who}"), "member").await;
    let path = format!("/users/{disabled}");
    app.admin().patch(&path, json!({"enabled": false})).send().await.is(200);
    let new = |role: &str| json!({"name": format!("new-{role}-{who}"), "role": role});
    let invitation = |id: &str| format!("/users/{id}/invitation");
    let member_of = |user: &str| format!("/apps/shop/members/{user}-{who}");
    vec![
        ("key", "POST", "/keys".to_owned(), json!({"name": "k", "scopes": SCOPES})),
        ("new member", "POST", "/users".to_owned(), new("member")),
        ("new admin", "POST", "/users".to_owned(), new("admin")),
        ("new owner", "POST", "/users".to_owned(), new("owner")),
        ("invite member", "POST", invitation(&member), json!({})),
        ("invite admin", "POST", invitation(&admin), json!({})),
        ("invite owner", "POST", invitation(&owner), json!({})),
        ("enable", "PATCH", format!("/users/{disabled}"), json!({"enabled": true})),
        ("viewer", "PUT", member_of("d"), json!({"role": "viewer"})),
        ("editor", "PUT", member_of("a"), json!({"role": "editor"})),
        ("app_admin", "PUT", member_of("m"), json!({"role": "app_admin"})),
        ("to admin", "PATCH", format!("/users/{member}"), json!({"role": "admin"})),
        ("to owner", "PATCH", format!("/users/{admin}"), json!({"role": "owner"})),
        (
            "password",
            "PUT",
            "/auth/password".to_owned(),
            json!({"current": "", "password": "a new password"}),
        ),
    ]
}

fn is_refused(answer: &Answer) -> bool {
    [403, 404].contains(&answer.status)
}

with_an_app! {
    async fn every_credential_gets_exactly_what_it_has(app) {
        app.deploy("shop", "hello", "1").await;
        let in_app = ["viewer", "editor", "app_admin"];
        let of_admin = [
            "key", "new member", "new admin", "invite member", "invite admin", "enable", "viewer",
            "editor", "app_admin", "to admin",
        ];
        let all = [&of_admin[..], &["new owner", "invite owner", "to owner"]].concat();
        let scopes = |but: &str| SCOPES.into_iter().filter(|scope| *scope != but).collect::<Vec<_>>();
        // Each credential, and the ways it is allowed: those that give only what it has.
        let mut table: Vec<(String, Credential, Vec<&str>)> = Vec::new();
        for scope in SCOPES {
            let only = key(app, json!({"name": scope, "scopes": [scope]})).await;
            // Even the scope `app:admin` alone is less than any role in the app.
            table.push((format!("only-{scope}"), only, vec![]));
            let but = key(app, json!({"name": scope, "scopes": scopes(scope)})).await;
            let may = match scope {
                "instance:admin" => in_app.to_vec(),
                "app:admin" | "script:read" | "log:read" => vec![],
                "domain:manage" => vec!["viewer", "editor"],
                _ => vec!["viewer"],
            };
            table.push((format!("all-but-{scope}"), but, may));
        }
        let expiring = json!({"name": "k", "scopes": SCOPES, "expires_in_days": 3650});
        // A key it creates ends with it, which is checked below.
        table.push(("expiring".to_owned(), key(app, expiring).await, vec!["key"]));
        let of_app = json!({"name": "k", "scopes": SCOPES, "app": "shop"});
        table.push(("of-app".to_owned(), key(app, of_app).await, in_app.to_vec()));
        let full = json!({"name": "k", "scopes": SCOPES});
        table.push(("full".to_owned(), key(app, full.clone()).await, all.clone()));
        for (role, may) in [("viewer", vec![]), ("editor", vec![]), ("app_admin", in_app.to_vec())] {
            let browser = Browser::of_member(app, &format!("as-{role}"), "shop", role).await;
            let made = browser.change(app, "POST", "/keys").json(&full).send().await.is(201).json();
            let key = Credential::Key(made["key"].as_str().unwrap().to_owned());
            // Keys of users: they can create keys with at most their own rights.
            table.push((format!("key-of-{role}"), key, [&["key"], &may[..]].concat()));
            let may = [&["key"], &may[..]].concat();
            table.push((format!("session-of-{role}"), Credential::Session(browser), may));
        }
        for (role, may) in [("member", vec!["key"]), ("admin", of_admin.to_vec()), ("owner", all.clone())] {
            let browser = Browser::of_user(app, &format!("as-{role}"), role).await;
            table.push((format!("session-of-{role}"), Credential::Session(browser), may));
        }
        for (who, credential, may) in &table {
            let who = who.replace([':', '_'], "-");
            for (way, method, path, body) in ways(app, &who).await {
                let answer = credential.call(app, method, &path, &body).send().await;
                if may.contains(&way) {
                    assert!((200..300).contains(&answer.status), "{who}, {way}: {answer:?}");
                } else {
                    assert!(is_refused(&answer), "{who} gets more by {way}: {answer:?}");
                }
            }
        }
    }

    async fn what_takes_rights_away_needs_no_more_than_the_scope(app) {
        app.deploy("shop", "hello", "1").await;
        let users = key(app, json!({"name": "k", "scopes": ["instance:admin"]})).await;
        let members = key(app, json!({"name": "k", "scopes": ["app:admin"], "expires_in_days": 1})).await;
        let ada = target(app, "ada", "admin").await;
        app.set_role("shop", "ada", "app_admin").await;
        let path = format!("/users/{ada}");
        users.call(app, "PATCH", &path, &json!({"role": "member"})).send().await.is(200);
        users.call(app, "PATCH", &path, &json!({"role": "admin"})).send().await.refuses(403, "scope_missing");
        users.call(app, "PATCH", &path, &json!({"enabled": false})).send().await.is(200);
        let path = "/apps/shop/members/ada";
        for role in ["app_admin", "editor", "viewer"] {
            members.call(app, "PUT", path, &json!({"role": role})).send().await.is(200);
        }
        members.call(app, "PUT", path, &json!({"role": "editor"})).send().await.refuses(403, "scope_missing");
        members.call(app, "DELETE", path, &json!({})).send().await.is(204);
    }

    async fn what_a_key_gives_does_not_outlast_it(app) {
        app.deploy("shop", "hello", "1").await;
        let body = json!({"name": "first", "scopes": SCOPES, "expires_in_days": 1});
        let first = app.key(body).await;
        let with = Credential::Key(first["key"].as_str().unwrap().to_owned());
        let make = json!({"name": "second", "scopes": SCOPES});
        let second = with.call(app, "POST", "/keys", &make).send().await.is(201).json();
        assert_eq!(second["expires_at"], first["expires_at"]);
        let with = Credential::Key(second["key"].as_str().unwrap().to_owned());
        let third = with.call(app, "POST", "/keys", &make).send().await.is(201).json();
        target(app, "ada", "member").await;
        let member = with.call(app, "PUT", "/apps/shop/members/ada", &json!({"role": "viewer"}));
        member.send().await.refuses(403, "key_expires");
        // Revoking a key revokes the keys created with it.
        let uses = async |key: &Value| {
            app.get("/api/v1/apps").by_key(key["key"].as_str().unwrap()).send().await.status
        };
        assert_eq!((uses(&second).await, uses(&third).await), (200, 200));
        let path = format!("/keys/{}", first["id"].as_str().unwrap());
        app.admin().delete(&path).send().await.is(204);
        for key in [&first, &second, &third] {
            assert_eq!(uses(key).await, 401, "{key}");
        }
    }

    async fn an_invitation_is_accepted_by_exactly_one_of_many_at_once(app) {
        for round in 0..3 {
            let name = format!("ada{round}");
            let made = app.admin().post("/users", json!({"name": name})).send().await.is(201).json();
            let token = token_of(&made);
            let password = |n: usize| format!("the password {n}");
            let tries = (0..6).map(|n| accept(app, &token, &password(n)).send());
            let answers = join_all(tries).await;
            let won: Vec<_> = (0..6).filter(|n| answers[*n].status == 200).collect();
            assert_eq!(won.len(), 1, "{answers:?}");
            for answer in answers.iter().filter(|answer| answer.status != 200) {
                answer.refuses(404, "invitation_not_found");
                assert_eq!(answer.header("set-cookie"), None);
            }
            try_password(app, &name, &password(won[0])).send().await.is(200);
        }
    }

    async fn with_the_owner_key_end_the_keys_that_were_made_with_it(app) {
        app.deploy("shop", "hello", "1").await;
        let by_owner = app.key(json!({"name": "k", "scopes": ["script:read"]})).await;
        let ada = Browser::of_user(app, "ada", "admin").await;
        let theirs = ada.change(app, "POST", "/keys").json(&json!({"name": "k", "scopes": ["script:read"]}));
        let theirs = theirs.send().await.is(201).json();
        let uses = async |key: &str| app.get("/api/v1/apps").by_key(key).send().await.status;
        let of = |key: &Value| key["key"].as_str().unwrap().to_owned();
        assert_eq!((uses(&of(&by_owner)).await, uses(&of(&theirs)).await), (200, 200));
        let reset = Auth::reset(app.store(), &Clock::system()).await.unwrap();
        let filter = AuditFilter { action: Some("reset_owner_key"), ..AuditFilter::default() };
        let noted = app.store().list_audit(&filter, Page { limit: 9, offset: 0 }).await.unwrap().rows;
        assert_eq!(noted.len(), 1);
        let new = reset.unwrap().reveal().to_owned();
        // At once, even on the running server.
        assert_eq!(uses(&of(&by_owner)).await, 401);
        assert_eq!(uses(OWNER_KEY).await, 401);
        assert_eq!(uses(&new).await, 200);
        assert_eq!(uses(&of(&theirs)).await, 200);
        let answer = app.get("/x/shop/hello").by_key(&new).send().await.is(200);
        assert!(answer.header("x-picloud-fuel").is_some());
        let answer = app.get("/x/shop/hello").by_key(OWNER_KEY).send().await.is(200);
        assert!(answer.header("x-picloud-fuel").is_none());
    }

    async fn metrics_take_a_key_that_reads_logs_of_all_apps(app) {
        app.deploy("shop", "hello", "1").await;
        let metrics = async |body: Value| {
            let key = app.key(body).await["key"].as_str().unwrap().to_owned();
            app.get("/metrics").by_key(&key).send().await
        };
        metrics(json!({"name": "k", "scopes": ["log:read"]})).await.is(200);
        metrics(json!({"name": "k", "scopes": ["instance:admin"]})).await.refuses(403, "scope_missing");
        metrics(json!({"name": "k", "scopes": SCOPES, "app": "shop"})).await.refuses(403, "key_of_app");
        let viewer = Browser::of_member(app, "ada", "shop", "app_admin").await;
        let key = viewer.change(app, "POST", "/keys").json(&json!({"name": "k", "scopes": SCOPES}));
        let key = key.send().await.is(201).json()["key"].as_str().unwrap().to_owned();
        app.get("/metrics").by_key(&key).send().await.refuses(403, "not_allowed");
    }
}
