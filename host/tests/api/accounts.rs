//! Users: creating, inviting, changing and deleting them; and the members of apps.

use serde_json::{Value, json};

use crate::app::{ADMIN_PASSWORD, TestApp};
use crate::browser::{Browser, accept, token_of, try_password};
use crate::{on_both_databases, with_an_app};

const PASSWORD: &str = "a password of theirs";

with_an_app! {
    async fn an_invited_user_chooses_a_password_and_signs_in_with_it(app) {
        let made = app.admin().post("/users", json!({"name": "ada"})).send().await.is(201).json();
        assert_eq!((&made["role"], &made["has_password"]), (&json!("member"), &json!(false)));
        assert!(made["invited_until"].as_i64().unwrap() > made["created_at"].as_i64().unwrap());
        let token = token_of(&made);
        let show = || app.post("/api/v1/auth/invitation").json(&json!({"token": token}));
        assert_eq!(show().send().await.is(200).json(), json!({"name": "ada"}));

        try_password(app, "ada", PASSWORD).send().await.refuses(401, "wrong_credentials");
        accept(app, &token, "too short").send().await.refuses(400, "field_invalid");
        let browser = Browser::of(&accept(app, &token, PASSWORD).send().await.is(200));
        let me = browser.request(app, "GET", "/auth/me").send().await.is(200).json();
        assert_eq!((&me["principal"]["name"], &me["principal"]["role"]), (&json!("ada"), &json!("member")));
        assert_eq!(me["capabilities"], json!(["platform_use", "platform_read_stats", "own_account", "own_account_manage"]));
        try_password(app, "ada", PASSWORD).send().await.is(200);

        // The invitation is used up.
        show().send().await.refuses(404, "invitation_not_found");
        accept(app, &token, PASSWORD).send().await.refuses(404, "invitation_not_found");
    }

    async fn an_invitation_is_good_for_a_week_and_a_new_one_takes_its_place(app) {
        let made = app.admin().post("/users", json!({"name": "ada"})).send().await.is(201).json();
        let path = format!("/users/{}/invitation", made["id"].as_str().unwrap());
        app.pass_days(6);
        let again = app.admin().post(&path, json!({})).send().await.is(200).json();
        let (first, second) = (token_of(&made), token_of(&again));
        accept(app, &first, PASSWORD).send().await.refuses(404, "invitation_not_found");
        app.pass_days(7);
        accept(app, &second, PASSWORD).send().await.refuses(404, "invitation_not_found");
        let third = app.admin().post(&path, json!({})).send().await.is(200).json();
        app.pass_days(6);
        accept(app, &token_of(&third), PASSWORD).send().await.is(200);
    }

    async fn a_user_changes_their_password_and_every_other_session_ends(app) {
        let (browser, other) = (Browser::sign_in(app).await, Browser::sign_in(app).await);
        let change = |current: &str, new: &str| {
            let body = json!({"current": current, "password": new});
            browser.change(app, "PUT", "/auth/password").json(&body)
        };
        change("wrong password", PASSWORD).send().await.refuses(403, "wrong_password");
        change(ADMIN_PASSWORD, "short").send().await.refuses(400, "field_invalid");
        let new = Browser::of(&change(ADMIN_PASSWORD, PASSWORD).send().await.is(200));
        for over in [&browser, &other] {
            over.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
        }
        new.request(app, "GET", "/auth/me").send().await.is(200);
        try_password(app, "admin", ADMIN_PASSWORD).send().await.refuses(401, "wrong_credentials");
        try_password(app, "admin", PASSWORD).send().await.is(200);
        // A key has no password to change.
        let body = json!({"current": "", "password": PASSWORD});
        app.admin().put("/auth/password", body).send().await.refuses(403, "no_password");
    }

    async fn of_several_who_change_a_password_at_once_one_does(app) {
        let browser = Browser::sign_in(app).await;
        let change = |new: &str| {
            let body = json!({"current": ADMIN_PASSWORD, "password": new});
            browser.change(app, "PUT", "/auth/password").json(&body).send()
        };
        let words = ["one", "two", "three"].map(|word| format!("another long password {word}"));
        let [one, two, three] = words.each_ref();
        let (one, two, three) = tokio::join!(change(one), change(two), change(three));
        let mut changed = Vec::new();
        for (answer, word) in [one, two, three].iter().zip(&words) {
            if answer.status == 200 {
                changed.push(word);
            } else {
                assert!([401, 403].contains(&answer.status), "{answer:?}");
            }
        }
        assert_eq!(changed.len(), 1);
        try_password(app, "admin", changed[0]).send().await.is(200);
    }

    async fn signing_out_everywhere_ends_all_sessions_of_one_user_only(app) {
        let (one, two) = (Browser::sign_in(app).await, Browser::sign_in(app).await);
        let ada = Browser::of_user(app, "ada", "member").await;
        let ended = one.change(app, "DELETE", "/auth/sessions").send().await.is(200);
        assert_eq!(ended.json(), json!({"ended": 2}));
        let noted = app.admin().get("/audit?action=sign_out_everywhere").send().await.is(200).json();
        assert_eq!(noted["items"][0]["principal_name"], "admin");
        for over in [&one, &two] {
            over.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
        }
        ada.request(app, "GET", "/auth/me").send().await.is(200);
    }

    /// Session fixation: a token that an attacker planted in a browser never becomes the token of a
    /// session.
    async fn a_token_from_before_signing_in_is_not_the_session_s(app) {
        let known = format!("picloud_session={}", "7".repeat(64));
        let call = try_password(app, "admin", ADMIN_PASSWORD).header("cookie", &known);
        let browser = Browser::of(&call.send().await.is(200));
        assert_ne!(browser.cookie, known);
        let me = app.get("/api/v1/auth/me").header("cookie", &known).send().await;
        me.refuses(401, "session_expired");
        let again = Browser::of(
            &try_password(app, "admin", ADMIN_PASSWORD).header("cookie", &browser.cookie).send().await.is(200),
        );
        assert_ne!(again.cookie, browser.cookie);
        assert_ne!(again.csrf_token, browser.csrf_token);
    }

    async fn a_user_who_may_not_sign_in_is_out_at_once(app) {
        let ada = Browser::of_user(app, "ada", "admin").await;
        let key = ada.change(app, "POST", "/keys").json(&json!({"name": "k", "scopes": ["script:read"]}));
        let key = key.send().await.is(201).json()["key"].as_str().unwrap().to_owned();
        app.get("/api/v1/apps").by_key(&key).send().await.is(200);
        let path = format!("/users/{}", ada.user_id(app).await);
        app.admin().patch(&path, json!({"enabled": false})).send().await.is(200);
        ada.request(app, "GET", "/apps").send().await.refuses(401, "session_expired");
        app.get("/api/v1/apps").by_key(&key).send().await.refuses(401, "unauthorized");
        try_password(app, "ada", PASSWORD).send().await.refuses(401, "wrong_credentials");
        app.admin().patch(&path, json!({"enabled": true})).send().await.is(200);
        app.get("/api/v1/apps").by_key(&key).send().await.is(200);
        try_password(app, "ada", PASSWORD).send().await.is(200);
        app.admin().delete(&path).send().await.is(204);
        app.get("/api/v1/apps").by_key(&key).send().await.refuses(401, "unauthorized");
        app.admin().get(&path).send().await.refuses(404, "user_not_found");
    }

    async fn there_is_always_an_owner_who_can_sign_in(app) {
        let first = format!("/users/{}", Browser::sign_in(app).await.user_id(app).await);
        let demote = || app.admin().patch(&first, json!({"role": "admin"}));
        demote().send().await.refuses(409, "last_owner");
        app.admin().patch(&first, json!({"enabled": false})).send().await.refuses(409, "last_owner");
        app.admin().delete(&first).send().await.refuses(409, "last_owner");
        Browser::of_user(app, "second", "owner").await;
        demote().send().await.is(200);
    }

    async fn only_owners_make_owners_and_change_them(app) {
        let owner = Browser::sign_in(app).await.user_id(app).await;
        let admin = Browser::of_user(app, "ada", "admin").await;
        let make = admin.change(app, "POST", "/users").json(&json!({"name": "eve", "role": "owner"}));
        make.send().await.refuses(403, "not_allowed");
        let own = format!("/users/{}", admin.user_id(app).await);
        let rise = admin.change(app, "PATCH", &own).json(&json!({"role": "owner"}));
        rise.send().await.refuses(403, "not_allowed");
        let path = format!("/users/{owner}");
        for (method, path) in [("PATCH", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/invitation"))] {
            admin.change(app, method, &path).json(&json!({})).send().await.refuses(403, "not_allowed");
        }
        let make = admin.change(app, "POST", "/users").json(&json!({"name": "eve", "role": "admin"}));
        make.send().await.is(201);
    }

    async fn a_user_has_a_name_of_their_own(app) {
        let make = |name: &str| app.admin().post("/users", json!({"name": name}));
        make("ada").send().await.is(201);
        make("ada").send().await.refuses(409, "user_name_taken");
        make(&"a".repeat(63)).send().await.is(201);
        for wrong in ["", "Ada", "a b", "é", ".ada", "a/b", &"a".repeat(64)] {
            make(wrong).send().await.refuses(400, "field_invalid");
        }
        make("grace.hopper+1@navy-mil_1").send().await.is(201);
        let names = app.admin().get("/users?limit=2").send().await.is(200).json();
        assert_eq!(names["items"].as_array().unwrap().len(), 2);
        app.admin().post("/users", json!({"name": "x", "role": "king"})).send().await.refuses(400, "body_invalid");
    }

    async fn members_see_their_apps_and_admins_see_all(app) {
        app.deploy("shop", "hello", "1").await;
        app.deploy("blog", "hello", "1").await;
        let ada = Browser::of_member(app, "ada", "shop", "viewer").await;
        let names = async |browser: &Browser, query: &str| {
            let path = format!("/apps{query}");
            let page = browser.request(app, "GET", &path).send().await.is(200).json();
            let items = page["items"].as_array().unwrap().clone();
            items.iter().map(|app| app["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&ada, "").await, ["shop"]);
        assert_eq!(names(&ada, "?q=o").await, ["shop"]);
        assert_eq!(names(&ada, "?q=blog").await, [""; 0]);
        let grace = Browser::of_user(app, "grace", "admin").await;
        assert_eq!(names(&grace, "").await, ["blog", "shop"]);
        let shown = ada.request(app, "GET", "/apps/shop").send().await.is(200).json();
        assert_eq!(shown["capabilities"], json!(["app_read", "app_read_logs", "app_read_data"]));
        let key = json!({"name": "k", "scopes": ["script:read"], "app": "blog"});
        let key = app.key(key).await["key"].as_str().unwrap().to_owned();
        let seen = app.get("/api/v1/apps").by_key(&key).send().await.is(200).json();
        assert_eq!(seen["items"][0]["name"], "blog");
        assert_eq!(seen["items"].as_array().unwrap().len(), 1);
        let seen = app.get("/api/v1/apps/blog").by_key(&key).send().await.is(200).json();
        assert_eq!(seen["capabilities"], json!(["app_read"]));
    }

    async fn members_are_listed_changed_and_removed(app) {
        app.deploy("shop", "hello", "1").await;
        let ada = Browser::of_member(app, "ada", "shop", "app_admin").await;
        Browser::of_user(app, "eve", "member").await;
        let set = |user: &str, role: &str| {
            let path = format!("/apps/shop/members/{user}");
            ada.change(app, "PUT", &path).json(&json!({"role": role}))
        };
        assert_eq!(set("eve", "viewer").send().await.is(200).json()["role"], "viewer");
        assert_eq!(set("eve", "editor").send().await.is(200).json()["role"], "editor");
        set("nobody", "editor").send().await.refuses(404, "user_not_found");
        set("eve", "owner").send().await.refuses(400, "body_invalid");
        let list = async || {
            let page = ada.request(app, "GET", "/apps/shop/members").send().await.is(200).json();
            let of = |member: &Value| format!("{} {}", member["name"], member["role"]).replace('"', "");
            page["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(list().await, ["ada app_admin", "eve editor"]);
        let remove = |user: &str| ada.change(app, "DELETE", &format!("/apps/shop/members/{user}"));
        remove("eve").send().await.is(204);
        remove("eve").send().await.refuses(404, "member_not_found");
        remove("nobody").send().await.refuses(404, "member_not_found");
        assert_eq!(list().await, ["ada app_admin"]);
    }
}

on_both_databases! {
    async fn the_first_password_is_made_once_and_asked_for_never_again(database) {
        let app = TestApp::start(database).await;
        try_password(&app, "admin", ADMIN_PASSWORD).send().await.is(200);
        let users = app.admin().get("/users").send().await.is(200).json();
        assert_eq!(users["items"].as_array().unwrap().len(), 1);
        assert_eq!(users["items"][0]["role"], "owner");
        app.close().await;
        let another = [("PICLOUD_ADMIN_PASSWORD", "another password")];
        let app = TestApp::start_with(database, &another).await;
        try_password(&app, "admin", "another password").send().await.refuses(401, "wrong_credentials");
        app.close().await;
    }
}
