//! Signing in with a browser, which then sends a cookie instead of a key.

use serde_json::json;

use crate::app::{ADMIN_PASSWORD, Call, TestApp};
use crate::browser::{Browser, try_password};
use crate::{on_both_databases, with_an_app};

const COOKIE: &str = "picloud_session";

with_an_app! {
    async fn a_password_is_exchanged_for_a_cookie_that_scripts_of_pages_cannot_read(app) {
        let answer = try_password(app, "admin", ADMIN_PASSWORD).send().await.is(200);
        let cookie = answer.header("set-cookie").unwrap().to_owned();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        let (name, token) = pair.split_once('=').unwrap();
        assert_eq!((name, token.len()), (COOKIE, 64));
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/api/v1; Max-Age=2592000");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let browser = Browser::of(&answer);
        assert!(!answer.text().contains(token) && browser.csrf_token.len() == 64);

        let me = browser.request(app, "GET", "/auth/me").send().await.is(200).json();
        assert_eq!(me["csrf_token"], browser.csrf_token);
        assert_eq!(me["principal"]["name"], "admin");
        assert_eq!(me["principal"]["role"], "owner");
        assert_eq!(browser.request(app, "GET", "/apps").send().await.is(200).json()["items"], json!([]));
    }

    async fn a_caller_with_the_key_has_no_session(app) {
        let me = app.admin().get("/auth/me").send().await.is(200).json();
        let owner = json!({"kind": "owner", "user_id": null, "name": "owner", "role": "owner"});
        assert_eq!(me["principal"], owner);
        assert!(me["csrf_token"].is_null() && me["expires_at"].is_null() && me["key"].is_null());
        app.admin().request("POST", "/auth/logout").send().await.is(204);
    }

    async fn without_a_session_nobody_is_signed_in(app) {
        app.get("/api/v1/auth/me").send().await.refuses(401, "unauthorized");
        app.post("/api/v1/auth/logout").send().await.refuses(401, "unauthorized");
        let made_up = Browser {
            cookie: format!("{COOKIE}={}", "0".repeat(64)),
            csrf_token: "0".repeat(64),
            expires_at: 0,
        };
        made_up.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
        made_up.change(app, "POST", "/auth/logout").send().await.refuses(401, "session_expired");
        app.get("/api/v1/auth/login").send().await.refuses(405, "method_not_allowed");
    }

    async fn a_wrong_password_or_name_begins_no_session_and_both_say_the_same(app) {
        let mut said = Vec::new();
        for (name, password) in [
            ("admin", "password of the test"),
            ("admin", "password of the testsx"),
            ("admin", ""),
            ("nobody", ADMIN_PASSWORD),
            ("admin\0", ADMIN_PASSWORD),
        ] {
            let refused = try_password(app, name, password).send().await;
            said.push(refused.refuses(401, "wrong_credentials"));
            assert_eq!(refused.header("set-cookie"), None);
        }
        assert!(said.iter().all(|error| *error == said[0]), "{said:?}");
        let login = || app.post("/api/v1/auth/login");
        login().send().await.refuses(400, "body_not_json");
        login().json(&json!({})).send().await.refuses(400, "body_invalid");
        login().json(&json!({"name": "admin", "password": "", "more": 1})).send().await.refuses(400, "body_invalid");
    }

    async fn wrong_passwords_are_tried_ever_more_slowly(app) {
        let (mut tried, mut waits) = (0, Vec::new());
        // The test clock advances with each read, so a short wait is soon over, and the next wrong
        // password makes it longer.
        while waits.last().is_none_or(|wait_s| *wait_s < 60) {
            let answer = try_password(app, "nobody", "wrong").send().await;
            if answer.status == 429 {
                let error = answer.refuses(429, "too_many_sign_ins");
                let wait_s: i64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=901).contains(&wait_s) && error["retry_after_s"] == json!(wait_s));
                waits.push(wait_s);
            } else {
                answer.refuses(401, "wrong_credentials");
                tried += 1;
            }
            assert!(tried < 30, "the attempts are never slowed down");
        }
        assert!(tried >= 5, "{tried} mistakes are allowed");
        // The right password must wait too; otherwise the wait would reveal it.
        try_password(app, "admin", ADMIN_PASSWORD).send().await.refuses(429, "too_many_sign_ins");
        // A caller with a key is not affected.
        app.admin().get("/auth/me").send().await.is(200);
        app.pass_days(1);
        try_password(app, "admin", ADMIN_PASSWORD).send().await.is(200);
    }

    async fn the_cookie_alone_changes_nothing(app) {
        let script = app.deploy("shop", "hello", "1").await;
        let browser = Browser::sign_in(app).await;
        let other = Browser::sign_in(app).await;
        for (method, path) in [
            ("POST", "/apps".to_owned()),
            ("PUT", format!("/scripts/{script}")),
            ("PATCH", "/apps/shop".to_owned()),
            ("DELETE", "/apps/shop".to_owned()),
            ("POST", format!("/execute/{script}")),
            ("POST", "/apps/shop/events".to_owned()),
            ("POST", "/auth/logout".to_owned()),
            ("POST", "/nothing".to_owned()),
        ] {
            let call = || browser.request(app, method, &path).json(&json!({"name": "new"}));
            call().send().await.refuses(403, "csrf_token_missing");
            for wrong in ["", "0", &other.csrf_token] {
                let call = call().header("x-csrf-token", wrong);
                call.send().await.refuses(403, "csrf_token_missing");
            }
        }
        app.admin().get("/apps/shop").send().await.is(200);
        assert_eq!(app.count_executions(&script).await, 0);

        let made = browser.change(app, "POST", "/apps").json(&json!({"name": "new"}));
        made.send().await.is(201);
        browser.change(app, "POST", &format!("/execute/{script}")).send().await.is(200);
    }

    async fn another_site_cannot_make_the_browser_do_anything(app) {
        let browser = Browser::sign_in(app).await;
        let make = |site: &str| {
            let call = browser.change(app, "POST", "/apps").header("sec-fetch-site", site);
            call.json(&json!({"name": "shop"}))
        };
        for site in ["cross-site", "same-site"] {
            make(site).send().await.refuses(403, "cross_site_request");
            let call = try_password(app, "admin", ADMIN_PASSWORD).header("sec-fetch-site", site);
            call.send().await.refuses(403, "cross_site_request");
            let call = app.admin().post("/apps", json!({"name": site}));
            call.header("sec-fetch-site", site).send().await.is(201);
        }
        make("same-origin").send().await.is(201);
    }

    async fn who_shows_a_wrong_key_is_not_let_in_by_a_cookie(app) {
        let browser = Browser::sign_in(app).await;
        let call = browser.request(app, "GET", "/apps").header("authorization", "Bearer wrong");
        call.send().await.refuses(401, "unauthorized");
    }

    async fn a_session_that_was_signed_out_is_over(app) {
        let (browser, other) = (Browser::sign_in(app).await, Browser::sign_in(app).await);
        let answer = browser.change(app, "POST", "/auth/logout").send().await.is(204);
        let expected = "picloud_session=; HttpOnly; SameSite=Strict; Path=/api/v1; Max-Age=0";
        assert_eq!(answer.header("set-cookie"), Some(expected));
        browser.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
        other.request(app, "GET", "/auth/me").send().await.is(200);
    }

    async fn a_session_ends_when_it_is_not_used_for_a_week(app) {
        let browser = Browser::sign_in(app).await;
        app.pass_days(6);
        let me = browser.request(app, "GET", "/auth/me").send().await.is(200).json();
        assert!(me["expires_at"].as_i64().unwrap() > browser.expires_at, "the session was used");
        app.pass_days(6);
        browser.request(app, "GET", "/auth/me").send().await.is(200);
        app.pass_days(7);
        browser.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
    }

    async fn a_session_ends_after_thirty_days_however_much_it_is_used(app) {
        let browser = Browser::sign_in(app).await;
        for _ in 0..5 {
            app.pass_days(5);
            browser.request(app, "GET", "/auth/me").send().await.is(200);
        }
        app.pass_days(5);
        browser.request(app, "GET", "/auth/me").send().await.refuses(401, "session_expired");
    }

    async fn sessions_that_are_over_are_swept(app) {
        Browser::sign_in(app).await;
        app.pass_days(5);
        let young = Browser::sign_in(app).await;
        assert_eq!(app.retention().run_once().await.unwrap().sessions, 0);
        app.pass_days(3);
        assert_eq!(app.retention().run_once().await.unwrap().sessions, 1);
        young.request(app, "GET", "/auth/me").send().await.is(200);
    }

    async fn a_script_never_sees_the_cookie_of_a_session(app) {
        app.deploy("shop", "seen", "#{ cookie: ctx.request.headers.cookie }").await;
        let browser = Browser::sign_in(app).await;
        let cookies = format!("a=1; {}; b=2", browser.cookie);
        let seen = app.get("/x/shop/seen").header("cookie", &cookies).send().await.is(200);
        assert_eq!(seen.json()["cookie"], "a=1; b=2");
    }

    /// Over TLS, the cookie is also sent to `/x/`; on claimed domains, callers can send any cookie.
    async fn no_cookie_of_the_platform_reaches_a_script_or_what_is_kept_of_its_run(app) {
        let source = "#{ cookie: ctx.request.headers.cookie }";
        let id = app.deploy("shop", "seen", source).await;
        app.domain("shop", "shop.example").await;
        for (path, host, delivery) in [
            ("/sync", "", "sync"),
            ("/durable", "", "durable"),
            ("/async", "", "async"),
            ("/sync", "shop.example", "sync"),
            ("/durable", "shop.example", "durable"),
        ] {
            let mut route = json!({"script_id": id, "method": "GET", "path": path, "delivery": delivery});
            if !host.is_empty() {
                route["host"] = json!(host);
            }
            app.admin().post("/apps/shop/routes", route).send().await.is(201);
        }
        let token = "5e551044";
        let cookies = format!("a=1; __Host-picloud_session={token}; picloud_session={token}; __Host-picloud_oidc={token}; picloud_oidc={token}; b=2");
        for (path, host) in [
            ("/x/shop/seen", "localhost"),
            ("/x/shop/sync", "localhost"),
            ("/x/shop/durable", "localhost"),
            ("/x/shop/async", "localhost"),
            ("/sync", "shop.example"),
            ("/durable", "shop.example"),
        ] {
            let call = app.get(path).header("host", host).header("x-forwarded-proto", "https");
            let answer = call.header("cookie", &cookies).from("127.0.0.1").send().await;
            if answer.status == 200 {
                assert_eq!(answer.json()["cookie"], "a=1; b=2", "{host}{path}");
            } else {
                assert_eq!((answer.status, path), (202, "/x/shop/async"));
            }
        }
        app.settled("shop").await;
        app.flush().await;
        for path in ["/apps/shop/executions?limit=200", "/apps/shop/captured-events", "/apps/shop/outbox"] {
            let kept = app.admin().get(path).send().await.is(200);
            assert!(!kept.text().contains(token), "{path}: {}", kept.text());
        }
        for execution in app.admin().get(&format!("/scripts/{id}/logs")).send().await.is(200).json()["items"].as_array().unwrap() {
            let kept = app.execution(execution["id"].as_str().unwrap()).await;
            assert!(!kept.to_string().contains(token), "{kept}");
        }
    }

    async fn the_cookie_is_for_tls_only_where_a_trusted_proxy_says_that_there_is_tls(app) {
        let sign_in = async |proxy: &str| {
            let call = try_password(app, "admin", ADMIN_PASSWORD).header("x-forwarded-proto", "https").from(proxy);
            call.send().await.is(200).header("set-cookie").unwrap().to_owned()
        };
        for proxy in ["127.0.0.1", "::1"] {
            let cookie = sign_in(proxy).await;
            assert!(cookie.starts_with("__Host-picloud_session="), "{cookie}");
            assert!(cookie.contains("; Path=/; ") && cookie.ends_with("; Secure"), "{cookie}");
        }
        let plain = sign_in("192.0.2.1").await;
        assert!(plain.starts_with("picloud_session=") && !plain.contains("Secure"), "{plain}");
    }

    /// A page on a subdomain can set `picloud_session` for the parent's host, but not
    /// `__Host-picloud_session`.
    async fn over_tls_a_cookie_that_a_page_of_a_subdomain_can_plant_signs_nobody_in(app) {
        let by_tls = |call: Call| call.header("x-forwarded-proto", "https").from("127.0.0.1");
        let me = |cookies: &str| by_tls(app.get("/api/v1/auth/me").header("cookie", cookies)).send();
        let attacker = Browser::sign_in(app).await;
        me(&attacker.cookie).await.refuses(401, "unauthorized");
        let call = by_tls(try_password(app, "admin", ADMIN_PASSWORD));
        let victim = Browser::of(&call.send().await.is(200));
        me(&victim.cookie).await.is(200);
        // The planted cookie is ignored beside the right one, in either order.
        for cookies in [
            format!("{}; {}", attacker.cookie, victim.cookie),
            format!("{}; {}", victim.cookie, attacker.cookie),
        ] {
            let signed_in = me(&cookies).await.is(200).json();
            assert_eq!(signed_in["csrf_token"], victim.csrf_token, "{cookies}");
        }
        // Even the right one is accepted over TLS only.
        app.get("/api/v1/auth/me").header("cookie", &victim.cookie).send().await
            .refuses(401, "unauthorized");
        let out = by_tls(app.post("/api/v1/auth/logout").header("cookie", &victim.cookie))
            .header("x-csrf-token", &victim.csrf_token).send().await.is(204);
        let expected = "__Host-picloud_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0; Secure";
        assert_eq!(out.header("set-cookie"), Some(expected));
        me(&victim.cookie).await.refuses(401, "session_expired");
    }

    async fn two_cookies_of_a_session_sign_nobody_in(app) {
        let (one, other) = (Browser::sign_in(app).await, Browser::sign_in(app).await);
        let me = |lines: &[&str]| {
            let call = lines.iter().fold(app.get("/api/v1/auth/me"), |call, line| call.header("cookie", line));
            call.send()
        };
        let joined = format!("{}; a=1; {}", one.cookie, other.cookie);
        me(&[&joined]).await.refuses(401, "cookie_ambiguous");
        me(&[&one.cookie, &other.cookie]).await.refuses(401, "cookie_ambiguous");
        me(&[&one.cookie, &one.cookie]).await.refuses(401, "cookie_ambiguous");
        // The user can still sign in, and keys are not affected.
        let call = try_password(app, "admin", ADMIN_PASSWORD).header("cookie", &joined);
        call.send().await.is(200);
        app.admin().get("/auth/me").header("cookie", &joined).send().await.is(200);
    }

    async fn a_script_is_told_who_has_called_the_proxy(app) {
        app.deploy("shop", "who", "ctx.request.remote_address").await;
        let who = async |peer: &str| {
            let call = app.get("/x/shop/who").header("x-forwarded-for", "203.0.113.5").from(peer);
            call.send().await.is(200).json()
        };
        assert_eq!(who("127.0.0.1").await, "203.0.113.5");
        assert_eq!(who("192.0.2.1").await, "192.0.2.1");
    }
}

on_both_databases! {
    async fn how_long_sessions_last_and_whom_to_believe_are_settings(database) {
        let app = TestApp::start_with(database, &[
            ("PICLOUD_SESSION_IDLE_DAYS", "2"),
            ("PICLOUD_SESSION_MAX_DAYS", "3"),
            ("PICLOUD_TRUSTED_PROXIES", "192.0.2.0/24"),
        ]).await;
        let call = try_password(&app, "admin", ADMIN_PASSWORD).header("x-forwarded-proto", "https");
        let answer = call.from("192.0.2.200").send().await.is(200);
        assert!(answer.header("set-cookie").unwrap().ends_with("Max-Age=259200; Secure"));
        let browser = Browser::of(&answer);
        app.pass_days(1);
        let me = || {
            let call = browser.request(&app, "GET", "/auth/me").from("192.0.2.200");
            call.header("x-forwarded-proto", "https").send()
        };
        me().await.is(200);
        app.pass_days(1);
        me().await.is(200);
        app.pass_days(1);
        me().await.refuses(401, "session_expired");
        app.close().await;
    }
}
