//! Pages of scripts on the host that also serves the dashboard (decision 15).

use serde_json::json;

use crate::app::{ADMIN_PASSWORD, Answer, TestApp};
use crate::browser::try_password;
use crate::{on_both_databases, with_an_app};

const PAGE: &str = r#"#{
    headers: #{
        "content-type": "text/html",
        "content-security-policy": "default-src 'self'",
        "service-worker-allowed": "/",
        "clear-site-data": "\"cookies\"",
    },
    body: "<script>fetch('/api/v1/auth/me')</script>",
}"#;

fn policies(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("content-security-policy").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Signs in, and returns the cookie.
async fn signed_in(app: &TestApp, host: &str) -> String {
    let call = try_password(app, "admin", ADMIN_PASSWORD).header("host", host);
    let answer = call.send().await.is(200);
    answer.header("set-cookie").unwrap().split_once(';').unwrap().0.to_owned()
}

with_an_app! {
    async fn a_page_of_a_script_has_no_origin(app) {
        let id = app.deploy("shop", "page", PAGE).await;
        let route = json!({"script_id": id, "method": "GET", "path": "/a"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        for path in ["/x/shop/page", "/x/shop/a"] {
            let page = app.get(path).send().await.is(200);
            let policies = policies(&page);
            assert_eq!(policies.len(), 2, "{policies:?}");
            assert!(policies[1].starts_with("sandbox ") && policies[1].contains("allow-scripts"));
            assert!(!policies[1].contains("allow-same-origin"));
            assert_eq!(page.header("service-worker-allowed"), None);
            assert_eq!(page.header("clear-site-data"), None);
        }
        // Error responses have the policy too.
        assert_eq!(policies(&app.get("/x/shop/none").send().await.is(404)).len(), 1);
    }

    async fn on_a_domain_of_its_own_a_page_has_its_own_origin(app) {
        let id = app.deploy("shop", "page", PAGE).await;
        app.domain("shop", "shop.example").await;
        let route = json!({"script_id": id, "method": "GET", "path": "/", "host": "shop.example"});
        app.admin().post("/apps/shop/routes", route).send().await.is(201);
        let page = app.get("/").header("host", "shop.example").send().await.is(200);
        assert_eq!(policies(&page), ["default-src 'self'"]);
        assert_eq!(page.header("service-worker-allowed"), Some("/"));
    }

    async fn a_page_without_an_origin_learns_nothing_of_a_session(app) {
        let cookie = signed_in(app, "pi.example").await;
        let me = || app.get("/api/v1/auth/me").header("cookie", &cookie);
        let site = |site: &str| me().header("sec-fetch-site", site).send();
        for ours in ["same-origin", "none"] {
            site(ours).await.is(200);
        }
        for other in ["cross-site", "same-site", "whatever"] {
            site(other).await.refuses(403, "cross_site_request");
        }
        me().header("origin", "null").send().await.refuses(403, "cross_site_request");
        me().header("origin", "http://pi.example").send().await.is(200);
        let login = try_password(app, "admin", ADMIN_PASSWORD).header("origin", "null");
        let refused = login.send().await;
        refused.refuses(403, "cross_site_request");
        // A key is not a cookie: no browser sends it by itself.
        app.admin().get("/auth/me").header("sec-fetch-site", "cross-site").send().await.is(200);
    }

    async fn a_script_cannot_set_a_cookie_of_the_platform(app) {
        for cookie in [
            "picloud_session=a",
            "picloud_session=a; Path=/api/v1; Domain=example",
            " picloud_session = a",
            "=picloud_session=a",
            "PICLOUD_session=a",
            "__Host-picloud_session=a; Path=/; Secure",
            "__host-PICLOUD_oidc=a; Path=/; Secure",
            "__Secure-picloud_session=a; Secure",
            "other=1; Path=/api",
            "other=1; path=/api/v1/auth",
            "other=1; Path=/; PATH=/API/v1",
        ] {
            let source = format!("#{{ headers: #{{ \"set-cookie\": `{cookie}` }}, body: 1 }}");
            let id = app.deploy("shop", "cookie", &source).await;
            let refused = app.get("/x/shop/cookie").send().await;
            refused.refuses(500, "execution_error");
            assert_eq!(refused.header("set-cookie"), None, "{cookie}");
            app.admin().delete(&format!("/scripts/{id}")).send().await.is(204);
        }
        let source = "#{ headers: #{ \"set-cookie\": \"mine=picloud_session; Path=/apis\" }, body: 1 }";
        app.deploy("shop", "cookie", source).await;
        let set = app.get("/x/shop/cookie").send().await.is(200);
        // A script cannot set it for other paths of the host: see below.
        assert_eq!(set.header("set-cookie"), Some("mine=picloud_session; Path=/x/shop"));
    }

    /// Cookies with `Path=/` would be sent with every request to the dashboard, until its headers
    /// are too large. The other headers here apply to the whole host.
    async fn a_script_says_nothing_for_the_whole_host(app) {
        let source = r##"
            let large = "x";
            large.pad(4000, "x");
            let cookies = [];
            for n in 0..40 { cookies.push(`c${n}=${large}; Path=/`); }
            cookies.push("own=1; Path=/x/shop/cart; HttpOnly");
            cookies.push("wide=1; Domain=example.org; Path=/x/shopping");
            cookies.push("bare=1");
            #{ headers: #{
                "set-cookie": cookies,
                "nel": "{}", "report-to": "{}", "reporting-endpoints": `a="https://evil.example"`,
                "strict-transport-security": "max-age=31536000; includeSubDomains",
                "alt-svc": `h2="evil.example:443"`, "accept-ch": "Sec-CH-UA-Model",
                "set-login": "logged-out", "clear-site-data": `"*"`,
                "service-worker-allowed": "/", "x-own": "1",
            }, body: 1 }"##;
        let id = app.deploy("shop", "noisy", source).await;
        app.domain("shop", "shop.example").await;
        for (host, delivery) in [("", "durable"), ("shop.example", "sync")] {
            let mut route = json!({"script_id": id, "method": "GET", "path": "/stored", "delivery": delivery});
            if !host.is_empty() {
                route["host"] = json!(host);
            }
            app.admin().post("/apps/shop/routes", route).send().await.is(201);
        }
        let speaking = [
            "nel", "report-to", "reporting-endpoints", "strict-transport-security", "alt-svc",
            "accept-ch", "set-login", "clear-site-data", "service-worker-allowed",
        ];
        let keyed = || app.get("/x/shop/stored").header("idempotency-key", "k");
        for call in [app.get("/x/shop/noisy"), app.get("/x/shop/stored"), keyed(), keyed()] {
            let answer = call.send().await.is(200);
            assert_eq!(answer.header("x-own"), Some("1"));
            for name in speaking {
                assert_eq!(answer.header(name), None, "{name}");
            }
            let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
            let cookies: Vec<_> = cookies.iter().map(|cookie| cookie.to_str().unwrap()).collect();
            assert_eq!(cookies.len(), 43);
            assert!(cookies[..40].iter().all(|cookie| cookie.ends_with("x; Path=/x/shop")), "{cookies:?}");
            let rest = ["own=1; HttpOnly; Path=/x/shop/cart", "wide=1; Path=/x/shop", "bare=1"];
            assert_eq!(cookies[40..], rest);
        }
        // On its own domain, the app can set all of them.
        let own = app.get("/stored").header("host", "shop.example").send().await.is(200);
        for name in speaking {
            assert!(own.header(name).is_some(), "{name}");
        }
        let cookies: Vec<_> = own.headers.get_all("set-cookie").iter().collect();
        assert!(cookies[0].to_str().unwrap().ends_with("; Path=/"));
    }

    async fn a_key_of_the_platform_is_not_for_scripts(app) {
        app.deploy("shop", "hello", "ctx.request.headers.keys()").await;
        let seen = app.get("/x/shop/hello").by_owner().send().await.is(200).json();
        assert!(!seen.as_array().unwrap().contains(&json!("authorization")), "{seen}");
        // Scripts see no API key either, not even one without the right to read logs.
        let key = app.key(json!({"name": "a key", "scopes": ["script:read"]})).await;
        let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
        let call = app.get("/x/shop/hello").header("authorization", &bearer);
        let seen = call.send().await.is(200).json();
        assert!(!seen.as_array().unwrap().contains(&json!("authorization")), "{seen}");
        let theirs = app.get("/x/shop/hello").header("authorization", "Bearer theirs");
        let seen = theirs.send().await.is(200).json();
        assert!(seen.as_array().unwrap().contains(&json!("authorization")), "{seen}");
    }

    async fn what_the_platform_answers_is_not_misused_by_browsers(app) {
        let page = app.get("/").header("accept", "text/html").send().await.is(200);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name}");
        }
        assert!(page.header("permissions-policy").unwrap().contains("camera=()"));
        assert_eq!(page.header("strict-transport-security"), None);
        for path in ["/api/v1/apps", "/api/v1/auth/me", "/api/v1/none"] {
            let answer = app.admin().get(path.strip_prefix("/api/v1").unwrap()).send().await;
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
            assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        }
        // Only a caller that came by TLS, according to a trusted proxy.
        let https = |from: &str| {
            let call = app.get("/").header("accept", "text/html").from(from);
            call.header("x-forwarded-proto", "https").send()
        };
        let told = https("127.0.0.1").await.is(200);
        assert_eq!(told.header("strict-transport-security"), Some("max-age=31536000"));
        assert_eq!(https("192.0.2.1").await.is(200).header("strict-transport-security"), None);
    }
}

on_both_databases! {
    async fn the_dashboard_can_have_a_host_of_its_own(database) {
        let variables = [("PICLOUD_DASHBOARD_HOST", "admin.example")];
        let app = TestApp::start_with(database, &variables).await;
        app.deploy("shop", "page", PAGE).await;
        let get = |host: &str, path: &str| {
            app.get(path).header("host", host).header("accept", "text/html").send()
        };
        get("admin.example", "/").await.is(200);
        get("ADMIN.example:8080", "/apps/shop").await.is(200);
        get("apps.example", "/").await.refuses(404, "path_not_found");
        assert_eq!(policies(&get("admin.example", "/x/shop/page").await.is(200)).len(), 2);
        assert_eq!(policies(&get("apps.example", "/x/shop/page").await.is(200)).len(), 1);

        let cookie = signed_in(&app, "admin.example").await;
        let login = try_password(&app, "admin", ADMIN_PASSWORD).header("host", "apps.example");
        let refused = login.send().await;
        refused.refuses(403, "not_the_dashboard");
        let me = |host: &str| {
            app.get("/api/v1/auth/me").header("host", host).header("cookie", &cookie).send()
        };
        me("admin.example").await.is(200);
        me("apps.example").await.refuses(401, "unauthorized");
        // Programs can use any host.
        app.admin().get("/auth/me").header("host", "apps.example").send().await.is(200);
        app.close().await;
    }
}
